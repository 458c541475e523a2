"""What the numbers say: one finding a model in sentences that only repeat rows."""

from dataclasses import dataclass

from bitproof.records import ModelRecord
from bitproof.report import text
from bitproof.report.panels.base import Panel
from bitproof.report.rows import Row, better, significant, worse
from bitproof.report.sections import Section
from bitproof.report.text import interval, percent, points, unsigned_points


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One model in short: its row on clean images and sentences that only repeat rows."""

    model: ModelRecord
    clean: Row | None
    sentences: tuple[str, ...]


def findings(section: Section) -> list[Finding]:
    """One finding a model, the reference first."""
    return [
        Finding(
            model=model,
            clean=section.clean(model),
            sentences=tuple(_reference_says(section) if model is section.reference else _model_says(section, model)),
        )
        for model in section.models
    ]


def _rows(section: Section, model: ModelRecord) -> list[Row]:
    return [row for (name, _), row in section.rows.items() if name == model.name]


def _reference_says(section: Section) -> list[str]:
    rows = _rows(section, section.reference)
    lowest = min(rows, key=lambda row: row["accuracy"])
    others = len(section.models) > 1
    said = ["The reference: the other models are compared with it, example by example."] if others else []
    if len(rows) > 1:
        said.append(f"Lowest accuracy: {percent(lowest['accuracy'])}% {_under(lowest)}, 95% CI {interval(lowest)}.")
    return said


def _model_says(section: Section, model: ModelRecord) -> list[str]:
    rows = [row for row in _rows(section, model) if row["difference"] is not None]
    if not rows:
        return [f"No condition in common with {section.reference.name}, so nothing to compare."]
    said: list[str] = []
    clean = section.clean(model)
    if clean is not None and clean["difference"] is not None:
        change = clean["difference"]
        verb = "Loses" if change < 0 else "Gains" if change > 0 else "Differs by"
        said.append(f"{verb} {unsigned_points(change)} points on clean images {_evidence(clean)}.")
    losses, gains = (sum(map(which, rows)) for which in (worse, better))
    said.append(
        f"Significantly worse than {section.reference.name} under {losses} and better under {gains} "
        f"of {len(rows)} condition{'s' * (len(rows) > 1)}."
    )
    worst = min(rows, key=lambda row: row["difference"])
    if worst["difference"] < 0 and worst is not clean:
        said.append(f"Largest loss: {unsigned_points(worst['difference'])} points {_under(worst)} {_evidence(worst)}.")
    if model.coverage is not None:
        said.append(text.coverage(model.coverage))
    return said


def _under(row: Row) -> str:
    return "on clean images" if row["kind"] == "clean" else f"under {row['condition']}"


def _evidence(row: Row) -> str:
    verdict = "significant after Holm correction" if significant(row) else "not significant after Holm correction"
    return f"(95% CI {points(row['diff_low'])} to {points(row['diff_high'])}), {verdict}"


PANEL = Panel(name="findings", shows=findings)
