"""Agreement of members: a matrix of all pairs for each origin of the images, and a table of the filter by m of them."""

from dataclasses import dataclass

from bitproof.metrics import wilson
from bitproof.records import Agreement
from bitproof.report.panels.base import Panel
from bitproof.report.sections import Section
from bitproof.report.text import percent
from bitproof.settings import digest


@dataclass(frozen=True, kw_only=True)
class Share:
    """A share of the images as text, with its interval in the `hint`; `strength` is the depth of its colour."""

    text: str
    hint: str
    strength: float
    own: bool = False


@dataclass(frozen=True, kw_only=True)
class Images:
    """How pairs of models answer images of one origin: a line a model."""

    origin: str
    lines: tuple[tuple[str, tuple[Share, ...]], ...]


@dataclass(frozen=True, kw_only=True)
class Members:
    """A record: its matrices, and for each m the shares of images that are answered and answered wrongly by origin."""

    findings: tuple[str, ...]
    count: int
    names: tuple[str, ...]
    matrices: tuple[Images, ...]
    filter: tuple[tuple[int, tuple[tuple[Share, Share], ...]], ...]


def agreement(section: Section) -> list[Members]:
    """One entry a record, under the names that the models have in this section."""
    here = {digest(model.identity): model.name for model in section.everyone}
    return [
        _members(record, tuple(here.get(digest(m.identity), m.name) for m in (record.model, *record.others)))
        for record in section.of(Agreement)
    ]


def _members(record: Agreement, names: tuple[str, ...]) -> Members:
    origins = ("clean", *(f"{record.attack} on {name}" for name in names))
    return Members(
        findings=tuple(record.findings),
        count=record.count,
        names=names,
        matrices=tuple(
            Images(
                origin=origin,
                lines=tuple(
                    (name, tuple(_pair(record, k, i, j) for j in range(len(names)))) for i, name in enumerate(names)
                ),
            )
            for k, origin in enumerate(origins)
        ),
        filter=tuple(
            (
                m,
                tuple(
                    (_share(int(record.answered[k, a]), record.count), _share(int(record.fooled[k, a]), record.count))
                    for k in range(len(origins))
                ),
            )
            for a, m in enumerate(record.majorities)
        ),
    )


def _pair(record: Agreement, k: int, i: int, j: int) -> Share:
    """Agreement of two models; where a model meets itself, its own error."""
    wrong = record.wrong[k, i, j] / record.count
    if i == j:
        return Share(text=percent(wrong), hint="wrong", strength=0.0, own=True)
    same = _share(int(record.same[k, i, j]), record.count)
    alike = record.alike[k, i, j] / record.count
    hint = f"{same.hint}; both wrong {percent(wrong)}, for the same class {percent(alike)}"
    return Share(text=f"{same.text} / {percent(wrong)}", hint=hint, strength=same.strength)


def _share(successes: int, count: int) -> Share:
    low, high = wilson(successes, count)
    hint = f"95% CI {percent(low)} to {percent(high)}"
    return Share(text=percent(successes / count), hint=hint, strength=successes / count)


PANEL = Panel(name="agreement", title="Agreement of members", shows=agreement)
