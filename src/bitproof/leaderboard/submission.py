"""Submissions: entries of others as one JSON file. What they say of themselves is believed as little as it can be.

Types and fields are those of `Submission`, checked one by one; every text, list and number has a bound; no text holds
anything unprintable; links are http(s). Accuracies are not said but counted from what is right.
"""

import base64
import binascii
import datetime
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from bitproof.errors import InputError
from bitproof.files import written
from bitproof.leaderboard.entry import Entry, entries
from bitproof.reading import refusing
from bitproof.records import plain_data, unpack
from bitproof.store import Store

VERSION = 1
"""Of the layout of a submission."""

MOST_BYTES = 2**24
"""Of a file."""

MOST = {"entries": 200, "scores": 2_000, "letters": 400, "examples": 1_000_000, "depth": 12, "parts": 20_000}
"""Of an entry's lists and texts, and of all that lies in one entry."""

_FINGERPRINT = re.compile(r"[0-9a-zA-Z@~ ._-]{1,80}")
_KIND = re.compile(r"[a-z][a-z-]{0,30}")


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What somebody measured, and who.

    Attributes:
        version: of the layout.
        by: who says so.
        link: to more about the models, http(s); "" = none.
        licence: of the weights; "" = not said.
        entries: one a model, data set and seed.
    """

    version: int
    by: str
    link: str
    licence: str
    entries: tuple[Entry, ...]


def submit(store: str | Path | Store, path: str | Path, *, by: str, link: str = "", licence: str = "") -> Submission:
    """Write everything that a store holds as a submission: what each model got right, not the predictions.

    Args:
        store: a file, or an open store.
        path: the .json file.
        by: your name, or that of your group.
        link: to a paper or a page about the models.
        licence: of the weights.

    Raises:
        InputError: no results, a link that is no http(s) address, or a path that cannot be written.
    """
    if not isinstance(store, Store):
        with Store(store, readonly=True) as opened:
            return submit(opened, path, by=by, link=link, licence=licence)
    found = entries(store.query(None), store.environments(), store.started())
    if not found:
        raise InputError(
            "the store holds no results", rule="a submission has some", remedy="Run bitproof evaluate --store first"
        )
    light = tuple(replace(e, model=replace(e.model, coverage=None), data=replace(e.data, left_out={})) for e in found)
    made = Submission(version=VERSION, by=by, link=link, licence=licence, entries=light)
    _check(made, str(path))
    with written(path, "the submission") as draft:
        draft.write_text(json.dumps(plain_data(made), indent=1, allow_nan=False) + "\n")
    return made


def read_submission(path: str | Path) -> Submission:
    """What a file of a stranger says.

    Raises:
        InputError: anything that is no submission, or more of it than `MOST`.
    """
    rule, remedy = f"it is a submission of version {VERSION}", "Write it with `bitproof submit STORE -o FILE`"
    with refusing(path, rule=rule, remedy=remedy, absorb=True):
        if (size := Path(path).stat().st_size) > MOST_BYTES:
            raise ValueError(f"{size:,} bytes, of at most {MOST_BYTES:,}")
        text = Path(path).read_bytes().decode()
        json.loads(text, parse_constant=_no_number)
        found = unpack(Submission, text, None)
    _check(found, str(path))
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _check(found: Submission, path: str) -> None:
    """Refuse what is well-formed and still cannot be.

    Raises:
        InputError: the first such thing.
    """
    for what, good in _rules(found):
        if not good:
            raise InputError(
                f"{path}: {what}",
                rule=f"a submission holds at most {MOST['entries']} entries with {MOST['scores']:,} conditions each, "
                f"texts of {MOST['letters']} printable letters, http(s) links, and a bit an example",
                remedy="Write it with `bitproof submit STORE -o FILE`, and leave it as it is",
            )


def _rules(found: Submission) -> Iterator[tuple[str, bool]]:
    """What is looked at, and whether it is as it should be."""
    yield f"version {found.version}", found.version == VERSION
    yield "no name of who submits it", bool(found.by.strip())
    yield f"the link {found.link!r}", not found.link or is_link(found.link)
    yield f"{len(found.entries)} entries", 0 < len(found.entries) <= MOST["entries"]
    yield "a text that is too long or not printable", all(map(is_text, (found.by, found.link, found.licence)))
    yield "two entries of one model, data and seed", len({e.identity for e in found.entries}) == len(found.entries)
    for entry in found.entries:
        name = f"entry {entry.model.name[:40]!r}: "
        yield from ((f"{name}{what}", good) for what, good in _rules_of(entry))


def _rules_of(entry: Entry) -> Iterator[tuple[str, bool]]:
    yield "more than a reader takes", _bounded(plain_data(entry))
    bits = entry.model.weight_bits, entry.model.act_bits
    yield f"{bits} bits", all(1 <= count <= 32 for count in bits)
    yield f"{entry.model.bytes} bytes", entry.model.bytes is None or 0 < entry.model.bytes < 2**50
    prints = (entry.model.fingerprint, entry.data.fingerprint, entry.examples, entry.baseline or "0")
    yield "a fingerprint that is none", all(_FINGERPRINT.fullmatch(one) for one in prints)
    yield f"a seed of {entry.seed}", -(2**63) <= entry.seed < 2**63
    yield f"the date {entry.date!r}", not entry.date or _is_date(entry.date)
    yield f"{entry.n:,} examples", 0 < entry.n <= MOST["examples"]
    yield f"{len(entry.scores):,} conditions", 0 < len(entry.scores) <= MOST["scores"]
    keys = {score.key for score in entry.scores}
    yield "a condition that stands there twice", len(keys) == len(entry.scores)
    yield "no clean images", "clean" in keys
    for score in entry.scores:
        condition = score.condition
        yield f"a condition of kind {condition.kind!r}", _KIND.fullmatch(condition.kind) is not None
        yield f"a budget of {condition.eps}", condition.eps is None or condition.eps >= 0
        yield f"what is right under {condition.label!r}", _is_packed(score.right, entry.n)


def is_link(text: str) -> bool:
    """Whether a text is an http(s) address and nothing else.

    Example:
        >>> is_link("https://example.org/a"), is_link("javascript:alert(1)"), is_link("http://a b")
        (True, False, False)
    """
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and re.search(r"[\s\"'<>\\]", text) is None
    except ValueError:
        return False


def is_text(text: str) -> bool:
    """Whether a text is short, and all of it is seen: no control characters, none that turn the direction around."""
    return len(text) <= MOST["letters"] and text.isprintable()


def _bounded(value: Any) -> bool:
    """Whether all texts in plain data are short and printable, and it is neither deep nor large; `right` is apart."""
    waiting: list[tuple[Any, int]] = [(value, 0)]
    for count, (one, depth) in enumerate(waiting):  # which grows
        if depth > MOST["depth"] or count > MOST["parts"] * 10:
            return False
        if isinstance(one, dict):
            if not all(map(is_text, one)):
                return False
            waiting += [(inner, depth + 1) for key, inner in one.items() if key != "right"]
        elif isinstance(one, Sequence) and not isinstance(one, str):
            if len(one) > MOST["parts"]:
                return False
            waiting += [(inner, depth + 1) for inner in one]
        elif (isinstance(one, str) and not is_text(one) and depth > 1) or (isinstance(one, float) and math.isnan(one)):
            return False
    return True


def _is_date(text: str) -> bool:
    try:
        datetime.datetime.fromisoformat(text)
    except ValueError:
        return False
    return len(text) <= 40


def _is_packed(text: str, n: int) -> bool:
    """Whether it is a bit an example, and none more."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(raw) == math.ceil(n / 8) and (n % 8 == 0 or raw[-1] & (2 ** (-n % 8) - 1) == 0)
