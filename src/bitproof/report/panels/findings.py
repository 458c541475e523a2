"""What the numbers say: one finding a model in sentences that only repeat rows."""

from dataclasses import dataclass

from bitproof.metrics import Verdict, paired_difference, wilson
from bitproof.metrics.family import CLEAN, SEQUENCE, UNTESTED
from bitproof.records import ModelRecord
from bitproof.report import text
from bitproof.report.panels.base import Panel
from bitproof.report.rows import Row, verdict_sign
from bitproof.report.sections import Section
from bitproof.report.text import percent, points, unsigned_points


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
    """The model's accuracies that say something: not on a sequence's first frame, nor where an attack has no budget."""
    return [
        row for (name, _), row in section.rows.items() if name == model.name and row["kind"] not in (SEQUENCE, UNTESTED)
    ]


def _reference_says(section: Section) -> list[str]:
    rows = _rows(section, section.reference)
    others = len(section.models) > 1
    said = ["The reference: the other models are compared with it, example by example."] if others else []
    if len(rows) > 1:
        lowest = min(rows, key=lambda row: row["accuracy"])
        right = section.cells[lowest["model"], lowest["condition"]].correct
        low, high = wilson(int(right.sum()), right.size, _of_many(rows))
        said.append(
            f"Lowest accuracy: {percent(lowest['accuracy'])}% {_under(lowest)}, 95% CI {percent(low)} to "
            f"{percent(high)}, corrected for the choice among {len(rows)}."
        )
    return said


def _model_says(section: Section, model: ModelRecord) -> list[str]:
    rows = [row for row in _rows(section, model) if row["difference"] is not None]
    tests = [verdict for (name, _), verdict in section.verdicts.items() if name == model.name]
    if not rows and not tests:
        return [f"No condition in common with {section.reference.name}, so nothing to compare."]
    said = [_clean_says(test) for test in tests if test.line.kind == CLEAN]
    signs = [verdict_sign(test) for test in tests]
    worse, better, alike = (signs.count(sign) for sign in (-1, 1, 0))
    said.append(
        f"Of {len(tests)} test{'s' * (len(tests) != 1)} against {section.reference.name}: significantly worse in "
        f"{worse}, better in {better}; no difference shown in {alike}."
    )
    worst = min(rows, key=lambda row: row["difference"], default=None)
    if len(rows) > 1 and worst is not None and worst["difference"] < 0 and worst["kind"] != CLEAN:
        pair = [section.cells[name, worst["condition"]].correct for name in (model.name, section.reference.name)]
        _, low, high = paired_difference(*pair, confidence=_of_many(rows))
        said.append(
            f"Largest loss: {unsigned_points(worst['difference'])} points {_under(worst)} (95% CI {points(low)} to "
            f"{points(high)}, corrected for the choice among {len(rows)})."
        )
    if model.coverage is not None:
        said.append(text.coverage(model.coverage))
    return said


def _clean_says(test: Verdict) -> str:
    interval = f"95% CI {points(test.low)} to {points(test.high)}"
    if verdict_sign(test):
        verb = "Loses" if test.difference < 0 else "Gains"
        return f"{verb} {unsigned_points(test.difference)} points on clean images ({interval}), significant."
    return (
        f"No difference shown on clean images: {points(test.difference)} points ({interval}), within "
        f"{unsigned_points(test.within)} points at 5%."
    )


def _of_many(rows: list[Row]) -> float:
    """The confidence of an interval that holds in 95% whichever of the rows is chosen for its value (Bonferroni)."""
    return 1 - 0.05 / len(rows)


def _under(row: Row) -> str:
    return "on clean images" if row["kind"] == CLEAN else f"under {row['condition']}"


PANEL = Panel(name="findings", shows=findings)
