"""Which differences are tested together, and how the tests are corrected for being many.

A family is what is asked of one model against the reference: clean images, each attack, the mean over each group of
other conditions (severities of a corruption, modes of resizing), the flips of each sequence. Means carry the power: a
loss that is too small to be seen under any one severity shows in all of them together.

Half of the level is for clean images, whatever else is tested, so that no further suite changes that verdict; the
others share the other half by Holm's procedure, and all of it where clean images differ already (the fallback
procedure, Wiens 2003). The chance of any false alarm in a family is then at most the level, whichever of the
differences are real.

Not in it: attacks without a budget, which break everything; conditions that showed the pixels of an earlier one; the
accuracy on the first frame of a sequence, often the clean image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bitproof.errors import lookup
from bitproof.metrics.groups import Group, group_conditions
from bitproof.metrics.intervals import Scores, mean_difference_interval
from bitproof.metrics.metric import select
from bitproof.metrics.paired import DRAWS, flipped, holm
from bitproof.metrics.pairing import by_model_and_condition, condition_identity
from bitproof.metrics.pixels import repeated
from bitproof.metrics.sequences import FP, flips_of
from bitproof.metrics.statistic import MEAN
from bitproof.records import Cell

CLEAN, SEQUENCE, UNTESTED = "clean", "sequence", "minimum"
"""Kinds of condition with a rule of their own here; the last one is that of attacks without a budget."""

EQUIVALENCE = 0.9
"""Confidence of the interval whose larger end is the margin that two one-sided tests at 5% bear out."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One test: a model against the reference under one line.

    Attributes:
        model: its name.
        line: a condition, or a group by its mean.
        flips: whether the flips of a sequence are compared; if not, accuracies.
        n: number of examples.
        difference, low, high: from the reference, with the 95% interval, not corrected.
        within: the margin inside which the models are alike, by two one-sided tests at 5%.
        p_value: by sign flips, for a single accuracy McNemar's exact test; `p_adjusted` over the model's family.
    """

    model: str
    line: Group
    flips: bool
    n: int
    difference: float
    low: float
    high: float
    within: float
    p_value: float
    p_adjusted: float


def family(cells: Sequence[Cell], reference: str) -> list[Verdict]:
    """All tests, model by model in the order of the cells, clean first.

    Args:
        cells: of one data set and seed, at most one a model and condition.
        reference: name of the model that the others are compared with.

    Raises:
        InputError: an unknown reference, different examples, or two cells of one model and condition.
    """
    table = by_model_and_condition(cells)
    models = {cell.model.name: cell.model for cell in cells}
    lookup(models, reference, "reference model")
    lines, found = tested_lines(cells), list[Verdict]()
    for model in (name for name in models if name != reference):
        tests = [_verdict(model, line, *pair) for line in lines if (pair := _scores(table, line, model, reference))]
        found += _adjusted(tests)
    return found


def tested_lines(cells: Sequence[Cell]) -> list[Group]:
    """The conditions, and the groups of them, that are tested."""
    again = repeated(cells)
    conditions = {condition_identity(cell.condition): cell.condition for cell in cells}
    lines = (line for group in group_conditions(list(conditions.values())) for line in group.lines)
    return [x for x in lines if x.kind != UNTESTED and not again.issuperset(map(condition_identity, x.conditions))]


def verdicts(cells: Sequence[Cell], reference: str) -> list[dict[str, Any]]:
    """`family` as rows, with the same arguments.

    Returns:
        Rows with model, kind, condition (a label, or the name of the group whose mean it is), conditions (how many),
        measure ("ACC", or "FP" for sequences), higher_is_better, n, difference, diff_low, diff_high, within, p_value,
        p_adjusted: see `Verdict`.
    """
    return [
        {
            "model": verdict.model,
            "kind": verdict.line.kind,
            "condition": verdict.line.name,
            "conditions": len(verdict.line.conditions),
            "measure": FP.symbol if verdict.flips else "ACC",
            "higher_is_better": not verdict.flips,
            "n": verdict.n,
            "difference": verdict.difference,
            "diff_low": verdict.low,
            "diff_high": verdict.high,
            "within": verdict.within,
            "p_value": verdict.p_value,
            "p_adjusted": verdict.p_adjusted,
        }
        for verdict in family(cells, reference)
    ]


def _scores(
    table: Mapping[tuple[str, str], Cell], line: Group, model: str, reference: str
) -> tuple[Scores, Scores] | None:
    """Scores [1, n] of both: how often an example is right, or its prediction flips; None without all cells."""
    keys = [condition_identity(c) for c in line.conditions]
    cells = [[table.get((name, key)) for key in keys] for name in (model, reference)]
    own, other = ([cell for cell in part if cell is not None] for part in cells)
    if not len(own) == len(other) == len(keys):
        return None
    if line.kind == SEQUENCE:
        (a, b) = select([*own, *other]).cells
        return (flips_of(a)[None], flips_of(b)[None]) if FP.suits(a) and FP.suits(b) and len(a.ids) else None
    a, b = (np.stack([cell.correct for cell in part]) for part in (own, other))
    return (a, b) if len(keys) == 1 else (a.mean(axis=0)[None], b.mean(axis=0)[None])


def _verdict(model: str, line: Group, a: Scores, b: Scores) -> Verdict:
    low, high = mean_difference_interval(a[0], b[0])
    p = flipped(a, b, MEAN.value, draws=DRAWS)
    return Verdict(
        model=model,
        line=line,
        flips=line.kind == SEQUENCE,
        n=a.shape[1],
        difference=float(a.mean() - b.mean()),
        low=low,
        high=high,
        within=max(map(abs, mean_difference_interval(a[0], b[0], EQUIVALENCE))),
        p_value=p,
        p_adjusted=p,
    )


def _adjusted(tests: list[Verdict]) -> list[Verdict]:
    """The tests of one family, with their corrected p-values."""
    clean = next((min(1.0, 2 * test.p_value) for test in tests if test.line.kind == CLEAN), 0.0)
    corrected = iter(holm([test.p_value for test in tests if test.line.kind != CLEAN]))
    return [
        replace(test, p_adjusted=clean if test.line.kind == CLEAN else min(1.0, 2 * p, max(p, clean)))
        for test in tests
        for p in [0.0 if test.line.kind == CLEAN else float(next(corrected))]
    ]
