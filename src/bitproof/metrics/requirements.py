"""Requirements on results, such as "acc >= 0.99 * float", judged on an interval: passed, failed, or undecided.

    METRIC            a name in `METRICS` ("acc" is short for "accuracy"), one value a model
    METRIC(WORDS)     that of the one condition that all of the words fit: an attack's name, its norm, its budget
    >= or <=
    NUMBER            as 0.4, or 40%
    NUMBER * MODEL    a part of what another model has on the same examples; "float" is the reference
    MODEL             the same with 1

A model meets a requirement if its whole interval does, fails it if none of it does, and is undecided else: then more
images would tell, and how many, if the rate stays what it is, follows from the interval's width, which falls with
their root. A part of another model's value is judged by the interval of the ratio of the two on the same examples.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bitproof.errors import InputError, lookup
from bitproof.metrics.intervals import Estimate
from bitproof.metrics.metric import Metric, estimate_selection, select
from bitproof.metrics.pairing import by_model_and_condition
from bitproof.metrics.ratios import ratio_interval
from bitproof.metrics.statistic import MEAN
from bitproof.metrics.table import METRICS, selections
from bitproof.records import Cell

SHORT = {"acc": "accuracy"}
"""Other names of metrics."""

PRESETS = {"mlperf": ("acc >= 0.99 * float",)}
"""Requirements by name. MLPerf inference asks a quantized model for 99% of the float model's accuracy."""

REFERENCE = "float"
"""What a requirement may call the reference, whatever its name is."""

PASSED, FAILED, UNDECIDED = "passed", "failed", "undecided"

_FORM = re.compile(
    r"\s*(?P<metric>\w+)\s*(?:\((?P<words>[^()]*)\))?\s*(?P<sign>>=|<=)\s*"
    r"(?:(?P<number>\d*\.?\d+(?:e-?\d+)?)\s*(?P<percent>%)?)?\s*(?P<times>\*)?\s*(?P<model>[^\s*%].*?)?\s*"
)


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """What a model has to reach.

    Attributes:
        text: as it was written.
        metric: a name in `METRICS`.
        words: that the condition has to fit, lower case; empty for metrics of a single value.
        at_least: whether the value has to be at least, or at most, the limit.
        factor: the limit, or the part of the other model's value that is the limit.
        model: the other model; None = the limit is a number.
    """

    text: str
    metric: str
    words: tuple[str, ...]
    at_least: bool
    factor: float
    model: str | None

    @staticmethod
    def parse(text: str) -> "Requirement":
        """The requirement that a text names.

        Raises:
            InputError: a text of another form, or an unknown metric.

        Example:
            >>> Requirement.parse("ar(pgd, linf, 1/255) >= 40%").factor
            0.4
        """
        found = _FORM.fullmatch(text)
        if (
            found is None
            or (found["number"] is None and (found["times"] or found["model"] is None))
            or (found["number"] is not None and bool(found["times"]) != (found["model"] is not None))
        ):
            raise InputError(
                f"requirement {text!r}",
                rule="it is METRIC or METRIC(CONDITION), then >= or <=, then NUMBER, MODEL or NUMBER * MODEL",
                remedy='Write "acc >= 0.99 * float" or "ar(pgd,linf,1/255) >= 0.4"',
            )
        name = SHORT.get(found["metric"].lower(), found["metric"].lower())
        lookup(METRICS, name, "metric")
        number = 1.0 if found["number"] is None else float(found["number"])
        return Requirement(
            text=" ".join(text.split()),
            metric=name,
            words=tuple(word.strip().lower() for word in (found["words"] or "").split(",") if word.strip()),
            at_least=found["sign"] == ">=",
            factor=number / 100 if found["percent"] else number,
            model=found["model"],
        )


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """How a model stands to a requirement.

    Attributes:
        requirement, model: which of them.
        verdict: "passed", "failed" or "undecided".
        value, low, high: the metric with its interval; where the limit is a part of another model's value, the ratio.
        limit: what it is compared with.
        n: examples.
        needed: about how many would decide it, if the value stays the same; None where it is decided, or none would.
        where: data and seed of the results, where there are several of them.
    """

    requirement: Requirement
    model: str
    verdict: str
    value: float | None
    low: float | None
    high: float | None
    limit: float
    n: int
    needed: int | None
    where: str = ""

    @property
    def sentence(self) -> str:
        """The ruling in words."""
        name = f"{self.model}, {self.where}" if self.where else self.model
        of = f" of {self.requirement.model}'s" if self.requirement.model else ""
        if self.value is None:
            return f"{name}: no value (n = {self.n:,})"
        ends = "no interval" if self.low is None else f"{self.low:.3f} to {self.high:.3f}"
        text = f"{name}: {self.value:.3f}{of} ({ends}, n = {self.n:,}), limit {self.limit:g}: {self.verdict}"
        if self.needed is not None:
            text += f"; about {self.needed:,} images would decide it if the value stays"
        elif self.verdict == UNDECIDED:
            text += "; it lies on the limit, which no number of images would decide"
        return text


