"""Straight-through estimators: a step function forward, a usable gradient backward.

Source: Bengio, Leonard & Courville 2013. Each function states its backward rule; the closed forms are tested.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def round_ste(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Round half to even; the gradient passes unchanged.

    Example:
        >>> x = torch.tensor([0.4, 1.5], requires_grad=True)
        >>> y = round_ste(x); y.sum().backward()
        >>> y.tolist(), x.grad.tolist()
        ([0.0, 2.0], [1.0, 1.0])
    """
    return _Round.apply(x)  # type: ignore[no-any-return]


def sign_ste(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """-1 below zero and +1 from zero on (so exactly two levels); the gradient passes where |x| <= 1."""
    return _Sign.apply(x)  # type: ignore[no-any-return]


def straight_through(x: Float[Tensor, "..."], value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """`value`, bit for bit; the gradient goes to `x` unchanged, as if nothing had been replaced.

    Example:
        >>> x = torch.tensor([0.1, -7.0], requires_grad=True)
        >>> y = straight_through(x, torch.tensor([0.3, -0.3])); (2 * y).sum().backward()
        >>> y.tolist() == torch.tensor([0.3, -0.3]).tolist(), x.grad.tolist()
        (True, [2.0, 2.0])
    """
    return value.detach() + (x - x.detach())  # x - x is exactly 0; (value - x) + x would round


def scale_gradient(x: Float[Tensor, "..."], factor: float) -> Float[Tensor, "..."]:
    """`x`, bit for bit; the gradient is multiplied by `factor`.

    Example:
        >>> x = torch.tensor(0.1, requires_grad=True)
        >>> y = scale_gradient(x, 0.25); y.backward()
        >>> bool(y == x), x.grad.item()
        (True, 0.25)
    """
    return x.detach() + factor * (x - x.detach())


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, *grad_outputs):
        return grad_outputs[0]


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.where(x < 0, -1.0, 1.0).to(x.dtype)

    @staticmethod
    def backward(ctx, *grad_outputs):
        (x,) = ctx.saved_tensors
        return grad_outputs[0] * (x.abs() <= 1)
