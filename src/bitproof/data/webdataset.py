"""Shards of WebDataset: tar archives in which `KEY.jpg` is a picture and `KEY.cls` its label.

The library `webdataset` streams shards from the first member to the last, runs what follows `pipe:` as a command, and
unpickles members of some suffixes. Here examples are asked for by number, so each shard is walked through once, and a
picture is read from its place when it is needed; nothing is unpickled, run or downloaded.
"""

import glob
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, final

import numpy as np

from bitproof import reading
from bitproof.data.encoded import UNSEEN, EncodedData, framed_by_first
from bitproof.data.folder import OTHER_PICTURES, SUFFIXES, is_hidden, shuffled
from bitproof.data.parquet import LABELS
from bitproof.data.table import numbered
from bitproof.errors import InputError
from bitproof.pictures.pixels import REFERENCE_RESIZE
from bitproof.reading import Member, refusing

IMAGES = (*(suffix.removeprefix(".") for suffix in SUFFIXES), "img", "image")
"""Suffixes of pictures; that of a label is `cls`, or `json` with one of the fields `LABELS`."""

MOST_SHARDS = 100_000
MOST_BYTES = 2**28
"""Of a picture's file."""

_LONGEST = 2**20  # bytes of a label, or of a JSON file that has it
_RULE = "it is an uncompressed tar archive of pictures KEY.jpg and labels KEY.cls"
_REMEDY = "Make or download it again; one that is compressed, unpack before (gunzip, unzstd)"
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_RANGE = re.compile(r"\{([0-9]{1,18})\.\.([0-9]{1,18})\}")


class Place(NamedTuple):
    """Where an image file lies: the number of the shard, the first byte in it, and how many."""

    shard: int
    start: int
    size: int


@final
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ShardData(EncodedData):
    """Examples whose image files lie in tar archives; each is read when it is asked for.

    Attributes:
        shards: their paths.
        files: [n] names of the image files in them.
        places: (shard, first byte, bytes) of each.
    """

    shards: tuple[Path, ...]
    files: tuple[str, ...]
    places: tuple[Place, ...]

    def encoded(self, row: int) -> bytes:
        place = self.places[row]
        with (
            refusing(self.source_of(row), rule="shards stay as they are while they are used", remedy="Load them again"),
            self.shards[place.shard].open("rb") as stored,
        ):
            stored.seek(place.start)
            content = stored.read(place.size)
            if len(content) < place.size:
                raise ValueError(f"it has {len(content):,} of {place.size:,} bytes")
        return content

    def file(self, row: int) -> str | None:
        return self.files[row]

    def name_of(self, row: int) -> str:
        return self.files[row]

    def source_of(self, row: int) -> str:
        return f"{self.files[row]} in {self.shards[self.places[row].shard]}"


