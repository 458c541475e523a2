"""The board: entries side by side under each threat, with the ranks that their paired differences leave open."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from bitproof.leaderboard.entry import Entry
from bitproof.leaderboard.threats import Threat, threats
from bitproof.metrics import mcnemar, mean_difference_interval, mean_interval
from bitproof.metrics.ranks import rank_ranges
from bitproof.settings import digest

MEASURED, REPORTED, REPRODUCED, DISPUTED = "measured", "self-reported", "reproduced", "disputed"
"""What stands behind an entry: a store that the board was built from; a submission alone; several sources that agree,
or that do not."""

ALIKE = 0.01
"""p-value below which two sources do not agree on what a model got right."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where entries come from: a store (`by` is ""), or a submission with what it says of itself."""

    entries: tuple[Entry, ...]
    by: str = ""
    link: str = ""
    licence: str = ""


@dataclass(frozen=True, kw_only=True)
class Place:
    """An entry on the board.

    Attributes:
        entry: it, its name unlike all others.
        tier: one of those above.
        sources: who says so, the first one's numbers being shown.
    """

    entry: Entry
    tier: str
    sources: tuple[Source, ...]

    @property
    def slug(self) -> str:
        """Of its page, from nothing that it says of itself."""
        return f"m-{self.entry.identity[:12]}"


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A mean of right answers with its 95% interval."""

    value: float
    low: float
    high: float

    @staticmethod
    def of(scores: Float[np.ndarray, " n"]) -> "Rate":
        low, high = mean_interval(scores)
        return Rate(value=float(scores.mean()), low=low, high=high)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A model under a threat.

    Attributes:
        place: of the model.
        ranks: the best and the worst rank that the tests leave open.
        rate, clean: accuracy under the threat, and on clean images.
        baseline: the float model, and its accuracy under the same threat; None without one.
        difference: from the baseline, paired, with its interval.
    """

    place: Place
    ranks: tuple[int, int]
    rate: Rate
    clean: Rate
    baseline: tuple[Place, Rate] | None = None
    difference: Rate | None = None

    @property
    def sign(self) -> int:
        """-1 where the interval says that the model is worse than its baseline, 1 better, else 0."""
        if self.difference is None:
            return 0
        return (self.difference.low > 0) - (self.difference.high < 0)


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """All that were tested under a threat on the same examples, best first."""

    threat: Threat
    rows: tuple[Row, ...]

    @property
    def first(self) -> Entry:
        """One of them, which says on what."""
        return self.rows[0].place.entry

    @property
    def slug(self) -> str:
        """For links."""
        return f"{self.threat.slug}{self.first.examples[:4]}"


@dataclass(frozen=True, kw_only=True)
class Board:
    """All rankings, those of one data set together, and all places by the identity of their entry."""

    rankings: tuple[Ranking, ...]
    places: Mapping[str, Place] = field(default_factory=dict)


def board(sources: Sequence[Source]) -> Board:
    """What the sources amount to."""
    places = _places(sources)
    parts: dict[tuple[str, str], list[Place]] = {}
    for place in places.values():
        parts.setdefault((place.entry.data.fingerprint, place.entry.examples), []).append(place)
    rankings = [
        _ranking(threat, part) for part in parts.values() for threat in threats([place.entry for place in part])
    ]
    return Board(rankings=tuple(rankings), places=places)


def _places(sources: Sequence[Source]) -> dict[str, Place]:
    """Every entry once, with what several sources say of it."""
    said: dict[str, list[tuple[Source, Entry]]] = {}
    for source in sorted(sources, key=lambda source: bool(source.by)):  # one's own first
        for entry in source.entries:
            said.setdefault(entry.identity, []).append((source, entry))
    names: dict[str, list[str]] = {}
    for identity, found in said.items():
        names.setdefault(found[0][1].model.name, []).append(identity)
    places = {}
    for identity, found in said.items():
        first = _merged([entry for _, entry in found]) if not found[0][0].by else found[0][1]
        name = first.model.name
        if len(names[name]) > 1:
            name = f"{name} ({digest(identity)[:6]})"
        entry = replace(first, model=replace(first.model, name=name))
        who: dict[tuple[str, str, str], Source] = {}
        for source, _ in found:
            who.setdefault((source.by, source.link, source.licence), source)
        places[identity] = Place(entry=entry, tier=_tier(found), sources=tuple(who.values()))
    return places


def _merged(found: Sequence[Entry]) -> Entry:
    """The first entry, with the conditions that others alone know of."""
    scores = {score.key: score for entry in reversed(found) for score in entry.scores}
    own = dict.fromkeys([*(score.key for score in found[0].scores), *scores])
    return replace(found[0], scores=tuple(scores[key] for key in own))


def _runs(found: Sequence[Entry]) -> list[Entry]:
    """Those that are no run that stands there already: what one run made is one source, whoever hands it in."""
    kept: list[Entry] = []
    for entry in found:
        if not any(_same_run(entry, other) for other in kept):
            kept.append(entry)
    return kept


def _same_run(one: Entry, other: Entry) -> bool:
    shared = one.correct.keys() & other.correct.keys()
    return (one.date, one.environment) == (other.date, other.environment) and all(
        np.array_equal(one.correct[key], other.correct[key]) for key in shared
    )


def _tier(found: Sequence[tuple[Source, Entry]]) -> str:
    first, *others = _runs([entry for _, entry in found])
    if not others or not any(source.by for source, _ in found):
        return REPORTED if found[0][0].by else MEASURED
    pairs = [(first.correct[key], o.correct[key]) for o in others for key in first.correct if key in o.correct]
    if not pairs:
        return REPORTED if found[0][0].by else MEASURED
    return DISPUTED if any(mcnemar(a, b) < ALIKE / len(pairs) for a, b in pairs) else REPRODUCED


def _ranking(threat: Threat, part: Sequence[Place]) -> Ranking:
    tested = [place for place in part if threat.faces(place.entry)]
    scores = {place.entry.identity: threat.scores(place.entry) for place in tested}
    ranks = rank_ranges(np.stack(list(scores.values())))
    rates = {identity: Rate.of(found) for identity, found in scores.items()}
    rows = []
    for place, span in zip(tested, ranks, strict=True):
        entry = place.entry
        base = next((p for p in tested if _is_baseline(p.entry, entry)), None)
        own = scores[entry.identity]
        rows.append(
            Row(
                place=place,
                ranks=span,
                rate=rates[entry.identity],
                clean=Rate.of(entry.correct["clean"]),
                baseline=None if base is None else (base, rates[base.entry.identity]),
                difference=None if base is None else _difference(own, scores[base.entry.identity]),
            )
        )
    return Ranking(threat=threat, rows=tuple(sorted(rows, key=lambda row: (row.ranks, -row.rate.value))))


def _is_baseline(other: Entry, entry: Entry) -> bool:
    return other.model.fingerprint == entry.baseline and other.seed == entry.seed


def _difference(own: Float[np.ndarray, " n"], base: Float[np.ndarray, " n"]) -> Rate:
    low, high = mean_difference_interval(own, base)
    found = float(own.mean() - base.mean())
    return Rate(value=found, low=min(low, found), high=max(high, found))
