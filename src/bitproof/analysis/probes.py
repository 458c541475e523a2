"""What the diagnosis of masked gradients measures on a batch: a traced ascent, and gradients against differences."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bitproof.attacks import PGD
from bitproof.attacks.goal import input_gradient
from bitproof.core import losses
from bitproof.core.calling import Model
from bitproof.core.rng import Rng


@dataclass(frozen=True)
class Ascent:
    """What PGD went through, without leaving at the first hit.

    Attributes:
        images: the last images.
        odds: log((1 - p) / p) of the label's probability p at the start and after each step. The loss of PGD is
            its softplus, so both rise together, but these differ where the loss rounds to 0.
        broken: whether any image on the way was taken for another class.
    """

    images: Float[Tensor, "n c h w"]
    odds: Float[Tensor, "n steps"]
    broken: Bool[Tensor, " n"]


def ascend(
    model: Model, inputs: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], *, eps: float, steps: int, rng: Rng
) -> Ascent:
    """PGD under linf on the cross-entropy, from a uniform start, with the steps of `PGD`'s default."""
    noise = rng.uniform(tuple(inputs.shape[1:])).to(inputs)
    x = (inputs + eps * (2 * noise - 1)).clamp(0, 1)
    odds, wrong = [], []
    for length in (*PGD(eps=eps, steps=steps).lengths, None):
        x = x.detach().requires_grad_()
        logits = model(x)
        odds.append(losses.log_odds(logits.detach().double(), labels))
        wrong.append(logits.detach().argmax(1) != labels)
        if length is not None:
            gradient = input_gradient(losses.cross_entropy(logits, labels).sum(), x)
            moved = x.detach() + length * gradient.sign() - inputs
            x = (inputs + moved.clamp(-eps, eps)).clamp(0, 1)
    return Ascent(x.detach(), torch.stack(odds, 1), torch.stack(wrong, 1).any(1))


@dataclass(frozen=True)
class Slopes:
    """Gradients against differences, an entry an example.

    Attributes:
        zero: the gradient of the cross-entropy, or of the log-odds, is exactly zero.
        vanishing: the gradient of the log-odds promises less within the whole budget than a random step achieves.
        cosine: between the rises along random directions that the gradient promises and those that happen.
        promised, kept: rise of the log-odds along the gradient's own signs, and how much of it happens.
    """

    zero: Bool[Tensor, " n"]
    vanishing: Bool[Tensor, " n"]
    cosine: Float[Tensor, " n"]
    promised: Float[Tensor, " n"]
    kept: Float[Tensor, " n"]


def slopes(
    model: Model, inputs: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], *, eps: float, directions: int, rng: Rng
) -> Slopes:
    """Compare what the gradient at the images promises with central differences of size `eps`.

    Each direction is a sign a pixel; both ends are clipped to [0, 1], and the promise is that for the clipped step.
    """
    x = inputs.detach().requires_grad_()
    logits = model(x)
    of_loss = input_gradient(losses.cross_entropy(logits, labels).sum(), x, keep_graph=True)
    gradient = input_gradient(losses.log_odds(logits, labels).sum(), x).double()

    @torch.no_grad()
    def rise(signs: Tensor) -> tuple[Tensor, Tensor]:
        ahead, behind = ((inputs + side * eps * signs).clamp(0, 1) for side in (1, -1))
        odds = [losses.log_odds(model(images).double(), labels) for images in (ahead, behind)]
        return (gradient * (ahead - behind)).flatten(1).sum(1), odds[0] - odds[1]

    promised, kept = rise(gradient.sign().to(inputs))
    random = []
    for direction in range(directions):
        draws = rng.fold(direction).uniform(tuple(inputs.shape[1:])).to(inputs)
        random.append(rise(torch.where(draws < 0.5, -1.0, 1.0).to(inputs)))
    guessed, seen = (torch.stack(column, 1) for column in zip(*random, strict=True))
    size = guessed.norm(dim=1) * seen.norm(dim=1)
    return Slopes(
        zero=~of_loss.flatten(1).any(1) | ~gradient.flatten(1).any(1),
        vanishing=promised < seen.square().mean(1).sqrt(),
        cosine=torch.where(size > 0, (guessed * seen).sum(1) / size.clamp(min=torch.finfo(size.dtype).tiny), 0.0),
        promised=promised,
        kept=kept,
    )
