"""Defences at inference: what is answered, what is taken back, who is fooled, and how far an answer is certain.

A defence that takes answers back is judged by three numbers at once (Bernhard et al. 2019, arXiv 1909.12741,
Eqs. 11-13): how much it still answers, how much of that is right, and on how many images it is not fooled. Where chance
decides the answer, the expectation is exact: a cell holds what each model of the draw would answer.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from bitproof.metrics.intervals import Scores, mean_interval, wilson
from bitproof.metrics.metric import RATE, Metric, Selection
from bitproof.metrics.statistic import SHARE, UNBOUNDED
from bitproof.records import POSSIBLE, RADIUS, REFUSED, Cell


def _refuses(cell: Cell) -> bool:
    return REFUSED in cell.values


def _draws(cell: Cell) -> bool:
    return any(name.startswith(POSSIBLE) for name in cell.values)


def _certifies(cell: Cell) -> bool:
    return RADIUS in cell.values


def _right(cell: Cell) -> Float64[np.ndarray, "n a"]:
    """Of each answer that may be given: 1 if it is right."""
    return (cell.possible == cell.labels[:, None]).astype(np.float64)


def _answered(selection: Selection) -> Scores:
    return np.atleast_2d(~selection.cells[-1].refused)


def _not_fooled(selection: Selection) -> Scores:
    return np.atleast_2d(1 - selection.cells[-1].fooled)


def _expected(selection: Selection) -> Scores:
    return _right(selection.cells[-1]).mean(1)[None]


def _all_right(selection: Selection) -> Scores:
    return _right(selection.cells[-1]).min(1)[None]


def certified(cell: Cell) -> Float64[np.ndarray, " n"]:
    """The radius within which the right answer is certain; 0 where it is not, and for models that certify nothing."""
    radii = cell.values.get(RADIUS, np.zeros(len(cell.ids)))
    return np.where(cell.correct & ~cell.refused, radii, 0.0).astype(np.float64)


def certified_accuracy(cell: Cell, radii: Float[np.ndarray, " k"] | Sequence[float]) -> Float64[np.ndarray, " k"]:
    """The share of the examples whose right answer is certain within each of `radii`, in l2 (Cohen et al. 2019)."""
    held = certified(cell)
    return np.array([((held >= r) & (held > 0)).mean() for r in np.asarray(radii, np.float64)])


def _radii(selection: Selection) -> Scores:
    return certified(selection.cells[-1])[None]


def _breached(selection: Selection) -> Scores:
    clean, attacked = selection.cells
    within = certified(clean) > attacked.l2
    return np.stack([within, within & (attacked.fooled == 1)])


_RATES: dict[str, Any] = {"bounds": RATE, "higher_is_better": True}

ANSWERED = Metric(
    name="answered",
    symbol="PR",
    description="prediction rate: share of clean examples that a defence answers",
    source="Bernhard et al. 2019, Eq. 12",
    needs=("clean",),
    suits=_refuses,
    scores=_answered,
    **_RATES,
)
ANSWERED_ATTACKED = Metric(
    name="answered-attacked",
    symbol="PR",
    description="prediction rate: share of attacked examples that a defence answers",
    source="Bernhard et al. 2019, Eq. 12",
    needs=("attack",),
    suits=_refuses,
    each=True,
    scores=_answered,
    **_RATES,
)
DEFENCE_ACCURACY = Metric(
    name="d_acc",
    symbol="d_acc",
    description="defence accuracy: share of attacked examples without a wrong answer, those without an answer too",
    source="Bernhard et al. 2019, Eq. 13",
    needs=("attack",),
    suits=_refuses,
    each=True,
    scores=_not_fooled,
    **_RATES,
)
EXPECTED = Metric(
    name="expected",
    symbol="E[AR]",
    description="expected accuracy under one attack, exactly, where chance decides which model answers",
    source="Athalye, Carlini & Wagner 2018, Section 4.2",
    needs=("attack",),
    suits=_draws,
    each=True,
    scores=_expected,
    **_RATES,
)
WORST_DRAW = Metric(
    name="worst-draw",
    symbol="AR(worst draw)",
    description="share of examples under one attack that each model which chance may choose gets right",
    source="ours",
    needs=("attack",),
    suits=_draws,
    each=True,
    scores=_all_right,
    **_RATES,
)
ACR = Metric(
    name="acr",
    symbol="ACR",
    description="average certified radius in l2, 0 for examples whose right answer is not certain",
    source="Zhai et al. 2020, arXiv 2001.02378, Section 3",
    higher_is_better=True,
    bounds=(0.0, np.inf),
    needs=("clean",),
    suits=_certifies,
    scores=_radii,
    statistic=UNBOUNDED,
)
BREACHES = Metric(
    name="breaches",
    symbol="BR",
    description="of the examples moved by an attack less than their certified radius, the share answered wrongly: "
    "a sound certificate fails as often as its alpha says",
    source="Cohen et al. 2019, arXiv 1902.02918, Theorem 1",
    higher_is_better=False,
    bounds=RATE,
    needs=("clean", "attack"),
    suits=_certifies,
    each=True,
    scores=_breached,
    statistic=SHARE,
)


def defences(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """What defences do under every condition: a row for each cell of a model that says more than its answers.

    Returns:
        Rows with model, condition, kind, n; answered, right (of those answered), stands (not fooled), each with its
        95% interval as NAME_low and NAME_high; expected, worst, best: accuracy over what chance may choose; certified
        (share with a right answer that is certain) and radius (mean); None where a model has no such number.
    """
    return [_row(cell) for cell in cells if _refuses(cell) or _draws(cell) or _certifies(cell)]


def _row(cell: Cell) -> dict[str, Any]:
    n, answered = len(cell.ids), ~cell.refused
    row: dict[str, Any] = {"model": cell.model.name, "condition": cell.condition.label, "kind": cell.condition.kind}
    row |= {"n": n, **_rate("answered", int(answered.sum()), n)}
    row |= _rate("right", int((answered & cell.correct).sum()), int(answered.sum()))
    stands = 1 - cell.fooled
    low, high = mean_interval(stands)
    row |= {"stands": float(stands.mean()), "stands_low": low, "stands_high": high}
    right = _right(cell) if _draws(cell) else None
    row |= {
        name: None if right is None else float(of(right, 1).mean())
        for name, of in (("expected", np.mean), ("worst", np.min), ("best", np.max))
    }
    held = certified(cell) if _certifies(cell) else None
    row["certified"] = None if held is None else float((held > 0).mean())
    row["radius"] = None if held is None else float(held.mean())
    return row


def _rate(name: str, successes: int, n: int) -> dict[str, float | None]:
    """A share with its interval; None where there is nothing to take it of."""
    low, high = wilson(successes, n) if n else (None, None)
    return {name: successes / n if n else None, f"{name}_low": low, f"{name}_high": high}
