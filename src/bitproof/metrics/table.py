"""The table of metrics, and a model's row for each."""

from collections.abc import Sequence
from typing import Any

from bitproof.errors import InputError, lookup
from bitproof.metrics.accuracy import ACCURACY
from bitproof.metrics.attacks import AAI, AR, ASR, EVADED, WCAR, WCAR_BUDGET
from bitproof.metrics.calibration import ECE
from bitproof.metrics.classes import WORST_CLASS
from bitproof.metrics.corruptions import MNR, NCI, NCI_CORRUPTION
from bitproof.metrics.defended import (
    ACR,
    ANSWERED,
    ANSWERED_ATTACKED,
    BREACHES,
    DEFENCE_ACCURACY,
    EXPECTED,
    WORST_DRAW,
)
from bitproof.metrics.metric import Metric, counted, difference, estimate_selection, select
from bitproof.metrics.pairing import by_model_and_condition, condition_identity
from bitproof.metrics.reference import AGREEMENT, NFR
from bitproof.metrics.scoring import BRIER, LOG_LOSS, TOP5
from bitproof.metrics.sequences import FP, MFP
from bitproof.metrics.systematic import ACC_S, SNI, SNI_NOISE, SR, SR_DEBIASED
from bitproof.metrics.targeted import TSR
from bitproof.metrics.triggered import COLLATERAL, LIFT, TRIGGERED, TRIGGERED_ALL
from bitproof.records import Cell
from bitproof.settings import imported

_ALL = (
    *(ACCURACY, TOP5, ECE, BRIER, LOG_LOSS, NFR, AGREEMENT, WORST_CLASS, AR, AAI, ASR, TSR, EVADED, WCAR, WCAR_BUDGET),
    *(MNR, NCI, NCI_CORRUPTION, FP, MFP, ACC_S, SNI, SNI_NOISE, SR, SR_DEBIASED),
    *(TRIGGERED, TRIGGERED_ALL, LIFT, COLLATERAL),
    *(ANSWERED, ANSWERED_ATTACKED, DEFENCE_ACCURACY, EXPECTED, WORST_DRAW, ACR, BREACHES),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
"""Every metric by its name, in the order of tables."""


def add_metric(given: "Metric | str") -> Metric:
    """Put a metric into `METRICS` for this process: one's own, or its text `package.module:NAME`.

    Raises:
        InputError: something that is no metric, or one with the name of a built-in one.
    """
    found: Any = given
    if isinstance(given, str):
        module, colon, name = given.partition(":")
        found = imported(module, name, "metric") if colon else lookup(METRICS, given, "metric")
    if not isinstance(found, Metric):
        raise InputError(
            f"{given!r} is a {type(found).__name__}",
            rule="a metric of your own is a bitproof.metrics.Metric in your own module",
            remedy="Write --metric module:NAME with the name that it is assigned to",
        )
    if any(found.name == built_in.name and found is not built_in for built_in in _ALL):
        raise InputError(
            f"a metric of your own that is called {found.name!r}",
            rule="names tell metrics apart, and bitproof has one of this name",
            remedy="Give it another name",
        )
    METRICS[found.name] = found
    return found


def summary(cells: Sequence[Cell], reference: str | None = None) -> list[dict[str, Any]]:
    """One row a model and metric that its cells allow; one an attack for AR, AAI, ASR and TSR, one a sequence for FP.

    WCAR is the union over all the model's attack cells, and has a row more for each budget where there are several.

    Args:
        cells: of one data set and seed, at most one a model and condition.
        reference: name of the model that the others are compared with; None = without comparisons.

    Returns:
        Rows with model, weight_bits, act_bits, metric, symbol, condition (that of the row, or ""), value, low,
        high (None where undefined, or without an interval), higher_is_better, n (examples that the value is a mean or
        a share of: those that all conditions could be made of, of ASR and TSR those that could be lost); difference
        (from the reference, on the same examples), diff_low, diff_high, p_value (sign flips, not corrected for the
        number of rows), all None without one.

    Raises:
        InputError: an unknown reference, different examples, or two cells of one model and condition.
    """
    table = by_model_and_condition(cells)
    models = {cell.model.name: cell.model for cell in cells}
    if reference is not None:
        lookup(models, reference, "reference model")
    baseline = {condition: cell for (name, condition), cell in table.items() if name == reference}
    rows: list[dict[str, Any]] = []
    for model in models.values():
        own = {condition: cell for (name, condition), cell in table.items() if name == model.name}
        shared = {} if model.name == reference else {c: cell for c, cell in own.items() if c in baseline}
        for metric in METRICS.values():
            for label, chosen in selections(metric, shared if metric.compares else own):
                used, against = list(chosen.values()), [baseline[c] for c in chosen if c in baseline]
                compared = model.name != reference and not metric.compares and len(against) == len(used)
                selection = select(used, against if metric.compares else [])
                value, low, high = estimate_selection(metric, selection) or (None, None, None)
                change, p_value = (difference(metric, used, against) if compared else None) or ((None,) * 3, None)
                rows.append(
                    {
                        "model": model.name,
                        "weight_bits": model.weight_bits,
                        "act_bits": model.act_bits,
                        "metric": metric.name,
                        "symbol": metric.symbol,
                        "condition": label,
                        "value": value,
                        "low": low,
                        "high": high,
                        "higher_is_better": metric.higher_is_better,
                        "n": counted(metric, selection),
                        "difference": change[0],
                        "diff_low": change[1],
                        "diff_high": change[2],
                        "p_value": p_value,
                    }
                )
    return rows


def selections(metric: Metric, cells: dict[str, Cell]) -> list[tuple[str, dict[str, Cell]]]:
    """The sets of one model's cells that the metric is computed from, each with the label of its row."""
    *first, last = ({c: cell for c, cell in cells.items() if cell.condition.kind == kind} for kind in metric.needs)
    last = {c: cell for c, cell in last.items() if metric.suits(cell)}
    if not all(first) or len(last) < metric.least:
        return []
    needed = {c: cell for part in first for c, cell in part.items()}
    if metric.parts:
        parts = metric.parts(list(last.values()))
        return [(label, needed | {condition_identity(c.condition): c for c in part}) for label, part in parts.items()]
    if metric.each:
        return [(cell.condition.label, {**needed, c: cell}) for c, cell in last.items()]
    return [("", {**needed, **last})]
