"""Terms of the loss that depend on the model alone, one file each."""

from bitproof.train.penalties.base import Penalty
from bitproof.train.penalties.clipping import ClippingLevels

PENALTIES: dict[str, type[Penalty]] = {"clipping-levels": ClippingLevels}

__all__ = ["PENALTIES", "ClippingLevels", "Penalty"]
