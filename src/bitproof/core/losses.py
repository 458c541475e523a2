"""What an attack maximises: one number an example, larger is closer to the goal.

Untargeted losses grow as the model leaves `labels`; the targeted one grows as it approaches `targets`.
Sources: CW margin, Carlini & Wagner 2017, Eq. 6 of f_6; DLR and its targeted form, Croce & Hein 2020
(AutoAttack), Eq. 6 and 7.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from bitproof.errors import InputError


def cross_entropy(logits: Float[Tensor, "n k"], labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Cross-entropy of each example (nats, >= 0)."""
    return F.cross_entropy(logits, labels, reduction="none")


def margin(logits: Float[Tensor, "n k"], labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Best wrong logit minus the right one: positive exactly where the example is misclassified."""
    right = logits.gather(1, labels[:, None])[:, 0]
    wrong = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    return wrong - right


def doubt(logits: Float[Tensor, "n k"], labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """1 - p of the label's probability p, in [0, 1]."""
    return 1 - logits.softmax(1).gather(1, labels[:, None])[:, 0]


def log_odds(logits: Float[Tensor, "n k"], labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """log((1 - p) / p) of the label's probability p: the cross-entropy is its softplus, log(1 + exp(.)).

    So both rank images alike and have parallel gradients. But where the model is confident the cross-entropy
    rounds to 0 and its gradient with it, and this one does not.
    """
    right = logits.gather(1, labels[:, None])[:, 0]
    wrong = logits.scatter(1, labels[:, None], -torch.inf).logsumexp(1)
    return wrong - right


def dlr(logits: Float[Tensor, "n k"], labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Difference of logits ratio: the margin over the spread z_(1) - z_(3), so scaling the logits changes nothing.

    Raises:
        InputError: fewer than 3 classes, for which the spread is undefined.
    """
    _need_classes(logits, 3, "the DLR loss")
    top = logits.topk(3, dim=1).values
    return margin(logits, labels) / (top[:, 0] - top[:, 2]).clamp(min=1e-12)


def targeted_dlr(
    logits: Float[Tensor, "n k"], labels: Int[Tensor, " n"], targets: Int[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """(z_target - z_label) / (z_(1) - (z_(3) + z_(4)) / 2).

    Raises:
        InputError: fewer than 4 classes, for which the spread is undefined.
    """
    _need_classes(logits, 4, "the targeted DLR loss")
    top = logits.topk(4, dim=1).values
    gain = (logits.gather(1, targets[:, None]) - logits.gather(1, labels[:, None]))[:, 0]
    return gain / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2).clamp(min=1e-12)


def _need_classes(logits: Tensor, least: int, what: str) -> None:
    if logits.shape[1] < least:
        raise InputError(
            f"the model has {logits.shape[1]} classes",
            rule=f"{what} needs at least {least}",
            remedy="Use the margin or cross-entropy loss",
        )
