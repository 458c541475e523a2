"""Results as tables for a terminal: each table a function of all records, which gives none where it has no rows."""

from collections.abc import Callable, Sequence

from rich.markup import escape
from rich.table import Table

from bitproof import metrics
from bitproof.records import Cell, Diagnosis, Record
from bitproof.report import text
from bitproof.report.rows import Row, significant


def comparison(found: Sequence[Record], reference: str) -> list[Table]:
    """Conditions down, models across: accuracy, and for all but the reference the difference from it.

    A star marks differences that are significant at 5% (exact McNemar, Holm-corrected over the table).
    """
    cells = _cells(found)
    if not cells:
        return []
    rows = metrics.compare(cells, reference)
    models = list(dict.fromkeys(row["model"] for row in rows))
    count = rows[0]["n"]
    table = Table(
        title=f"accuracy in % [95% interval], n = {count:,}",
        caption="\n".join(
            [
                f"in brackets: points against {escape(reference)}; * p < 0.05, exact McNemar test with Holm correction",
                *map(escape, text.remarks(cells)),
            ]
        ),
    )
    table.add_column("condition", no_wrap=True)
    for model in models:
        table.add_column(escape(model), justify="right", no_wrap=True)
    by_condition: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_condition.setdefault(row["condition"], {})[row["model"]] = row
    last_kind = None
    for condition, under in by_condition.items():
        kind = next(iter(under.values()))["kind"]
        if last_kind not in (None, kind):
            table.add_section()
        last_kind = kind
        table.add_row(escape(condition), *(_accuracy(under[model]) if model in under else "" for model in models))
    return [table]


def metrics_table(found: Sequence[Record], reference: str) -> list[Table]:
    """Metrics down, models across, with their 95% intervals; an arrow shows which way is better."""
    cells, arrows = _cells(found), {True: "↑", False: "↓"}
    entries = [
        (f"{row['symbol']} {arrows[row['higher_is_better']]} {row['condition']}".strip(), row["model"], _value(row))
        for row in (metrics.summary(cells, reference) if cells else [])
    ]
    return _models_across("metrics, as fractions [95% interval]", "metric", entries)


def distance_table(found: Sequence[Record], reference: str) -> list[Table]:
    """Attacks without a budget down, models across: their median distances."""
    entries = [(row["condition"], row["model"], _median(row)) for row in metrics.distances(_cells(found))]
    return _models_across("distance within which half of the images have a wrong one [95% interval]", "attack", entries)


def masking_tables(found: Sequence[Record], reference: str) -> list[Table]:
    """A table a model: signals of masked gradients down, with their numbers in words; the verdict below."""
    return [_masking_table(record) for record in found if isinstance(record, Diagnosis)]


TABLES: tuple[Callable[[Sequence[Record], str], list[Table]], ...] = (
    comparison,
    metrics_table,
    distance_table,
    masking_tables,
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
    shown = f"{row['accuracy'] * 100:.2f} [dim]\\[{row['low'] * 100:.1f}, {row['high'] * 100:.1f}][/dim]"
    if row["difference"] is None:
        return shown
    return f"{shown} ({row['difference'] * 100:+.2f}{'*' if significant(row) else ' '})"


def _value(row: Row) -> str:
    if row["value"] is None:
        return "undefined"
    return f"{row['value']:.4f} [dim]\\[{row['low']:.4f}, {row['high']:.4f}][/dim]"


def _median(row: Row) -> str:
    median, low, high = (text.distance(row[key], row["norm"]) for key in ("median", "low", "high"))
    return f"{median} [dim]\\[{low}, {high}][/dim]"
