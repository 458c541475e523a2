"""How far those images were moved that deceive a model."""

from typing import Any

import numpy as np

from bitproof.records import Cell

NORMS = ("l2", "linf")


def mean_moves(cell: Cell, rows: Any = np.s_[:]) -> dict[str, float | None]:
    """The mean l2 and linf distance, in [0, 1] pixel units, of the changed images that the model gets wrong.

    As in Bernhard et al. 2019 (arXiv 1909.12741, Section 4.3). They are the paper's only for an attack that goes to its
    end: one that leaves an image at its first hit moves it less. None where there is no such image.
    """
    deceived = (cell.linf[rows] > 0) & ~cell.correct[rows]
    found = {norm: getattr(cell, norm)[rows][deceived] for norm in NORMS}
    return {norm: float(values.mean()) if len(values) else None for norm, values in found.items()}
