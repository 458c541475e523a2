"""How much of a model is quantized, part by part: a label such as "w4a8" says what was asked for."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Part:
    """One module of a model, without the modules inside it.

    Attributes:
        name: in the model; "" = the model itself.
        weights: numbers in its parameters of two or more dimensions.
        products: multiply-accumulates an image in its own code.
        weight_bits, act_bits: of what it multiplies; 32 = float.
    """

    name: str
    weights: int
    products: int
    weight_bits: int = 32
    act_bits: int = 32


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """The parts of a model that have weights or multiply.

    Attributes:
        parts: in order of registration.
    """

    parts: tuple[Part, ...]

    @property
    def weights(self) -> float:
        """The share of the weights that are quantized, in [0, 1]."""
        return _share(self.parts, lambda part: part.weights, lambda part: part.weight_bits < 32)

    @property
    def products(self) -> float | None:
        """The share of the multiply-accumulates of which all is quantized that is anywhere in the model; None where
        they were not counted."""
        return _share(self.parts, lambda part: part.products, self._whole) if self._multiplied else None

    def floating(self, bound: float = 0.01) -> list[tuple[str, float, float]]:
        """Name, share of weights and share of products of each part that holds more than `bound` of either in float,
        the largest first. Where all of a module is float, such as a member of an ensemble, it is one part."""
        weights, products = (
            max(1, sum(getattr(part, kind) for part in self.parts)) for kind in ("weights", "products")
        )
        shares: dict[str, tuple[float, float]] = {}
        for part in self.parts:
            name = self._outermost(part) if self._float(part) else part.name
            of_weights, of_products = shares.get(name, (0.0, 0.0))
            of_weights += part.weights / weights if part.weight_bits == 32 else 0.0
            of_products += 0.0 if self._whole(part) else part.products / products
            shares[name] = of_weights, of_products
        found = [(name, *of) for name, of in shares.items() if max(of) > bound]
        return sorted(found, key=lambda entry: -max(entry[1:]))

    def _float(self, part: Part) -> bool:
        return part.weight_bits == 32 and not self._whole(part)

    def _outermost(self, part: Part) -> str:
        """The outermost module around a float part of which all is float; the part itself where there is none."""
        steps = part.name.split(".")
        around = (".".join(steps[:count]) for count in range(1, len(steps)))
        return next((name for name in around if all(map(self._float, self._within(name)))), part.name)

    def _within(self, name: str) -> list[Part]:
        return [part for part in self.parts if f"{part.name}.".startswith(f"{name}.")]

    @property
    def _multiplied(self) -> bool:
        return any(part.products for part in self.parts)

    def _whole(self, part: Part) -> bool:
        """Whether a part has all quantized that any part has."""
        return all(
            getattr(part, bits) < 32 or all(getattr(other, bits) == 32 for other in self.parts)
            for bits in ("weight_bits", "act_bits")
        )


def _share(parts: tuple[Part, ...], size: Callable[[Part], int], counts: Callable[[Part], bool]) -> float:
    return sum(size(part) for part in parts if counts(part)) / max(1, sum(map(size, parts)))
