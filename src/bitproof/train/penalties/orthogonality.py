"""Defensive Quantization's regulariser (Lin, Gan & Han 2019, arXiv 1904.08444, Eq. 8), after
Parseval networks (Cisse et al. 2017, arXiv 1704.08847).

    (beta / 2) sum_l ||W_l^T W_l - I||_F^2,    gradient 2 beta (W W^T - I) W = 2 beta W (W^T W - I)

where W_l [c_out, c_in k k] is the weight of every convolution and linear layer, before its quantizer where it has one.
For m rows and n columns, ||W^T W - I||^2 = ||W W^T - I||^2 + n - m exactly, so the smaller product gives the same
gradient for less; the constant, from which nothing follows, is left out of the loss.

It bounds the reshaped matrix, not the layer: the norm of a convolution is up to k times that of its matrix, and a batch
norm behind it undoes any scale.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from bitproof.errors import InputError
from bitproof.quant import compute_layers
from bitproof.quant.attached import rounded_weight
from bitproof.train.penalties.base import Penalty


@dataclass(frozen=True, kw_only=True)
class Orthogonality(Penalty):
    """`weight` / 2 times the sum of ||W^T W - I||^2 over all layers, up to a constant: their rows become orthonormal.

    lin2019 has 3e-4 to 2e-3 from random weights. At 2e-3 it is far larger than the loss of a trained network, whose
    weights it wrecks in a hundred steps: start with less there.
    """

    weight: float = 2e-3

    def __post_init__(self) -> None:
        if not 0 <= self.weight < float("inf"):
            raise InputError(
                f"the weight of orthogonality is {self.weight}",
                rule="it is 0 at least, and finite",
                remedy="Try 3e-4 to 2e-3",
            )

    def __call__(self, model: nn.Module) -> Float[Tensor, ""]:
        weights = [rounded_weight(layer) for _, layer in compute_layers(model)]
        if not weights:
            return torch.zeros(())
        return self.weight / 2 * _Distance.apply(*weights)  # pyright: ignore


def distance(weight: Float[Tensor, "out ..."]) -> Float[Tensor, ""]:
    """||W^T W - I||_F^2 of a layer's weight as the paper prints it, constant included.

    Example:
        >>> distance(torch.eye(2, 5)).item()  # orthonormal rows; three of five columns are zero
        3.0
    """
    matrix = weight.flatten(1)
    return _excess(matrix).square().sum() + max(0, matrix.shape[1] - matrix.shape[0])


def _excess(matrix: Float[Tensor, "m n"]) -> Float[Tensor, "s s"]:
    """W W^T - I or W^T W - I, whichever is smaller."""
    rows, columns = matrix.shape
    gram = matrix @ matrix.T if rows <= columns else matrix.T @ matrix
    gram.diagonal().sub_(1)
    return gram


class _Distance(torch.autograd.Function):
    """The sum of ||excess||^2 over weights, and its gradient in closed form: 4 excess W."""

    @staticmethod
    def forward(ctx: Any, *weights: Tensor) -> Tensor:
        excesses = [_excess(weight.detach().float().flatten(1)) for weight in weights]
        ctx.save_for_backward(*weights, *excesses)
        return torch.stack([excess.square().sum() for excess in excesses]).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:  # pyright: ignore
        count = len(ctx.saved_tensors) // 2
        return tuple(
            (4 * gradient * _product(excess, weight.flatten(1).to(excess))).to(weight).view_as(weight)
            for weight, excess in zip(ctx.saved_tensors[:count], ctx.saved_tensors[count:], strict=True)
        )


def _product(excess: Float[Tensor, "s s"], matrix: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
    return excess @ matrix if len(excess) == len(matrix) else matrix @ excess
