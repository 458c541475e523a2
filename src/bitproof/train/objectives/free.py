"""Free adversarial training (Shafahi et al. 2019, arXiv 1904.12843, Algorithm 1): attack and training share a pass.

    loss and both gradients at x + d;    d <- clip_eps( d + eps sign(grad_x L) );    the optimiser's step

Every batch is trained on m times in a row, and d goes on from batch to batch. It needs `replays=m` of the optimisation,
and a mth of the epochs. The model is in train mode throughout: there is no pass for the attack alone.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bitproof.core.balls import BALLS, check_eps
from bitproof.core.calling import logits_of
from bitproof.core.rng import Rng
from bitproof.train.batches import Batch
from bitproof.train.objectives.base import Loss, Objective, OneStep
from bitproof.train.objectives.cross_entropy import CrossEntropy


@dataclass(frozen=True, kw_only=True)
class Free(Objective):
    """Cross-entropy of images whose perturbation climbs by the gradients of training itself (Shafahi et al. 2019).

    Attributes:
        eps: the ball, and the length of a step, under linf in [0, 1] pixel units.
    """

    eps: float = 8 / 255

    def __post_init__(self) -> None:
        check_eps(self.eps, "linf")

    @property
    def label(self) -> str:
        return f"cross-entropy on free linf {self.eps * 255:.4g}/255"

    @property
    def one_step(self) -> OneStep | None:
        return OneStep(eps=self.eps, gradient="ste", objective=CrossEntropy())

    def start(self, teacher: nn.Module) -> Loss:
        return FreeLoss(self.eps)


class FreeLoss(nn.Module):
    """The loss of the steps to come; it remembers the perturbation of each place in a batch, which starts at zero."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self._delta: Tensor | None = None

    def forward(self, model: nn.Module, batch: Batch, rng: Rng) -> tuple[Tensor, Tensor]:
        count = len(batch.inputs)
        if self._delta is None:
            self._delta = torch.zeros_like(batch.inputs)
        delta, ball = self._delta[:count], BALLS["linf"]
        images = (batch.inputs + delta).clamp_(0, 1).requires_grad_()

        def climb(gradient: Tensor) -> None:
            delta.copy_(ball.project(delta + self.eps * ball.steepest(gradient), self.eps))

        images.register_hook(climb)
        logits = logits_of(model, images)
        return F.cross_entropy(logits, batch.labels), logits

    def get_extra_state(self) -> dict[str, Tensor]:
        return {} if self._delta is None else {"delta": self._delta}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self._delta = state.get("delta")
