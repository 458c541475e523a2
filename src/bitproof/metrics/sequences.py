"""Stability over the frames of a sequence (Hendrycks & Dietterich 2019, arXiv 1903.12261, Section 3.2)."""

import numpy as np
from jaxtyping import Float64, Int64

from bitproof.metrics.intervals import Scores
from bitproof.metrics.metric import RATE, Metric, Selection, mean_over_groups
from bitproof.records import Cell


def flips(frames: Int64[np.ndarray, "n frames"], *, compared: str, step: int = 1) -> Float64[np.ndarray, " n"]:
    """The share of an example's comparisons in which the prediction differs.

    Args:
        frames: predictions, at least two frames.
        compared: "first" compares every later frame with the first one, as for noise; "previous" each with the one
            `step` frames before, which is what the `step` interleaved sequences of ImageNet-P's difficulties do.
        step: how far apart compared frames lie.
    """
    before = frames[:, :1] if compared == "first" else frames[:, :-step]
    return np.asarray((frames[:, 1 if compared == "first" else step :] != before).mean(axis=1))


def flips_of(cell: Cell) -> Float64[np.ndarray, " n"]:
    """`flips` of a sequence's cell by the rule of its condition."""
    c = cell.condition
    assert cell.frames is not None and c.compared is not None
    return flips(cell.frames, compared=c.compared, step=c.step)


def _each(selection: Selection) -> Scores:
    return np.stack([flips_of(cell) for cell in selection.cells])


def _mean(selection: Selection) -> Scores:
    return mean_over_groups(_each(selection), selection.groups)[None]


def _has_frames(cell: Cell) -> bool:
    return cell.frames is not None


FP = Metric(
    name="fp",
    symbol="FP",
    description="flip probability: share of the compared frames of a sequence between which the prediction differs",
    source="Hendrycks & Dietterich 2019, Section 3.2",
    higher_is_better=False,
    bounds=RATE,
    needs=("sequence",),
    suits=_has_frames,
    each=True,
    scores=_each,
)
MFP = Metric(
    name="mfp",
    symbol="mFP",
    description="mean flip probability over the sequences",
    source="Hendrycks & Dietterich 2019, Section 3.2",
    higher_is_better=False,
    bounds=RATE,
    needs=("sequence",),
    suits=_has_frames,
    scores=_mean,
)
