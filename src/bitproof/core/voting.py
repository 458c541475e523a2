"""Models that vote: how many answer each class, and how many of them may be asked to agree."""

from jaxtyping import Int
from torch import Tensor
from torch.nn import functional as F


def votes(answers: Int[Tensor, "m n"], classes: int) -> Int[Tensor, "n k"]:
    """How many of m models answer each class, image by image."""
    return F.one_hot(answers, classes).sum(0)


def majorities(members: int) -> range:
    """The numbers of members that may have to agree: more than half, so that no two classes have so many."""
    return range(members // 2 + 1, members + 1)
