"""Results as tables for a terminal."""

from collections.abc import Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from bitproof import metrics
from bitproof.diagnosis import Diagnosis
from bitproof.records import Cell
from bitproof.report.text import distance, remarks


def comparison(cells: Sequence[Cell], reference: str) -> Table:
    """Conditions down, models across: accuracy, and for all but the reference the difference from it.

    A star marks differences that are significant at 5% (exact McNemar, Holm-corrected over the table).
    """
    rows = metrics.compare(cells, reference)
    models = list(dict.fromkeys(row["model"] for row in rows))
    count = rows[0]["n"]
    table = Table(
        title=f"accuracy in % [95% interval], n = {count:,}",
        caption="\n".join(
            [
                f"in brackets: points against {reference}; * p < 0.05, exact McNemar test with Holm correction",
                *map(escape, remarks(cells)),
            ]
        ),
    )
    table.add_column("condition", no_wrap=True)
    for model in models:
        table.add_column(model, justify="right", no_wrap=True)
    by_condition: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        by_condition.setdefault(row["condition"], {})[row["model"]] = row
    last_kind = None
    for condition, found in by_condition.items():
        kind = next(iter(found.values()))["kind"]
        if last_kind not in (None, kind):
            table.add_section()
        last_kind = kind
        table.add_row(condition, *(_accuracy(found[model]) if model in found else "" for model in models))
    return table


def metrics_table(cells: Sequence[Cell]) -> Table:
    """Metrics down, models across, with their 95% intervals; an arrow shows which way is better."""
    arrows = {True: "↑", False: "↓"}
    entries = [
        (f"{row['symbol']} {arrows[row['higher_is_better']]} {row['condition']}".strip(), row["model"], _value(row))
        for row in metrics.summary(cells)
    ]
    return _models_across("metrics, as fractions [95% interval]", "metric", entries)


def distance_table(cells: Sequence[Cell]) -> Table | None:
    """Attacks without a budget down, models across: their median distances; None if there are none."""
    entries = [(row["condition"], row["model"], _median(row)) for row in metrics.distances(cells)]
    title = "distance within which half of the images have a wrong one [95% interval]"
    return _models_across(title, "attack", entries) if entries else None


def masking_table(diagnosis: Diagnosis) -> Table:
    """Signals of masked gradients down, with their numbers in words; the verdict below."""
    table = Table(title=f"masked gradients: {diagnosis.model.name}", caption=diagnosis.verdict, caption_justify="left")
    for heading in ("signal", "fires", "p", "what was seen"):
        table.add_column(heading)
    for signal in diagnosis.signals:
        fires = {True: "[bold red]yes[/]", False: "no", None: ""}[signal.fires]
        p = "" if signal.p_holm is None else f"{signal.p_holm:.2g}"
        table.add_row(signal.name, fires, p, signal.sentence)
    return table


def _models_across(title: str, heading: str, entries: Sequence[tuple[str, str, str]]) -> Table:
    """A table of (line, model, text): lines down, models across, both in the order in which they first appear."""
    table = Table(title=title)
    table.add_column(heading, no_wrap=True)
    models = list(dict.fromkeys(model for _, model, _ in entries))
    for model in models:
        table.add_column(model, justify="right", no_wrap=True)
    lines: dict[str, dict[str, str]] = {}
    for line, model, text in entries:
        lines.setdefault(line, {})[model] = text
    for line, found in lines.items():
        table.add_row(line, *(found.get(model, "") for model in models))
    return table


def _accuracy(row: dict[str, Any]) -> str:
    text = f"{row['accuracy'] * 100:.2f} [dim]\\[{row['low'] * 100:.1f}, {row['high'] * 100:.1f}][/dim]"
    if row["difference"] is None:
        return text
    star = "*" if row["p_holm"] is not None and row["p_holm"] < 0.05 else " "
    return f"{text} ({row['difference'] * 100:+.2f}{star})"


def _value(row: dict[str, Any]) -> str:
    if row["value"] is None:
        return "undefined"
    return f"{row['value']:.4f} [dim]\\[{row['low']:.4f}, {row['high']:.4f}][/dim]"


def _median(row: dict[str, Any]) -> str:
    median, low, high = (distance(row[key], row["norm"]) for key in ("median", "low", "high"))
    return f"{median} [dim]\\[{low}, {high}][/dim]"
