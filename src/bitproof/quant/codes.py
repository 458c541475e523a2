"""The integers behind a grid: what a quantized tensor is stored as, and what integer kernels compute with."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Codes:
    """The integers of a grid: qmin..qmax, signed (symmetric around zero) or unsigned."""

    qmin: int
    qmax: int

    @staticmethod
    def of(bits: int, *, symmetric: bool) -> "Codes":
        """Symmetric: -(2^(b-1) - 1)..2^(b-1) - 1, so that -q and q both exist. Otherwise 0..2^b - 1."""
        return (
            Codes(qmin=-(2 ** (bits - 1) - 1), qmax=2 ** (bits - 1) - 1)
            if symmetric
            else Codes(qmin=0, qmax=2**bits - 1)
        )


@dataclass(frozen=True, kw_only=True)
class CodeGrid:
    """What the codes stand for: code q for scale * (q - zero_point), one scale for the whole tensor."""

    scale: Tensor | float
    zero_point: Tensor | int
    codes: Codes
