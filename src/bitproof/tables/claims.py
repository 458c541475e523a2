"""What a paper concludes from a table, as orders of its numbers that are tested on ours."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bitproof.metrics import holm
from bitproof.tables.printed import Key
from bitproof.tables.readings import Reading, difference

LEVEL = 0.05
HOLDS, FAILS, OPEN, UNTESTED = "holds", "does not hold", "undecided", "not tested"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A conclusion.

    Attributes:
        text: in our own words.
        source: where the paper draws it.
        pairs: what it says of the numbers: the first of each pair is greater than the second.
    """

    text: str
    source: str
    pairs: tuple[tuple[Key, Key], ...]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One pair of a claim: how far the first number is above the second, and the p-value, corrected for all pairs."""

    more: Key
    less: Key
    difference: float
    p_value: float

    @property
    def sign(self) -> int:
        """1 where the first is significantly greater, -1 where the second is, else 0."""
        return 0 if self.p_value >= LEVEL else (self.difference > 0) - (self.difference < 0)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Whether a conclusion holds on our numbers: `HOLDS` where all of its pairs are significantly in its order, `FAILS`
    where one is significantly in the other, `OPEN` otherwise, `UNTESTED` without a pair."""

    text: str
    source: str
    pairs: tuple[Compared, ...]

    @property
    def verdict(self) -> str:
        signs = [pair.sign for pair in self.pairs]
        if not signs:
            return UNTESTED
        return FAILS if min(signs) < 0 else HOLDS if min(signs) > 0 else OPEN

    @property
    def reason(self) -> str:
        """How many pairs say what."""
        if not self.pairs:
            return "none of its numbers was measured"
        counts = {word: sum(pair.sign == sign for pair in self.pairs) for word, sign in _WORDS.items()}
        said = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
        return f"of {len(self.pairs)} pairs {said}"


_WORDS = {"in its order": 1, "in the opposite order": -1, "not significant": 0}


def judge(claim: Claim, readings: Mapping[Key, Reading]) -> Judged:
    """Test a claim on the pairs of which both numbers are there: paired sign flips, corrected by Holm."""
    found: list[tuple[Key, Key, float, float]] = []
    for more, less in claim.pairs:
        if more in readings and less in readings:
            compared = difference(readings[more], readings[less])
            if compared is not None:
                found.append((more, less, *compared))
    adjusted = holm([p for *_, p in found]) if found else []
    pairs = tuple(
        Compared(more=more, less=less, difference=gap, p_value=float(p))
        for (more, less, gap, _), p in zip(found, adjusted, strict=True)
    )
    return Judged(text=claim.text, source=claim.source, pairs=pairs)


def pairs(rows: Iterable[tuple[str, str]], columns: Sequence[str]) -> tuple[tuple[Key, Key], ...]:
    """In each of the columns, the first row of each pair above the second.

    Example:
        >>> pairs([("w8", "w2")], ["clean"])
        ((('w8', 'clean'), ('w2', 'clean')),)
    """
    rows = list(rows)
    return tuple(((more, column), (less, column)) for column in columns for more, less in rows)


def pairs_across(rows: Iterable[str], more: str, less: str) -> tuple[tuple[Key, Key], ...]:
    """In each of the rows, the number in one column above that in the other."""
    return tuple(((row, more), (row, less)) for row in rows)