def judge(requirement: Requirement, cells: Sequence[Cell], reference: str, models: Sequence[str] = ()) -> list[Ruling]:
    """How each model stands to a requirement.

    Args:
        requirement: what is asked.
        cells: of one data set and seed.
        reference: the name of the model that "float" stands for.
        models: those to judge; by default all but the reference.

    Raises:
        InputError: an unknown model, no condition or several that fit, or a metric that has no ratio.
    """
    table: dict[str, dict[str, Cell]] = {}
    for (name, condition), cell in by_model_and_condition(cells).items():
        table.setdefault(name, {})[condition] = cell
    lookup(table, reference, "reference model")
    chosen = list(models) or [name for name in table if name != reference] or [reference]
    for name in chosen:
        lookup(table, name, "model")
    return [_ruling(requirement, name, table, reference) for name in chosen]


def _ruling(asked: Requirement, name: str, table: Mapping[str, dict[str, Cell]], reference: str) -> Ruling:
    metric = METRICS[asked.metric]
    own, other = table[name], table[reference]
    shared = {c: cell for c, cell in own.items() if c in other} if metric.compares else own
    conditions = _conditions(asked, metric, shared, name)
    used = [own[c] for c in conditions]
    if asked.model is None:
        selection = select(used, [other[c] for c in conditions] if metric.compares else [])
        found, n = estimate_selection(metric, selection), selection.n
    else:
        against = _other(asked, metric, conditions, table, reference, name)
        both = select([*used, *against]).cells
        n = len(both[0].ids)
        found = _ratio(metric, both[: len(used)], both[len(used) :])
    value, low, high = found or (None, None, None)
    verdict = _verdict(asked, low, high)
    return Ruling(
        requirement=asked,
        model=name,
        verdict=verdict,
        value=value,
        low=low,
        high=high,
        limit=asked.factor,
        n=n,
        needed=_needed(asked, value, low, high, n) if verdict == UNDECIDED else None,
    )


def _conditions(asked: Requirement, metric: Metric, cells: dict[str, Cell], name: str) -> list[str]:
    """The conditions of the one value that is asked for."""
    found = selections(metric, cells)
    fitting = [(label, chosen) for label, chosen in found if all(_fits(word, chosen, label) for word in asked.words)]
    if len(fitting) != 1:
        labels = ", ".join(repr(label) for label, _ in (fitting or found)[:5]) or "none"
        raise InputError(
            f"requirement {asked.text!r} of model {name!r}",
            rule=f"it is about one result, and {len(fitting)} fit (there are: {labels})",
            remedy=f"Name one by its words, as {asked.metric}(pgd,linf,1/255), or test the model under it first",
        )
    return list(fitting[0][1])


def _fits(word: str, chosen: Mapping[str, Cell], label: str) -> bool:
    """Whether a word is the name, the norm, the budget or the severity of the condition, or one in its label."""
    about = [cell.condition for cell in chosen.values()][-1]
    words = {*label.lower().split(), str(about.norm), about.variant.lower(), str(about.severity)}
    names = {text.partition("-")[0] for text in words}
    return word in words | names


def _other(
    asked: Requirement,
    metric: Metric,
    conditions: list[str],
    table: Mapping[str, dict[str, Cell]],
    reference: str,
    own: str,
) -> list[Cell]:
    name = reference if asked.model == REFERENCE and REFERENCE not in table else str(asked.model)
    cells = lookup(table, name, "model of a requirement")
    if name == own:
        raise InputError(
            f"requirement {asked.text!r} of model {own!r}",
            rule="a model is judged by another one, not by itself",
            remedy="Test a quantized copy or a deployed file into the same store",
        )
    if metric.compares or metric.statistic is not MEAN:
        raise InputError(
            f"requirement {asked.text!r}",
            rule=f"a part of another's value is judged for metrics that are a mean over examples, not {metric.name}",
            remedy="Compare it with a number",
        )
    if any(c not in cells for c in conditions):
        raise InputError(
            f"requirement {asked.text!r}",
            rule=f"model {name!r} was not tested under the same condition",
            remedy="Test both under it, on the same images",
        )
    return [cells[c] for c in conditions]


def _ratio(metric: Metric, own: Sequence[Cell], other: Sequence[Cell]) -> Estimate | None:
    above, below = (metric.scores(select(cells))[0] for cells in (own, other))
    if not below.mean() > 0:
        return None
    low, high = ratio_interval(below, above) or (None, None)
    return float(above.mean() / below.mean()), low, high


def _verdict(asked: Requirement, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return UNDECIDED
    good, bad = (
        (low >= asked.factor, high < asked.factor) if asked.at_least else (high <= asked.factor, low > asked.factor)
    )
    return PASSED if good else FAILED if bad else UNDECIDED


def _needed(asked: Requirement, value: float | None, low: float | None, high: float | None, n: int) -> int | None:
    if value is None or low is None or high is None or not np.isfinite([low, high]).all():
        return None
    gap = abs(value - asked.factor)
    width = value - low if value > asked.factor else high - value
    return math.ceil(n * (width / gap) ** 2) if gap > 0 else None
