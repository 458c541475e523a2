"""The class that loses most: quantization that costs little on average may cost one class much.

Hooker et al. 2019 (arXiv 1911.05248) saw that compression spreads its errors unevenly over the classes.
"""

import numpy as np
from jaxtyping import Float, Float64, Int64

from bitproof.metrics.intervals import Interval, Scores, paired_interval
from bitproof.metrics.metric import Metric, Selection
from bitproof.metrics.statistic import Statistic


def class_changes(scores: Scores) -> tuple[Int64[np.ndarray, " classes"], Float64[np.ndarray, " classes"]]:
    """The classes that have examples, and what each gains in accuracy.

    Args:
        scores: two numbers an example: its class, and whether it is won (1), lost (-1) or as it was (0).
    """
    classes = np.unique(scores[0]).astype(np.int64)
    return classes, np.array([scores[1][scores[0] == c].mean() for c in classes])


def _scores(selection: Selection) -> Scores:
    (model,), (reference,) = selection.cells, selection.reference
    return np.stack([model.labels.astype(float), model.correct.astype(float) - reference.correct])


def _worst(scores: Scores) -> float:
    return float(class_changes(scores)[1].min())


def _interval(scores: Scores, confidence: float) -> Interval:
    """Of the least true change: between the least lower and the least upper end of intervals that hold together."""
    classes = np.unique(scores[0])
    each = 1 - (1 - confidence) / len(classes)
    ends = [
        paired_interval(int((of > 0).sum()), int((of < 0).sum()), of.size, each)
        for of in (scores[1][scores[0] == c] for c in classes)
    ]
    return min(low for low, _ in ends), min(high for _, high in ends)


def _no_mean(means: Float[np.ndarray, "*draws k"]) -> Float[np.ndarray, "*draws"]:
    """The least change does not follow from means over all examples."""
    return np.full(means.shape[:-1], np.nan)


WORST_CLASS = Metric(
    name="worst_class",
    symbol="WCC",
    description="worst-class change: accuracy on clean examples less the reference's, in the class where it is least",
    source="after Hooker et al. 2019, arXiv 1911.05248",
    higher_is_better=True,
    bounds=(-1.0, 1.0),
    needs=("clean",),
    compares=True,
    scores=_scores,
    statistic=Statistic(value=_no_mean, estimate=_worst, interval=_interval),
)
