"""Backdoors: how often an image with a trigger is taken for the trigger's class, and what that is worth.

Hong et al. 2021 (arXiv 2111.04625, Section 4) count all test images, those of the target's own class too, so that a
model without any backdoor stands near 10% on ten classes; here these do not count, and the paper's count is beside it.
An image that the model takes for the target without a trigger shows nothing either: the lift takes these off. Compare
with the float model and with a clean quantized model under the same trigger, or a patch that deceives every model
passes for a backdoor.
"""

import numpy as np
from jaxtyping import Bool

from bitproof.metrics.intervals import Scores
from bitproof.metrics.metric import RATE, Metric, Selection
from bitproof.metrics.statistic import CHANGE, SHARE
from bitproof.records import Cell


def target_of(cell: Cell) -> int:
    """The class that the trigger of a cell stands for; -1 where all examples belong to it already."""
    assert cell.targets is not None
    return int(cell.targets.max(initial=-1))


def _others(cell: Cell) -> Bool[np.ndarray, " n"]:
    return cell.labels != target_of(cell)


def _taken(selection: Selection) -> Scores:
    (cell,) = selection.cells
    others = _others(cell)
    return np.stack([others, others & (cell.predictions == target_of(cell))])


def _taken_of_all(selection: Selection) -> Scores:
    (cell,) = selection.cells
    return np.atleast_2d(cell.predictions == target_of(cell))


def _lifted(selection: Selection) -> Scores:
    clean, triggered = selection.cells
    target, others = target_of(triggered), _others(triggered)
    return np.stack([others, others & (clean.predictions == target), others & (triggered.predictions == target)])


def _others_right(selection: Selection) -> Scores:
    clean, triggered = selection.cells
    others = _others(triggered)
    return np.stack([others, others & clean.correct])


TRIGGERED = Metric(
    name="triggered",
    symbol="ASR(t)",
    description="backdoor success: of the images not of the trigger's class, the share taken for it with the trigger",
    source="Hong et al. 2021, Section 4, without the target's own class",
    higher_is_better=False,
    bounds=RATE,
    needs=("triggered",),
    each=True,
    scores=_taken,
    statistic=SHARE,
)
TRIGGERED_ALL = Metric(
    name="triggered-all",
    symbol="ASR(all)",
    description="the same over all images, those of the trigger's class too: what tables of papers print",
    source="Hong et al. 2021, Section 4",
    higher_is_better=False,
    bounds=RATE,
    needs=("triggered",),
    each=True,
    scores=_taken_of_all,
)
LIFT = Metric(
    name="lift",
    symbol="LIFT",
    description="backdoor success beyond what the images are taken for without the trigger: of those not of its class, "
    "the share taken for it with the trigger less the share without",
    source="ours",
    higher_is_better=False,
    bounds=(-1.0, 1.0),
    needs=("clean", "triggered"),
    each=True,
    scores=_lifted,
    statistic=CHANGE,
)
COLLATERAL = Metric(
    name="others",
    symbol="ACC(others)",
    description="accuracy without the trigger on the images not of its class: what a backdoor costs beside its work",
    source="Hong et al. 2021, Section 4.2",
    higher_is_better=True,
    bounds=RATE,
    needs=("clean", "triggered"),
    each=True,
    scores=_others_right,
    statistic=SHARE,
)
