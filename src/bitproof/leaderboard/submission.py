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
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from bitproof.errors import InputError
from bitproof.files import written
from bitproof.leaderboard.entry import Entry, entries, is_surrogate
from bitproof.reading import refusing
from bitproof.records import plain_data, unpack
from bitproof.store import Store

VERSION = 1
"""Of the layout of a submission."""

MOST_BYTES = 2**24
"""Of a file."""

MOST = {"entries": 200, "scores": 2_000, "letters": 400, "examples": 1_000_000, "depth": 12, "parts": 20_000}
"""Of an entry's lists and texts, and of all that lies in one entry."""

SENTENCES = 4_000
"""Letters of what an entry says in sentences: its diagnosis."""

NORMS = ("linf", "l2", "l1")
"""Of budgets, as attacks have them."""

LARGEST = 2**63 - 1
"""Of any number that is not bounded more closely."""

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
    """What a file of a stranger says, without surrogates.

    Raises:
        InputError: anything that is no submission, or more of it than `MOST`.
    """
    rule, remedy = f"it is a submission of version {VERSION}", "Write it with `bitproof submit STORE -o FILE`"
    with refusing(path, rule=rule, remedy=remedy, absorb=True):
        if (size := Path(path).stat().st_size) > MOST_BYTES:
            raise ValueError(f"{size:,} bytes, of at most {MOST_BYTES:,}")
        text = Path(path).read_bytes().decode()
        said = json.loads(text, parse_constant=_no_number, parse_float=_float, object_pairs_hook=_once)
        wanted = {one.name for one in fields(Submission)}
        if not isinstance(said, dict) or said.keys() != wanted:
            raise ValueError(_other_fields(said, wanted))
        found = unpack(Submission, text, None)
    _check(found, str(path))
    ranked = tuple(entry for entry in found.entries if not is_surrogate(entry.model))
    if not ranked:
        raise InputError(
            f"{path}: surrogates only",
            rule="a board ranks models, and not those that images are made on",
            remedy="Submit a store of models that are tested",
        )
    return replace(found, entries=ranked)


def _other_fields(said: Any, wanted: set[str]) -> str:
    if not isinstance(said, dict):
        return f"it is a {type(said).__name__}"
    lacking, more = sorted(wanted - said.keys()), sorted(said.keys() - wanted)
    return " and ".join([f"lacks {name!r}" for name in lacking[:3]] + [f"has {name[:40]!r}" for name in more[:3]])


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON whose names differ: of two equal ones, readers take whichever they like."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"has {next(name for name in names if names.count(name) > 1)[:40]!r} twice in one place")
    return found


def _float(text: str) -> float:
    if math.isinf(value := float(text)):
        _no_number(text)
    return value


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
                f"texts of {MOST['letters']} printable letters, numbers that can be, http(s) links, and a bit an "
                "example",
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
    for field, value, low, high in _numbers(entry):
        good = value is None or low <= value <= high
        yield f"{field} is {value!s:.40}, and lies from {low:,} to {high:,}", good
    for field in ("weight_bits", "act_bits"):
        bits = (entry.model.scheme or {}).get(field, 32)
        yield f"model.scheme.{field} is {bits!r:.40}", type(bits) is int and 1 <= bits <= 32
    oversized = next(_oversized(plain_data(entry)), None)
    yield f"more than a reader takes: {oversized}", oversized is None
    prints = (entry.model.fingerprint, entry.data.fingerprint, entry.examples, entry.baseline or "0")
    yield "a fingerprint that is none", all(_FINGERPRINT.fullmatch(one) for one in prints)
    yield f"the date {entry.date!r}", not entry.date or _is_date(entry.date)
    yield f"{len(entry.scores):,} conditions", 0 < len(entry.scores) <= MOST["scores"]
    keys = {score.key for score in entry.scores}
    yield "a condition that stands there twice", len(keys) == len(entry.scores)
    yield "no clean images", "clean" in keys
    for score in entry.scores:
        condition = score.condition
        yield f"a condition of kind {condition.kind!r}", _KIND.fullmatch(condition.kind) is not None
        yield f"the norm {condition.norm!r:.40}", condition.norm is None or condition.norm in NORMS
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


def _numbers(entry: Entry) -> Iterator[tuple[str, float | None, int, int]]:
    """The numbers of an entry by the names of their fields, and the least and the most that each can be."""
    model, n = entry.model, MOST["examples"]
    yield "seed", entry.seed, -LARGEST - 1, LARGEST
    yield "n", entry.n, 1, n
    yield "data.count", entry.data.count, 1, LARGEST // 2**23
    yield "model.weight_bits", model.weight_bits, 1, 32
    yield "model.act_bits", model.act_bits, 1, 32
    yield "model.bytes", model.bytes, 1, 2**50
    for i, part in enumerate(model.coverage.parts if model.coverage else ()):
        at = f"model.coverage.parts.{i}"
        yield from ((f"{at}.{name}", getattr(part, name), 0, 2**60) for name in ("weights", "products"))
        yield from ((f"{at}.{name}", getattr(part, name), 1, 32) for name in ("weight_bits", "act_bits"))
    for i, condition in enumerate(score.condition for score in entry.scores):
        at = f"scores.{i}.condition"
        if condition.eps != math.inf:  # which looks for the nearest image
            yield f"{at}.eps", condition.eps, 0, 1 if condition.norm == "linf" else 2**20
        yield f"{at}.severity", condition.severity, 0, 1_000
        yield f"{at}.step", condition.step, 1, 1_000


def _oversized(value: Any) -> Iterator[str]:
    """The fields of an entry's plain data whose texts are long or not printable, whose numbers are none or too large,
    and what is deep or large; what is right is apart."""
    waiting: list[tuple[Any, tuple[str, ...]]] = [(value, ())]
    for count, (one, path) in enumerate(waiting):  # which grows
        name = ".".join(path)[: MOST["letters"]]
        if len(path) > MOST["depth"] or count > MOST["parts"] * 10:
            yield f"{name} and what follows"
            return
        if isinstance(one, dict):
            if not all(map(is_text, one)):
                yield f"a name in {name}"
                return
            waiting += [(inner, (*path, key)) for key, inner in one.items() if not _is_right(*path, key)]
        elif isinstance(one, Sequence) and not isinstance(one, str):
            if len(one) > MOST["parts"]:
                yield f"{len(one):,} parts in {name}"
                return
            waiting += [(inner, (*path, str(i))) for i, inner in enumerate(one)]
        elif isinstance(one, str):
            if not (one.isprintable() and len(one) <= (SENTENCES if len(path) == 1 else MOST["letters"])):
                yield f"the text in {name}"
        elif one is not None and not abs(one) <= LARGEST:
            yield f"{name} is {one!s:.40}"


def _is_right(*path: str) -> bool:
    """Whether it is where a score says what is right."""
    return len(path) == 3 and (path[0], path[2]) == ("scores", "right")


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
