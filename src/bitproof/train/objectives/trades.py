"""TRADES (Zhang et al. 2019, arXiv 1901.08573, Eq. 5): accuracy on clean images, and the same answers nearby.

    L = CE(f(x), y) + beta KL(softmax f(x) || softmax f(x'))

where x' maximises the divergence: 10 steps of .007 from x + .001 N(0, 1) in the ball of .031. Both terms have gradients
through f(x). Numbers are those of the authors' script (yaodongyu/TRADES), not of their function's defaults.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from bitproof.attacks.goal import input_gradient
from bitproof.core.balls import BALLS, check_eps
from bitproof.core.calling import Model, logits_of
from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.train.batches import Batch
from bitproof.train.crafting import check_gradient, crafted
from bitproof.train.objectives.adversarial import adversarial_label
from bitproof.train.objectives.base import Loss, Objective


@dataclass(frozen=True, kw_only=True)
class Trades(Objective):
    """Cross-entropy on clean images, and the divergence between the answers to them and to the worst ones nearby.

    Attributes:
        beta: weight of the divergence.
        eps: the ball, under linf in [0, 1] pixel units.
        steps, step_size: of the search for the worst images.
        gradient: what a quantized model is attacked along, see `Adversarial`.
    """

    beta: float = 6.0
    eps: float = 0.031
    steps: int = 10
    step_size: float = 0.007
    gradient: str = "ste"

    def __post_init__(self) -> None:
        check_eps(self.eps, "linf")
        check_gradient(self.gradient)
        for name in ("beta", "steps", "step_size"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(
                    f"{name} is {getattr(self, name)}", rule="it is positive and finite", remedy="Leave it out"
                )

    @property
    def label(self) -> str:
        attack = f"{self.steps} steps linf {self.eps * 255:.4g}/255"
        return f"trades beta={self.beta:g} on {adversarial_label(attack, self.gradient)}"

    def start(self, teacher: nn.Module) -> Loss:
        def loss(model: nn.Module, batch: Batch, rng: Rng) -> tuple[Tensor, Tensor]:
            images = crafted(model, lambda attacked: self._worst(attacked, batch.inputs, rng), self.gradient)
            clean, moved = logits_of(model, batch.inputs), logits_of(model, images)
            return F.cross_entropy(clean, batch.labels) + self.beta * divergence(clean, moved) / len(clean), clean

        return loss

    def _worst(self, model: Model, inputs: Float[Tensor, "n c h w"], rng: Rng) -> Float[Tensor, "n c h w"]:
        ball = BALLS["linf"]
        with torch.no_grad():
            clean = logits_of(model, inputs)
        x = inputs + 0.001 * rng.fold("attack").normal(tuple(inputs.shape[1:])).to(inputs)
        for _ in range(self.steps):
            x = x.detach().requires_grad_()
            gradient = input_gradient(divergence(clean, logits_of(model, x)), x)
            step = x.detach() + self.step_size * ball.steepest(gradient) - inputs
            x = (inputs + ball.project(step, self.eps)).clamp(0, 1)
        return x


def divergence(logits: Float[Tensor, "n k"], others: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
    """KL(softmax(logits) || softmax(others)), summed over examples."""
    return F.kl_div(F.log_softmax(others, 1), F.log_softmax(logits, 1), reduction="sum", log_target=True)
