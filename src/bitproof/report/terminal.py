"""Results as tables for a terminal: each table a function of all records, which gives none where it has no rows."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from rich.markup import escape
from rich.table import Table

from bitproof import metrics
from bitproof.metrics import Group
from bitproof.records import Cell, Diagnosis, Explained, Record
from bitproof.report import text
from bitproof.report.rows import SIGNIFICANT, Row, row_sign

SHOWN = 12
"""Rows of an explanation that a terminal shows."""


def comparison(found: Sequence[Record], reference: str) -> list[Table]:
    """Conditions down, models across: accuracy, and for all but the reference the difference from it.

    A star marks differences that are significant at 5%, by the same tests as in the report (`metrics.family`).
    """
    cells = _cells(found)
    if not cells:
        return []
    rows = {(row["model"], row["condition"]): row for row in metrics.compare(cells, reference)}
    verdicts = {(row["model"], row["condition"]): row for row in metrics.verdicts(cells, reference)}
    models = list(dict.fromkeys(model for model, _ in rows))
    compared = [
        f"in brackets: points against {escape(reference)}; * p < 0.05: sign flips on the same images,",
        "corrected over a model's lines (half of the level for clean images), parts of a mean over that mean's",
    ]
    by_model = {(cell.model.name, cell.condition.label): cell for cell in cells}
    table = Table(
        title=f"accuracy in % [95% interval], n = {len(cells[0].ids):,}",
        caption="\n".join([*(compared if len(models) > 1 else ()), *map(escape, text.remarks(cells))]),
    )
    table.add_column("condition", no_wrap=True)
    for model in models:
        table.add_column(escape(model), justify="right", no_wrap=True)
    last_kind = None
    for group in metrics.group_conditions(list({c.condition.label: c.condition for c in cells}.values())):
        if last_kind not in (None, group.kind):
            table.add_section()
        last_kind = group.kind
        for line in group.lines:
            many = len(line.conditions) > 1
            if many:
                means = (_mean(line, model, by_model, verdicts.get((model, line.name))) for model in models)
                table.add_row(escape(f"{line.name}, mean of {len(line.conditions)}"), *means)
            for c in line.conditions:
                shown = (rows.get((model, c.label)) for model in models)
                table.add_row("  " * many + escape(c.label), *(_accuracy(row) if row else "" for row in shown))
    return [table]


def metrics_table(found: Sequence[Record], reference: str) -> list[Table]:
    """Metrics down, models across, with their 95% intervals and differences; an arrow shows which way is better.

    A star marks the flips of a sequence that differ significantly.
    """
    cells, arrows = _cells(found), {True: "↑", False: "↓"}
    verdicts = metrics.verdicts(cells, reference) if cells else []
    flips = {(row["model"], row["condition"]): row["p_adjusted"] for row in verdicts if row["measure"] == "FP"}
    entries = [
        (
            f"{row['symbol']} {arrows[row['higher_is_better']]} {row['condition']}".strip(),
            row["model"],
            _value(row, flips.get((row["model"], row["condition"])) if row["metric"] == "fp" else None),
        )
        for row in (metrics.summary(cells, reference) if cells else [])
    ]
    against = f" (against {escape(reference)})" if len({model for _, model, _ in entries}) > 1 else ""
    return _models_across(f"metrics, as fractions [95% interval]{against}", "metric", entries)


def distance_table(found: Sequence[Record], reference: str) -> list[Table]:
    """Attacks without a budget down, models across: their median distances."""
    entries = [(row["condition"], row["model"], _median(row)) for row in metrics.distances(_cells(found))]
    return _models_across("distance within which half of the images have a wrong one [95% interval]", "attack", entries)


def masking_tables(found: Sequence[Record], reference: str) -> list[Table]:
    """A table a model: signals of masked gradients down, with their numbers in words; the verdict below."""
    return [_masking_table(record) for record in found if isinstance(record, Diagnosis)]


def explanation_tables(found: Sequence[Record], reference: str) -> list[Table]:
    """A table an explanation: its first `SHOWN` rows, and below what is to be said of it."""
    return [_explanation_table(record) for record in found if isinstance(record, Explained)]


TABLES: tuple[Callable[[Sequence[Record], str], list[Table]], ...] = (
    comparison,
    metrics_table,
    distance_table,
    masking_tables,
    explanation_tables,
)
"""In the order of the terminal. Another kind of record is another function here."""


def tables(found: Sequence[Record], reference: str) -> list[Table]:
    """Everything that there is to show of the records of one data set and seed."""
    return [table for make in TABLES for table in make(found, reference)]


def notes(found: Sequence[Record]) -> list[str]:
    """What a reader of the tables has to know: conditions that are one condition by other names, what stays float."""
    models = {record.model.name: record.model.coverage for record in found}
    partly = [f"{name}: {text.coverage(c)}" for name, c in models.items() if c is not None and c.floating()]
    return [*(text.same_pixels(row) for row in metrics.same_pixels(_cells(found))), *partly]


def _cells(found: Sequence[Record]) -> list[Cell]:
    return [record for record in found if isinstance(record, Cell)]


def _masking_table(diagnosis: Diagnosis) -> Table:
    title, caption = escape(f"masked gradients: {diagnosis.model.name}"), escape(diagnosis.verdict)
    table = Table(title=title, caption=caption, caption_justify="left")
    for heading in ("signal", "fires", "p", "what was seen"):
        table.add_column(heading)
    for signal in diagnosis.signals:
        fires = {True: "[bold red]yes[/]", False: "no", None: ""}[signal.fires]
        p = "" if signal.p_holm is None else f"{signal.p_holm:.2g}"
        table.add_row(signal.name, fires, p, escape(signal.sentence))
    return table


def _explanation_table(record: Explained) -> Table:
    numbers = record.table()
    left = len(numbers) - SHOWN
    more = [f"({left} more rows in table(), the report and the export)"] if left > 0 else []
    table = Table(
        title=escape(record.title), caption=escape("\n".join([*record.findings, *more])), caption_justify="left"
    )
    for column in numbers.columns:
        table.add_column(escape(str(column)), justify="left" if column == numbers.columns[0] else "right")
    for row in numbers.head(SHOWN).itertuples(index=False):
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else escape(str(value)) for value in row))
    return table


def _models_across(title: str, heading: str, entries: Sequence[tuple[str, str, str]]) -> list[Table]:
    """A table of (line, model, text): lines down, models across, both in the order in which they first appear."""
    if not entries:
        return []
    table = Table(title=title)
    table.add_column(heading, no_wrap=True)
    models = list(dict.fromkeys(model for _, model, _ in entries))
    for model in models:
        table.add_column(escape(model), justify="right", no_wrap=True)
    lines: dict[str, dict[str, str]] = {}
    for line, model, entry in entries:
        lines.setdefault(line, {})[model] = entry
    for line, of in lines.items():
        table.add_row(escape(line), *(of.get(model, "") for model in models))
    return [table]


def _accuracy(row: Row) -> str:
    return _with_interval(row, row["accuracy"], row["low"], row["high"])


def _mean(line: Group, model: str, cells: Mapping[tuple[str, str], Cell], verdict: Row | None) -> str:
    """The mean over the conditions of a line; nothing where the model was not tested under all of them."""
    own = [cells[model, c.label] for c in line.conditions if (model, c.label) in cells]
    if len(own) < len(line.conditions):
        return ""
    scores = np.mean([cell.correct[np.argsort(cell.ids)] for cell in own], axis=0)
    return _with_interval(verdict, float(scores.mean()), *metrics.mean_interval(scores))


def _with_interval(row: Row | None, accuracy: float, low: float, high: float) -> str:
    shown = f"{accuracy * 100:.2f} [dim]\\[{low * 100:.1f}, {high * 100:.1f}][/dim]"
    if row is None or row["difference"] is None:
        return shown
    return f"{shown} ({row['difference'] * 100:+.2f}{'*' if row_sign(row) else ' '})"


def _value(row: Row, p: float | None) -> str:
    if row["value"] is None:
        return "undefined"
    interval = "" if row["low"] is None else f" [dim]\\[{row['low']:.4f}, {row['high']:.4f}][/dim]"
    star = "*" if p is not None and p < SIGNIFICANT else " "
    change = "" if row["difference"] is None else f" ({row['difference']:+.4f}{star})"
    return f"{row['value']:.4f}{interval}{change}"


def _median(row: Row) -> str:
    median, low, high = (text.distance(row[key], row["norm"]) for key in ("median", "low", "high"))
    return f"{median} [dim]\\[{low}, {high}][/dim]"
