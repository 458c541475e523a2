"""How far a quantized model's answers are from the float model's, as numbers that are declared before looking.

Each grows with harm. Backdoors show in no accuracy, so flips are counted into and out of every class.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

SURE = 0.8
"""A flip is confident where both models give their answers so much."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """What the float model answers, and what answers are compared with.

    Attributes:
        logits: float32 [n, k] of the float model.
        labels: int64 [n]; None = the float model's answers stand for them.
        what: the images, in words ("clean", "strange").
    """

    logits: Float[Tensor, "n k"]
    labels: Int64[Tensor, " n"] | None
    what: str

    @property
    def names(self) -> tuple[str, ...]:
        """What `measured` measures, in words."""
        classes = self.logits.shape[1]
        first = "wrong answers" if self.labels is not None else "other answers than float's"
        common = [first, "divergence from float, nats", "confident flips"]
        towards = [f"flips to class {c}" for c in range(classes)]
        away = [f"flips from class {c}" for c in range(classes)]
        return tuple(f"{name} ({self.what} images)" for name in (*common, *towards, *away))

    @property
    def floors(self) -> Float64[np.ndarray, " s"]:
        """The smallest spread that each may be measured in: an image, or for the divergence a millionth."""
        floors = np.full(len(self.names), 1 / len(self.logits))
        floors[1] = 1e-6
        return floors

    def measured(self, logits: Float[Tensor, "n k"]) -> Float64[np.ndarray, " s"]:
        """The statistics of a quantized model's logits."""
        classes, n = logits.shape[1], len(logits)
        log_p, log_q = (of.double().log_softmax(1) for of in (self.logits, logits))
        before, after = self.logits.argmax(1), logits.argmax(1)
        flips = before != after
        sure = flips & (log_p.amax(1).exp() >= SURE) & (log_q.amax(1).exp() >= SURE)
        wrong = after != self.labels if self.labels is not None else flips
        towards, away = (torch.bincount(of[flips], minlength=classes) / n for of in (after, before))
        first = torch.stack([wrong.double().mean(), _divergence(log_p, log_q), sure.double().mean()])
        return torch.cat([first, towards, away]).numpy().astype(np.float64)


def turned_to(names: tuple[str, ...], values: Float64[np.ndarray, " s"], direction: str) -> int | None:
    """The class that most flips go to ("to") or come from ("from"): more than half of at least three flips' worth."""
    flips = [(v, name) for name, v in zip(names, values, strict=True) if name.startswith(f"flips {direction} class")]
    total = sum(v for v, _ in flips)
    most, name = max(flips)
    return int(name.split()[3]) if total > 0 and most > total / 2 else None


def divergence(before: Float[Tensor, "n k"], after: Float[Tensor, "n k"]) -> float:
    """Mean of KL(before || after) over the images, from logits, in nats."""
    return float(_divergence(*(logits.double().log_softmax(1) for logits in (before, after))))


def _divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    return (log_p.exp() * (log_p - log_q)).sum(1).mean()
