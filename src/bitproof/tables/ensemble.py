"""An ensemble of several bits that answers where enough of them agree (Bernhard et al. 2019, arXiv 1909.12741,
Section 6). All of it follows from the members' cells."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int64

from bitproof.tables.readings import Mask, Reading, rate
from bitproof.tables.table import CLEAN, Measured


def votes(predictions: Int64[np.ndarray, "models n"], agree: int) -> Int64[np.ndarray, " n"]:
    """The label that at least so many models agree on, -1 where there is none (Eq. 11).

    Example:
        >>> votes(np.array([[1, 2], [1, 2], [1, 0]]), 3).tolist()
        [1, -1]
    """
    labels = np.arange(predictions.max() + 1)
    counts = (predictions[None] == labels[:, None, None]).sum(axis=1)
    return np.where(counts.max(axis=0) >= agree, counts.argmax(axis=0), -1)


def agreements(attack: str, measured: Measured) -> list[Reading]:
    """Table 5: how often all others are right (or wrong) where a source is, on clean images and on those made on it."""
    found: list[Reading] = []
    for source in measured.models:
        for prefix, (good, bad), condition in (
            ("clean", ("right", "wrong"), CLEAN),
            (attack, ("unsuccessful", "successful"), f"{attack} from {source}"),
        ):
            own = measured.cells[source, condition].correct
            rest = np.stack([measured.cells[m, condition].correct for m in measured.models if m != source])
            found.append(rate(source, f"{prefix} {good}", own, np.logical_and.reduce(rest)))
            found.append(rate(source, f"{prefix} {bad}", ~own, ~np.logical_or.reduce(rest)))
    return found


def answered(agree: Mapping[str, int], measured: Measured) -> list[Reading]:
    """Table 6: how often the ensemble answers clean images, and how often rightly; and each member alone."""
    valid, right = _voted(measured, CLEAN, agree[measured.setting])
    every = np.ones_like(valid)
    members = [rate(m, "clean acc", every, measured.cells[m, CLEAN].correct) for m in measured.models]
    return [rate("ensemble", "clean PR", every, valid), rate("ensemble", "clean acc", valid, right), *members]


def defended(agree: Mapping[str, int], attacks: Sequence[str], measured: Measured) -> list[Reading]:
    """Table 7: how often it answers images made on a member, and how often it does not answer them wrongly (Eq. 13)."""
    found: list[Reading] = []
    for source in measured.models:
        for name in attacks:
            valid, right = _voted(measured, f"{name} from {source}", agree[measured.setting])
            every = np.ones_like(valid)
            found.append(rate(source, f"{name} PR", every, valid))
            found.append(rate(source, f"{name} d_acc", every, ~valid | right))
    return found


def _voted(measured: Measured, condition: str, agree: int) -> tuple[Mask, Mask]:
    """Which examples the ensemble answers, and which of these rightly."""
    cells = [measured.cells[model, condition] for model in measured.models]
    label = votes(np.stack([cell.predictions for cell in cells]), agree)
    return label >= 0, (label == cells[0].labels) & (label >= 0)
