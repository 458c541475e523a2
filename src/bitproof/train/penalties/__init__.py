"""Terms of the loss that depend on the model alone, one file each."""

from bitproof.settings import name_family
from bitproof.train.penalties.base import Penalty
from bitproof.train.penalties.clipping import ClippingLevels
from bitproof.train.penalties.orthogonality import Orthogonality

PENALTIES: dict[str, type[Penalty]] = {"clipping-levels": ClippingLevels, "orthogonality": Orthogonality}
name_family(Penalty, "penalty", PENALTIES)

__all__ = ["PENALTIES", "ClippingLevels", "Orthogonality", "Penalty"]
