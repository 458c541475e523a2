"""What a reproduction gives: plain data, kept as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bitproof.errors import InputError
from bitproof.files import written
from bitproof.tables.claims import FAILS, HOLDS, OPEN, UNTESTED, Compared, Judged

SCHEMA = 1
"""Version of the file."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One number of ours beside the paper's, both in the paper's unit.

    Attributes:
        row, column: where it stands.
        unit: a name in `bitproof.tables.printed.UNITS`.
        value, low, high: ours with its 95% interval; None where undefined or not known.
        n: examples that it is a mean or share of.
        printed: the paper's, as printed; "" where there is none, or the word that stands in its place.
        difference: ours less the paper's.
        verdict, reason: see `bitproof.tables.verdicts`.
    """

    row: str
    column: str
    unit: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    printed: str
    difference: float | None
    verdict: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A table of a paper as it was reproduced.

    Attributes:
        paper, number, title, setting: which one, and which experiment of it.
        citation: of the paper.
        scale: at which it was run.
        data, training: what was tested and trained on, for people.
        network: the architecture.
        differs: in what it is not the paper's.
        entries: the numbers.
        claims: the conclusions, judged.
        unmeasured: how many printed numbers have none of ours beside them.
        diverged: models that did not converge, and in which epoch.
        passes: spent on testing, as counted; seconds: of the whole run, as far as it was not found in the store.
        written: when, ISO 8601 in UTC.
        environment: what it was made on.
    """

    paper: str
    number: str
    title: str
    setting: str
    citation: str
    scale: str
    data: str
    training: str
    network: str
    differs: tuple[str, ...]
    entries: tuple[Entry, ...]
    claims: tuple[Judged, ...]
    unmeasured: int
    diverged: Mapping[str, int] = field(default_factory=dict)
    passes: int = 0
    seconds: float = 0.0
    written: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def name(self) -> str:
        """Of its file, without suffix."""
        setting = "".join(c if c.isalnum() else "-" for c in self.setting)
        return "-".join(filter(None, (self.paper, self.number, setting, self.scale)))

    @property
    def conclusion(self) -> str:
        """What is to be said of the paper's conclusions in a few words."""
        if not self.claims:
            return "none to test"
        words = [claim.verdict for claim in self.claims]
        counts = {word: words.count(word) for word in dict.fromkeys(sorted(words, key=_RANK.index))}
        if len(words) == 1:
            return words[0]
        return ", ".join(f"{n} {word if n == 1 else _OF_SEVERAL.get(word, word)}" for word, n in counts.items())

    def save(self, folder: Path) -> Path:
        """Write it as JSON into a folder, made if it is missing; returns the file."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        with written(path, "an outcome") as draft:
            draft.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        return path


_RANK = (HOLDS, FAILS, OPEN, UNTESTED)
_OF_SEVERAL = {HOLDS: "hold", FAILS: "do not hold"}


def read_outcome(path: Path) -> Outcome:
    """An outcome from its file.

    Raises:
        InputError: another file, or one of another version.
    """
    try:
        said = json.loads(path.read_text("utf-8"))
        if said["schema"] != SCHEMA:
            raise ValueError(f"version {said['schema']}")
        claims = tuple(
            Judged(
                text=claim["text"],
                source=claim["source"],
                pairs=tuple(
                    Compared(**{**pair, "more": tuple(pair["more"]), "less": tuple(pair["less"])})
                    for pair in claim["pairs"]
                ),
            )
            for claim in said["claims"]
        )
        entries = tuple(Entry(**entry) for entry in said["entries"])
        return Outcome(**{**said, "claims": claims, "entries": entries, "differs": tuple(said["differs"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{str(path)!r} cannot be read ({error})",
            rule="the folder holds outcomes of `bitproof reproduce`",
            remedy="Delete the file and run the command again",
        ) from error
