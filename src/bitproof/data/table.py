"""A CSV file of paths and labels, beside the pictures or above them."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bitproof.data.base import counted
from bitproof.data.encoded import UNSEEN, framed_by_first
from bitproof.data.folder import FolderData
from bitproof.errors import InputError
from bitproof.pictures.pixels import REFERENCE_RESIZE
from bitproof.reading import refusing

PATHS = ("path", "file", "filename", "file_name", "image", "image_path", "img", "name")
LABELS = ("label", "class", "class_index", "target", "y", "category", "labels")
SPLITS = ("split", "set", "subset")
"""What the columns are called."""

_LONGEST = 2**30  # bytes of a table
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")


def load_csv(
    file: Path | None,
    *,
    split: str = "test",
    limit: int | None = None,
    classes: Sequence[str] | None = None,
    size: int | None = None,
    shorter: int | None = None,
    resize: str = REFERENCE_RESIZE,
    channels: int = 3,
) -> FolderData:
    """The pictures that a table names, in its order.

    Args:
        file: its first line names the columns: a path (one of `PATHS`, relative to the folder of the table), a label
            (one of `LABELS`, whole numbers or words), and perhaps a split (one of `SPLITS`).
        split: which rows, where there is such a column; else what results call these data.
        classes: all classes in the order of the model's outputs; by default the sorted words, or the numbers up to the
            largest one.
        size, shorter, resize, channels: as for `load_folder`; without a size, pictures that are smaller than 224
            keep theirs.

    Raises:
        InputError: no such file or columns, labels that are no classes, or pictures that are not there.
    """
    if file is None or not file.is_file():
        raise InputError(
            f"csv:{file or ''} is no file", rule="it reads a table of paths and labels", remedy="Write csv:FILE.csv"
        )
    rule = (
        f"its first line names a column of paths ({', '.join(PATHS[:3])}) and one of labels ({', '.join(LABELS[:3])})"
    )
    with refusing(file, rule=rule, remedy="Save it as UTF-8 with such a line"):
        if file.stat().st_size > _LONGEST:
            raise ValueError(f"it has {file.stat().st_size:,} bytes")
        with file.open(newline="", encoding="utf-8-sig") as stored:
            table = csv.DictReader(stored)
            columns = {name.strip().lower(): name for name in table.fieldnames or () if name}
            path, label, part = (
                next((columns[word] for word in words if word in columns), None) for words in (PATHS, LABELS, SPLITS)
            )
            if path is None or label is None:
                raise ValueError(f"its columns are {', '.join(columns) or 'of no name'}")
            rows = [row for row in table if part is None or row[part] == split]
    if not rows:
        raise InputError(f"{file} has no rows of the split {split!r}", rule="it names pictures", remedy="Check --split")
    words = [(row[label] or "").strip() for row in rows]
    names, numbers, is_open = numbered(words, classes, str(file))
    files = [(row[path] or "").strip().replace("\\", "/") for row in rows][:limit]
    missing = [name for name in files if not name or not (file.parent / name).is_file()]
    if missing:
        raise InputError(
            f"{file} names {missing[0]!r}" + f" and {len(missing) - 1:,} more" * (len(missing) > 1),
            rule=f"every picture lies where it says, as seen from {file.parent}",
            remedy="Write paths relative to the folder of the table",
        )
    data = FolderData(
        name=file.stem,
        split=split,
        classes=names,
        labels=numbers[:limit],
        framing=UNSEEN,
        root=file.parent,
        files=tuple(files),
        open=is_open,
    )
    return framed_by_first(data, size=size, shorter=shorter, resize=resize, channels=channels)


def numbered(
    words: Sequence[str], classes: Sequence[str] | None, source: str
) -> tuple[tuple[str, ...], np.ndarray, bool]:
    """Class names, the number of each label, and whether there may be further classes.

    Raises:
        InputError: a label that is no class.

    Example:
        >>> numbered(["dog", "cat"], None, "a table")
        (('cat', 'dog'), array([1, 0]), False)
    """
    whole = all(word.isascii() and word.isdecimal() for word in words)
    if classes is None:
        if whole:
            digits = [word.lstrip("0") or "0" for word in words]
            longest = max(digits, key=lambda number: (len(number), number))
            return counted(int(longest[:20])), np.array(list(map(int, digits)), np.int64), True
        odd = next((word for word in words if not word), None)
        if odd is None and all(map(_NUMBER.fullmatch, words)):
            odd = next(word for word in words if not word.isdecimal())
        if odd is not None:
            raise InputError(
                f"{source} has the label {odd!r}",
                rule="labels are whole numbers from 0, or words",
                remedy="Leave out what has no label, and write 3 in place of 3.0",
            )
        mixed = [word for word in words if word.isascii() and word.isdecimal()]
        if len(mixed) > len(words) / 2:
            odd = next(word for word in words if not (word.isascii() and word.isdecimal()))
            raise InputError(
                f"{source} has the label {odd!r} among {len(mixed):,} whole numbers",
                rule="labels are whole numbers from 0, or words; as a word among numbers it would shift all others",
                remedy="Correct it, or name all classes (classes=FILE)",
            )
        classes = sorted(set(words))
    number = {name: i for i, name in enumerate(classes)}
    if not whole and len(number) < len(classes):
        twice = next(name for i, name in enumerate(classes) if number[name] != i)
        raise InputError(
            f"the class {twice!r} is named twice",
            rule="labels in words are told apart by the names of classes",
            remedy="Give each class a name of its own",
        )
    if whole and not set(words) <= number.keys():
        number = {str(i): i for i in range(len(classes))}
    unknown = next((word for word in words if word not in number), None)
    if unknown is not None:
        raise InputError(
            f"{source} has the label {unknown!r}",
            rule=f"the classes are {', '.join(list(classes)[:5])}{', ...' if len(classes) > 5 else ''}",
            remedy="Name all classes, in the order of the model's outputs",
        )
    return tuple(classes), np.array([number[word] for word in words], np.int64), False
