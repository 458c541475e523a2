"""Sums and means of codes, as ONNX Runtime's kernels for x86 with AVX2 compute them, operation by operation."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.core.ste import round_ste
from bitproof.deploy.integer_layer import ends_at_zero, on_grid
from bitproof.quant.grid import AffineQuantizer, fake_quantize


class IntegerSum(nn.Module):
    """The sum of two tensors that lie on grids of 8 bits, rounded onto a third: a residual connection.

    The kernel (QLinearAdd) computes a code as a r + (b q + c) with fused multiplications and additions, where r and q
    are the ratios of the grids' steps, and c what the zero points add up to. A product of a code and a float32 fits
    into a double, in which this is done, so that each operation rounds once, as there.

    Args:
        grids: of the two tensors.
        output_quantizer: the grid of the sum, without the codes that a clipping behind it leaves unused.
    """

    def __init__(self, grids: tuple[AffineQuantizer, AffineQuantizer], output_quantizer: AffineQuantizer) -> None:
        super().__init__()
        self.grids = nn.ModuleList(grids)
        self.output_quantizer = output_quantizer

    def forward(self, one: Float[Tensor, "n ..."], other: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        to = self.output_quantizer
        (a, za, r), (b, zb, q) = (self._codes(i, x) for i, x in enumerate((one, other)))
        offset = to.zero_point - _fused(r, za, q * zb)
        codes = _fused(a, r, _fused(b, q, offset))
        if to.codes.qmin == int(to.zero_point):  # as in `on_grid`
            codes = ends_at_zero(codes, to.codes.qmin)
        rounded = fake_quantize(codes, torch.ones_like(to.scale), torch.zeros_like(to.zero_point), to.codes)
        return (rounded - to.zero_point) * to.scale

    def _codes(self, number: int, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Codes, their zero point, and their step in those of the sum."""
        grid = self.grids[number]
        assert isinstance(grid, AffineQuantizer)
        return round_ste(x / grid.scale) + grid.zero_point, grid.zero_point, grid.scale / self.output_quantizer.scale


class IntegerMean(nn.Module):
    """The mean of each channel of a tensor that lies on a grid, rounded onto another one: a global pooling.

    Args:
        grid: of the tensor.
        output_quantizer: the grid of the means.
        keepdim: whether the result is [n, c, 1, 1]; else it is [n, c].
    """

    def __init__(self, grid: AffineQuantizer, output_quantizer: AffineQuantizer, *, keepdim: bool) -> None:
        super().__init__()
        self.grid = grid
        self.output_quantizer = output_quantizer
        self.keepdim = keepdim

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c ..."]:
        to = self.output_quantizer
        sums = round_ste(x / self.grid.scale).sum((2, 3), keepdim=self.keepdim)  # whole, and exact below 2^24
        ratio = self.grid.scale / (to.scale * (x.shape[2] * x.shape[3]))
        return on_grid(sums * ratio, to)

    def extra_repr(self) -> str:
        return f"keepdim={self.keepdim}"


def _fused(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """a b + c, rounded once."""
    return (a.double() * b.double() + c.double()).float()