def load_wds(
    root: Path | None,
    *,
    split: str = "test",
    limit: int | None = None,
    classes: Sequence[str] | None = None,
    size: int | None = None,
    shorter: int | None = None,
    resize: str = REFERENCE_RESIZE,
    channels: int = 3,
) -> ShardData:
    """Pictures and labels in tar archives, as WebDataset's writer and `tar` leave them; nothing is downloaded here.

    A key is a member's name up to the first dot behind its folder, and what has one key is one example, wherever it
    lies in a shard. Examples come in the order of their names' hashes, so that neither the order of shards nor how
    examples are divided among them changes a number, and the first `limit` are a fair sample. Where shards use the same
    keys, as when each counts from 0, the name of the shard belongs to that of the example.

    Args:
        root: a shard, or a pattern: `val-{000000..000003}.tar`, `{a,b}.tar`, `val-*.tar`.
        split: what results call these data.
        classes: all classes in the order of the model's outputs; by default the sorted words, or the numbers up to the
            largest one.
        size, shorter, resize, channels: as for `load_folder`; without a size, pictures that are smaller than 224
            keep theirs.

    What is found and not used is named in `left_out`: links and devices, labels without a picture, pictures of formats
    that are not read. Members of other suffixes are not opened.

    Raises:
        InputError: an address or a command in place of files, no such file, a shard that is damaged, compressed or
            joined of several, a picture without a label or with several of one key, or labels that are no classes.
    """
    shards = shard_files(root)
    seen: Counter[tuple[str, str]] = Counter()
    found = [example for number, shard in enumerate(shards) for example in _examples(number, shard, seen)]
    left_out = {what: f"{count:,} {why}" for (what, why), count in sorted(seen.items())}
    if not found:
        raise InputError(
            f"{root} holds no pictures" + (f" ({'; '.join(map(': '.join, left_out.items()))})" if left_out else ""),
            rule=f"they are members KEY.jpg ({', '.join(IMAGES)}) beside KEY.cls, and a key has no dot",
            remedy="Check the shards",
        )
    if len({name for name, _, _ in found}) < len(found):
        found = [(f"{shards[place.shard].name}/{name}", word, place) for name, word, place in found]
    words, places = {name: word for name, word, _ in found}, {name: place for name, _, place in found}
    if len(places) < len(found):
        raise InputError(
            f"{root} has two shards of one name with the same keys",
            rule="examples are told apart by shard and key",
            remedy="Name each shard once",
        )
    names, numbers, is_open = numbered(list(words.values()), classes, str(root))
    labels = dict(zip(words, numbers.tolist(), strict=True))
    files = shuffled(words)[:limit]
    data = ShardData(
        name=_name(root),
        split=split,
        classes=names,
        labels=np.array([labels[name] for name in files], np.int64),
        framing=UNSEEN,
        left_out=left_out,
        shards=tuple(shards),
        files=tuple(files),
        places=tuple(places[name] for name in files),
        open=is_open,
    )
    return framed_by_first(data, size=size, shorter=shorter, resize=resize, channels=channels)


def shard_files(root: Path | None) -> list[Path]:
    """The files of a pattern."""
    pattern = str(root or "")
    if root is not None and root.is_file():
        return [root]
    if _ADDRESS.match(pattern):
        raise InputError(
            f"wds:{pattern} is an address or a command",
            rule="shards are files; nothing is downloaded or run",
            remedy="Download them, and write wds:FOLDER/*.tar",
        )
    names = [name for part in _ranges(pattern) for name in sorted(glob.glob(part)) or [part]]  # noqa: PTH207, not hidden
    missing = [name for name in names if not Path(name).is_file()]
    if missing:
        raise InputError(
            f"wds:{missing[0]} is {'a folder' if Path(missing[0]).is_dir() else 'no file'}"
            + f", nor are {len(missing) - 1:,} more" * (len(missing) > 1),
            rule="it reads tar archives, and every one of a range is there",
            remedy="Check the path and the range, as in 'wds:FOLDER/val-{000000..000003}.tar' or 'wds:FOLDER/*.tar'",
        )
    return [Path(name) for name in names]


def _name(root: Path | None) -> str:
    """What a pattern's shards have in common, for people."""
    first = re.split(r"[{*?\[]", root.name.removesuffix(".tar") if root else "")[0]
    return first.rstrip("-_.") or "wds"


def _ranges(pattern: str) -> list[str]:
    """What a pattern stands for, with its ranges and lists written out as shells do.

    Example:
        >>> _ranges("val-{08..10}.tar"), _ranges("{a,b}{1..2}")
        (['val-08.tar', 'val-09.tar', 'val-10.tar'], ['a1', 'a2', 'b1', 'b2'])
    """
    parts: list[Sequence[str]] = []
    for part in re.split(r"(\{[^{}]*\})", pattern):
        if match := _RANGE.fullmatch(part):
            first, last = int(match[1]), int(match[2])
            width = max(map(len, match.groups())) if part[1] == "0" or match[2][0] == "0" else 0
            numbers = range(first, last + 1)
            _check_count(len(numbers), pattern)
            parts.append([f"{number:0{width}}" for number in numbers])
        else:
            parts.append(part[1:-1].split(",") if part.startswith("{") and "," in part else [part])
    _check_count(math.prod(map(len, parts)), pattern)
    return ["".join(chosen) for chosen in product(*parts)]


