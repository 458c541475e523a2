"""What a model's page shows beside its ranks where there are records: the report's panels on its kin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from bitproof.leaderboard.board import Board, Place, Rate
from bitproof.leaderboard.entry import Score
from bitproof.records import Cell, Record
from bitproof.report.panels import PANELS, Panel
from bitproof.report.sections import Section, sections

LEFT_OUT = ("findings", "same_pixels", "metrics", "distances", "table")
"""Panels of the report whose numbers the page has in its own tables, or that are about a reference alone."""

KIN = 10
"""Models on one page: those of one network, nearest in bits."""


@dataclass(frozen=True, kw_only=True)
class Detail:
    """The section of a model and its kin, and the panels that have something to show of it."""

    section: Section
    panels: Sequence[tuple[Panel, Any]]


def details(made: Board, records: Sequence[Record]) -> dict[str, Detail]:
    """What there is for each entry that records stand behind, by its identity; kin share what they show."""
    by_model: dict[tuple[str, str, int], list[Record]] = {}
    for record in {record.key: record for record in records}.values():
        by_model.setdefault((record.model.fingerprint, record.data.fingerprint, record.seed), []).append(record)
    shown: dict[frozenset[str], Detail] = {}
    found: dict[str, Detail] = {}
    for place in made.places.values():
        if _where(place) not in by_model:
            continue
        kin = [other for other in _kin(made, place) if _where(other) in by_model]
        group = frozenset(other.entry.identity for other in kin)
        if group not in shown:
            shown[group] = _detail(kin, by_model, f"k{len(shown)}")
        found[place.entry.identity] = shown[group]
    return found


def conditions(place: Place) -> list[tuple[Score, Rate]]:
    """Every condition that a model met, with what it got right."""
    return [(score, Rate.of(place.entry.correct[score.key].astype(float))) for score in place.entry.scores]


def _where(place: Place) -> tuple[str, str, int]:
    entry = place.entry
    return entry.model.fingerprint, entry.data.fingerprint, entry.seed


def _kin(made: Board, place: Place) -> list[Place]:
    """The float model and what it became, at most `KIN` of them."""
    entry = place.entry
    base = entry.baseline or entry.model.fingerprint
    same = [
        other
        for other in made.places.values()
        if base in (other.entry.baseline, other.entry.model.fingerprint)
        and (other.entry.data.fingerprint, other.entry.examples, other.entry.seed)
        == (entry.data.fingerprint, entry.examples, entry.seed)
    ]
    if len(same) <= KIN:
        return same

    def far(other: Place) -> tuple[bool, int]:
        apart = abs(other.entry.model.weight_bits - entry.model.weight_bits)
        return other is not place and other.entry.model.fingerprint != base, apart

    return sorted(same, key=far)[:KIN]


def _detail(kin: Sequence[Place], by_model: Mapping[tuple[str, str, int], Sequence[Record]], anchor: str) -> Detail:
    names = {place.entry.model.fingerprint: place.entry.model.name for place in kin}
    renamed = [_renamed(record, names) for place in kin for record in by_model[_where(place)]]
    base = next((place.entry.model.name for place in kin if place.entry.model.is_float), None)
    (section,) = sections(renamed, base)
    section = replace(section, anchor=anchor)
    return Detail(
        section=section, panels=[(p, shown) for p in PANELS if p.name not in LEFT_OUT and (shown := p.shows(section))]
    )


def _renamed(record: Record, names: Mapping[str, str]) -> Record:
    """A record with the names of the board, as a transfer's source too."""
    named = replace(cast(Cell, record), model=replace(record.model, name=names[record.model.fingerprint]))
    if isinstance(record, Cell) and record.condition.source is not None:
        source = names.get(str(record.condition.how.get("source")), record.condition.source)
        label = record.condition.label.removesuffix(record.condition.source) + source
        return replace(named, condition=replace(record.condition, source=source, label=label))
    return named
