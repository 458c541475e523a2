"""Mixed precision: the cheapest bits for each layer that keep a stated agreement with the float model.

One layer at a time is lowered to each number of bits, and the noise that this adds to the logits is measured. Noises of
layers add up while they are small, so the steps down are ordered by noise for each unit of cost saved, and the order
is followed for as long as enough predictions agree: how far is found by bisection, with real models. Ranges come from
the same images. How well the result agrees is then measured on images that had no part in it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.core.calling import answer
from bitproof.errors import InputError, lookup
from bitproof.metrics import wilson
from bitproof.metrics.intervals import Estimate
from bitproof.quant import LayerRule, Scheme, coverage, freeze, quantize
from bitproof.quant.calibration import Calibration, Checked, images_of
from bitproof.records import Part

COSTS = {
    "macs": "multiply-accumulates times bits of weights times bits of inputs",
    "bytes": "bytes of the weights",
}
"""What can be made cheap."""


def cost_of(part: Part, cost: str, bits: int | None = None) -> float:
    """What a layer costs as it is, or with other bits for weights and inputs."""
    weight_bits, act_bits = (part.weight_bits, part.act_bits) if bits is None else (bits, bits)
    return part.products * weight_bits * act_bits if cost == "macs" else part.weights * weight_bits / 8


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """What a search found.

    Attributes:
        scheme: with a rule for each layer that got fewer bits.
        agreement: share of the images held back on which the predictions are those of the float model, with its 95%
            interval.
        held_back: how many these are.
        start, found: macs and bytes before and after.
    """

    scheme: Scheme
    agreement: Estimate
    held_back: int
    start: Mapping[str, float]
    found: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class MixedSearch:
    """The search for the cheapest bits a layer.

    Attributes:
        agreement: share of the predictions that have to stay those of the float model, on the images searched with.
        bits: that a layer may get, weights and inputs alike; the most of them is where it starts.
        cost: what is made cheap, a name in `COSTS`.
    """

    agreement: float = 0.98
    bits: tuple[int, ...] = (8, 6, 4, 3, 2)
    cost: str = "macs"

    def __post_init__(self) -> None:
        lookup(COSTS, self.cost, "cost")
        if not 0 < self.agreement <= 1:
            raise InputError(
                f"agreement is {self.agreement}", rule="it is a share of predictions", remedy="Use 0.98, say"
            )
        if len(set(self.bits)) < 2 or not all(2 <= bits <= 8 for bits in self.bits):
            raise InputError(
                f"bits are {self.bits}", rule="a search chooses between at least two of 2 to 8", remedy="Use (8, 4)"
            )

    def __call__(self, model: nn.Module, images: Calibration) -> Mixed:
        """Search with the first half of the images, and measure on the second.

        Args:
            model: float; is left as it is.
            images: a few hundred, in any form that `quantize` takes, none of them a test image.

        Raises:
            InputError: too few images, or not even the most bits keep the agreement.
        """
        everything = images_of(images)
        if len(everything) < 4:
            raise InputError(
                f"{len(everything)} images", rule="half of them are searched with", remedy="Use a few hundred"
            )
        used, held = everything[: len(everything) // 2], everything[len(everything) // 2 :]
        search = _Search(self, model, used)
        scheme = search.scheme(search.path[: search.longest()])
        mixed = search.made(scheme)
        same = int((_logits(mixed, held).argmax(1) == _logits(freeze(model), held).argmax(1)).sum())
        return Mixed(
            scheme=scheme,
            agreement=(same / len(held), *wilson(same, len(held))),
            held_back=len(held),
            start=_costs(search.parts.values()),
            found=_costs(search.layers(mixed)),
        )


class _Search:
    """A model while bits are looked for: `path` holds the steps down, a layer and its new bits each, best first."""

    def __init__(self, how: MixedSearch, model: nn.Module, images: Float[Tensor, "n c h w"]) -> None:
        self.how, self.model, self.images = how, model, images
        self.levels = sorted(set(how.bits), reverse=True)
        self.expected = _logits(freeze(model), images)
        start = self.made(self.scheme([]))
        self.parts = {part.name: part for part in self.layers(start)}
        if (kept := self.agreement(start)) < how.agreement:
            raise InputError(
                f"with {self.levels[0]} bits everywhere {kept:.1%} of the predictions stay",
                rule=f"a search starts from there, and {how.agreement:.1%} have to stay",
                remedy="Ask for less, or allow more bits",
            )
        self.path = self._ordered(self._noise(start))

    def scheme(self, steps: list[tuple[str, int]]) -> Scheme:
        """The scheme after some steps down."""
        most = self.levels[0]
        rules = tuple(LayerRule(name, weight_bits=bits, act_bits=bits) for name, bits in dict(steps).items())
        return Scheme(weight_bits=most, act_bits=most, first="same", last="same", layers=rules)

    def made(self, scheme: Scheme) -> nn.Module:
        """The frozen model of a scheme."""
        return freeze(quantize(self.model, scheme, Checked(images=self.images)))

    def layers(self, model: nn.Module) -> Iterator[Part]:
        """The quantized layers of a model."""
        found = coverage(model, self.images[:1])
        assert found is not None
        yield from (part for part in found.parts if part.weight_bits < 32)

    def agreement(self, model: nn.Module) -> float:
        """How many predictions stay."""
        return float((_logits(model, self.images).argmax(1) == self.expected.argmax(1)).float().mean())

    def longest(self) -> int:
        """How many steps down keep the agreement, by bisection."""
        kept, lost = 0, len(self.path) + 1
        while lost - kept > 1:
            middle = (kept + lost) // 2
            if self.agreement(self.made(self.scheme(self.path[:middle]))) >= self.how.agreement:
                kept = middle
            else:
                lost = middle
        return kept

    def _noise(self, start: nn.Module) -> dict[tuple[str, int], float]:
        """What each layer at each lower number of bits adds to the square error of the logits."""
        base = self._error(start)
        return {
            (name, bits): max(self._error(self.made(self.scheme([(name, bits)]))) - base, 0.0)
            for name in self.parts
            for bits in self.levels[1:]
        }

    def _error(self, model: nn.Module) -> float:
        return float((_logits(model, self.images) - self.expected).square().mean())

    def _ordered(self, noise: dict[tuple[str, int], float]) -> list[tuple[str, int]]:
        """All steps down, each time the one that adds least noise for what it saves."""
        at = dict.fromkeys(self.parts, 0)
        path: list[tuple[str, int]] = []
        while any(level + 1 < len(self.levels) for level in at.values()):
            price: dict[str, float] = {}
            for name, level in at.items():
                if level + 1 < len(self.levels):
                    now, after = self.levels[level], self.levels[level + 1]
                    part, cost = self.parts[name], self.how.cost
                    saved = cost_of(part, cost, now) - cost_of(part, cost, after)
                    added = noise[name, after] - noise.get((name, now), 0.0)
                    price[name] = max(added, 0.0) / saved
            best = min(price, key=price.__getitem__)
            at[best] += 1
            path.append((best, self.levels[at[best]]))
        return path


@torch.no_grad()
def _logits(model: nn.Module, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
    return torch.cat([answer(model, part).cpu() for part in images.split(128)])


def _costs(parts: Iterable[Part]) -> dict[str, float]:
    layers = list(parts)
    return {cost: sum(cost_of(part, cost) for part in layers) for cost in COSTS}