def _check_count(count: int, pattern: str) -> None:
    if not 1 <= count <= MOST_SHARDS:
        raise InputError(
            f"{pattern} stands for {count:,} shards",
            rule=f"they are 1 to {MOST_SHARDS:,}",
            remedy="Write a range from its first number to its last, as {000000..000003}",
        )


def _examples(number: int, shard: Path, seen: Counter[tuple[str, str]]) -> Iterator[tuple[str, str, Place]]:
    """Name, label and place of each picture in a shard; what is found and not used is counted."""
    with refusing(shard, rule=_RULE, remedy=_REMEDY), shard.open("rb") as stored:
        keys = _keys(reading.members(stored, os.fstat(stored.fileno()).st_size), seen)
        without = []
        for key, parts in keys.items():
            images = [suffix for suffix in parts if suffix in IMAGES]
            word = _word(stored, parts, shard)
            if not images:
                others = [suffix for suffix in parts if f".{suffix}" in OTHER_PICTURES]
                for suffix in others:
                    seen[f"*.{suffix}", "of a format that is not read: convert to PNG"] += 1
                if word is not None and not others:
                    seen["*.cls", "without a picture"] += 1
                continue
            if len(images) > 1:
                raise InputError(
                    f"{shard} has {len(images)} pictures of the key {key!r} ({', '.join(images)})",
                    rule="an example is one picture with its label",
                    remedy="Give each picture a key of its own",
                )
            if word is None:
                without.append(key)
                continue
            (image,) = images
            member = parts[image]
            if member.size > MOST_BYTES:
                raise ValueError(f"{member.name!r} has {member.size:,} bytes, and {MOST_BYTES:,} are the most")
            yield member.name, word, Place(number, member.start, member.size)
        if without:
            raise InputError(
                f"{shard} has no label for {without[0]!r}"
                + f" and {len(without) - 1:,} more" * (len(without) > 1)
                + f" (only {', '.join(sorted(keys[without[0]]))})",
                rule=f"it is KEY.cls, or a field {', '.join(LABELS[:2])} or {LABELS[3]} of KEY.json",
                remedy="Use shards whose labels are published, or write KEY.cls",
            )


def _keys(members: Iterable[Member], seen: Counter[tuple[str, str]]) -> dict[str, dict[str, Member]]:
    """The files of a shard by key and suffix, in small letters."""
    keys: dict[str, dict[str, Member]] = {}
    for member in members:
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"it holds {member.name!r}, which lies outside of it")
        stem, dot, suffix = path.name.partition(".")
        if not member.plain:
            seen["* (links and devices)", "that are no files"] += 1
        elif stem and dot and not is_hidden(path.parts[0]):
            parts = keys.setdefault(str(path.with_name(stem)), {})
            if suffix.lower() in parts:
                raise ValueError(f"it holds {member.name!r} twice")
            parts[suffix.lower()] = member._replace(name=str(path))
    return keys


def _word(stored: BufferedReader, parts: dict[str, Member], shard: Path) -> str | None:
    """The label of an example, a number or a word; None where there is none."""
    suffix = next((suffix for suffix in ("cls", "json", "jsn") if suffix in parts), None)
    if suffix is None:
        return None
    member = parts[suffix]
    if member.size > _LONGEST:
        raise ValueError(f"{member.name!r} has {member.size:,} bytes, and {_LONGEST:,} are the most")
    stored.seek(member.start)
    content = stored.read(member.size)
    try:
        text: Any = content.decode("utf-8-sig")
        if suffix != "cls":
            fields = json.loads(text)
            text = next((fields[name] for name in LABELS if name in fields), None) if isinstance(fields, dict) else None
            if text is None:
                return None
    except (ValueError, RecursionError) as error:
        raise _no_label(shard, member, f"cannot be read ({error})") from error
    word = str(text).strip()
    if not isinstance(text, (str, int)) or isinstance(text, bool) or not word.isprintable():
        raise _no_label(shard, member, f"has the label {text!r}")
    return word or None


def _no_label(shard: Path, member: Member, what: str) -> InputError:
    return InputError(
        f"{member.name} in {shard} {what}",
        rule="labels are whole numbers from 0, or words, in UTF-8",
        remedy="Leave out what has no label, and write 3 in place of 3.0",
    )
