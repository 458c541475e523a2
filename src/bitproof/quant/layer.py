"""How one layer is quantized, as a value."""

from dataclasses import dataclass

from bitproof.errors import InputError
from bitproof.quant.method import Method

_AS_TEXT = {"weight_bits": "w32a8", "act_bits": "w8a32", "grad_bits": "w8a8 without a g"}


@dataclass(frozen=True, kw_only=True)
class LayerScheme:
    """What one layer gets.

    Attributes:
        method: makes its quantizers.
        weight_bits, act_bits, grad_bits: bits of its weight, of its input and of the gradient of its output; 32 = not
            quantized.

    Raises:
        InputError: bits that the method is not defined for.
    """

    method: Method
    weight_bits: int
    act_bits: int
    grad_bits: int = 32

    def __post_init__(self) -> None:
        for name, kind in {"weight_bits": "weights", "act_bits": "activations", "grad_bits": "gradients"}.items():
            bits, allowed = getattr(self, name), getattr(self.method, name)
            if bits == 32 or bits in allowed:
                continue
            if allowed:
                span = f"{allowed[0]}" if len(allowed) == 1 else f"{allowed[0]} to {allowed[-1]}"
                rule = f"{self.method.name} is defined for {kind} of {span} bit{'s' * (allowed[-1] > 1)}"
                remedy = "Use 32 for what should stay float"
            else:
                rule, remedy = f"{self.method.name} leaves {kind} float", f"Use {name}=32, in text {_AS_TEXT[name]}"
            raise InputError(f"{name} is {bits}", rule=rule, remedy=remedy)

    @property
    def observes(self) -> bool:
        """Whether its input quantizer is set up from calibration images."""
        return self.act_bits < 32 and self.method.observes
