"""The metrics: one line a metric and condition, one entry a model."""

from dataclasses import dataclass

from bitproof.metrics import METRICS, Metric
from bitproof.report.panels.base import Panel
from bitproof.report.rows import Row, verdict_sign
from bitproof.report.sections import Section


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A model's row, and whether its difference is significant: -1 for worse than the reference, 1 for better."""

    row: Row
    sign: int


@dataclass(frozen=True, kw_only=True)
class Line:
    """A metric under a condition, or over those that it unites, with the entry of each model that has one."""

    metric: Metric
    condition: str
    entries: tuple[Entry | None, ...]

    @property
    def share(self) -> bool:
        """Whether values are shares, which are written in percent; losses, radii and counts are not."""
        return self.metric.bounds[1] <= 1


def metric_lines(section: Section) -> list[Line]:
    """The summary turned: metrics in the order of their table, conditions in that of the section, then parts."""
    values = {(row["metric"], row["condition"], row["model"]): row for row in section.summary}
    labels = [c.label for group in section.groups for c in group.conditions]
    labels = dict.fromkeys([*labels, *(row["condition"] for row in section.summary)])
    return [
        Line(
            metric=metric,
            condition=label or _united(section, metric),
            entries=tuple(None if row is None else Entry(row=row, sign=_sign(section, row)) for row in rows),
        )
        for metric in METRICS.values()
        for label in labels
        if any(rows := [values.get((metric.name, label, model.name)) for model in section.models])
    ]


def _sign(section: Section, row: Row) -> int:
    """Of flips, the only metric that is tested by itself."""
    verdict = section.verdicts.get((row["model"], (row["condition"],)))
    return verdict_sign(verdict) if verdict is not None and verdict.flips else 0


def _united(section: Section, metric: Metric) -> str:
    """Of how many conditions the metric is made, where it says what these are called."""
    cells = [cell for cell in section.cells.values() if cell.condition.kind == metric.needs[-1]]
    count = len({cell.condition.label for cell in cells if metric.suits(cell)})
    return f"over {count} {metric.counted}{'s' * (count > 1)}" if metric.counted else ""


PANEL = Panel(name="metrics", title="Metrics", shows=metric_lines)
