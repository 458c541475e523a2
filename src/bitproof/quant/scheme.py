"""How a model is quantized, as a value."""

import re
from dataclasses import KW_ONLY, dataclass

from bitproof import settings
from bitproof.errors import InputError, lookup
from bitproof.quant.range_rules import ACT_RANGES, WEIGHT_RANGES


@dataclass(frozen=True)
class Scheme:
    """Which quantizers go where.

    Attributes:
        method: a name in `bitproof.quant.METHODS`.
        weight_bits, act_bits: bits of weights and of the inputs of each layer; 32 = not quantized.
        grad_bits: bits of the gradients of each layer's output in training (dorefa only); 32 = not quantized.
        granularity: one weight grid a "tensor" or one an output "channel" (affine, lsq, lsq+; the others have what
            their paper says); activations have one a tensor.
        symmetric: weight grids of affine symmetric around zero (2^b - 1 levels), else affine (2^b levels).
        act_symmetric: the same for activations; for lsq it makes the codes of activations signed.
        weight_range, act_range: the part of the values that the grid spans: a name in
            `bitproof.quant.range_rules.WEIGHT_RANGES` and `ACT_RANGES`.
        percentile: how many percent of the values lie inside a "percentile" range.
        first_last: what the first and the last compute layer get: "8bit", "same" or "float".

    Raises:
        InputError: an unknown name, or bits outside the method's range.

    Example:
        >>> Scheme("affine", weight_bits=4, act_bits=4).label
        'affine w4a4'
        >>> Scheme.parse("dorefa:w2a32").act_bits
        32
    """

    method: str = "affine"
    _: KW_ONLY
    weight_bits: int = 8
    act_bits: int = 8
    grad_bits: int = 32
    granularity: str = "channel"
    symmetric: bool = True
    act_symmetric: bool = False
    weight_range: str = "minmax"
    act_range: str = "minmax"
    percentile: float = 99.9
    first_last: str = "8bit"

    def __post_init__(self) -> None:
        from bitproof.quant.methods import METHODS  # here, because the methods are made from schemes

        method = lookup(METHODS, self.method, "quantization method")
        kinds = {"weight_bits": "weights", "act_bits": "activations", "grad_bits": "gradients"}
        for name, kind in kinds.items():
            bits, allowed = getattr(self, name), getattr(method, name)
            if bits != 32 and bits not in allowed:
                if not allowed:
                    rule, remedy = f"{self.method} leaves {kind} float", f"Use {name}=32"
                else:
                    span = f"{allowed[0]}" if len(allowed) == 1 else f"{allowed[0]} to {allowed[-1]}"
                    rule = f"{self.method} is defined for {kind} of {span} bit{'s' * (allowed[-1] > 1)}"
                    remedy = "Use 32 for what should stay float"
                raise InputError(f"{name} is {bits}", rule=rule, remedy=remedy)
        for value, choices, name in (
            (self.granularity, ("tensor", "channel"), "granularity"),
            (self.first_last, ("8bit", "same", "float"), "first_last"),
            (self.weight_range, tuple(WEIGHT_RANGES), "weight_range"),
            (self.act_range, tuple(ACT_RANGES), "act_range"),
        ):
            lookup(dict.fromkeys(choices), value, name)
        if not 50 < self.percentile <= 100:
            raise InputError(
                f"percentile is {self.percentile}",
                rule="it says how many percent of the values the grid spans",
                remedy="Use a number above 50 and up to 100, such as 99.9",
            )

    @property
    def needs_calibration(self) -> bool:
        """Whether `quantize` must see images: activation ranges are observed, not fixed by the method."""
        from bitproof.quant.methods import METHODS

        return self.act_bits < 32 and (METHODS[self.method].observe is not None or self.first_last == "8bit")

    @property
    def label(self) -> str:
        """Short form for people: method, bits, and whatever differs from the defaults."""
        default = Scheme(self.method, weight_bits=self.weight_bits, act_bits=self.act_bits)
        fields = ("granularity", "weight_range", "act_range", "first_last", "symmetric", "act_symmetric", "percentile")
        extra = [f"{f}={getattr(self, f)}" for f in fields if getattr(self, f) != getattr(default, f)]
        bits = f"w{self.weight_bits}a{self.act_bits}" + (f"g{self.grad_bits}" if self.grad_bits < 32 else "")
        return " ".join([self.method, bits, *extra])

    @staticmethod
    def parse(text: str) -> "Scheme":
        """Read `[METHOD:]w4a4[g6][,field=value...]`, the form the command line takes."""
        method, colon, rest = text.partition(":")
        if not colon:
            method, rest = "affine", text
        bits, _, more = rest.partition(",")
        match = re.fullmatch(r"w(\d+)a(\d+)(?:g(\d+))?", bits)
        if not match:
            raise InputError(
                f"scheme {text!r}",
                rule="a scheme is written [METHOD:]wBITSaBITS[gBITS][,field=value...]",
                remedy="Write for example w8a8, affine:w4a4,granularity=tensor or dorefa:w4a32",
            )
        fields = f"method={method},weight_bits={match[1]},act_bits={match[2]},grad_bits={match[3] or 32}"
        fields += f",{more}" if more else ""
        return settings.parse(f"scheme:{fields}", {"scheme": Scheme}, "scheme")
