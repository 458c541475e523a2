"""The metrics: one line a metric and condition, one entry a model."""

from dataclasses import dataclass

from bitproof.metrics import METRICS, Metric
from bitproof.report.panels.base import Panel
from bitproof.report.rows import Row
from bitproof.report.sections import Section


@dataclass(frozen=True, kw_only=True)
class Line:
    """A metric under a condition, or over those that it unites, with the row of each model that has one."""

    metric: Metric
    condition: str
    rows: tuple[Row | None, ...]


def metric_lines(section: Section) -> list[Line]:
    """The summary turned: metrics in the order of their table, conditions in that of the section, then parts."""
    values = {(row["metric"], row["condition"], row["model"]): row for row in section.summary}
    labels = [c.label for group in section.groups for c in group.conditions]
    labels = dict.fromkeys([*labels, *(row["condition"] for row in section.summary)])
    return [
        Line(metric=metric, condition=label or _united(section, metric), rows=rows)
        for metric in METRICS.values()
        for label in labels
        if any(rows := tuple(values.get((metric.name, label, model.name)) for model in section.models))
    ]


def _united(section: Section, metric: Metric) -> str:
    """Of how many conditions the metric is made, where it says what these are called."""
    count = sum(len(group.conditions) for group in section.groups if group.kind == metric.needs[-1])
    return f"over {count} {metric.counted}{'s' * (count > 1)}" if metric.counted else ""


PANEL = Panel(name="metrics", title="Metrics", shows=metric_lines)
