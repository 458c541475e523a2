"""Tiny ImageNet (Stanford's CS231n) in its official layout, `tiny-imagenet-200`: 200 classes, RGB of 64x64.

    wnids.txt                                 the classes by their WordNet numbers, in no order
    train/<wnid>/images/<wnid>_<i>.JPEG       500 pictures a class
    val/images/val_<i>.JPEG                   10,000 pictures
    val/val_annotations.txt                   a line a picture: its name, its wnid and a box, between tabs

A label is a class's place among the sorted wnids, which is how readers of class folders number them, too. The labels
of the official test pictures were never published.
"""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from bitproof.data.folder import FolderData, load_folder, shuffled
from bitproof.errors import InputError, lookup
from bitproof.pictures.pixels import Framing

_CLASSES = 200
_FRAMING = Framing(channels=3, height=64, width=64)  # the pictures' own size: nothing is cropped
_LONGEST = 4 * 2**20  # bytes of a text file; the official annotations have half a million
_AGAIN = "Unpack the official archive again, from http://cs231n.stanford.edu/tiny-imagenet-200.zip"


def load_tiny_imagenet(root: Path | None, *, split: str = "test", limit: int | None = None) -> FolderData:
    """Tiny ImageNet as RGB from `root`, which is the official folder or holds it; files are decoded when needed.

    The split "test" is the folder `val`. Grey pictures, of which there are some, become RGB. As in `load_folder`, the
    files come in a fixed shuffled order.

    Raises:
        InputError: no such folder, an unknown split, or a file that is missing or not what it should be.
    """
    read = lookup({"test": _annotated, "train": _sorted_by_folder}, split, "split of tiny_imagenet")
    for folder in () if root is None else (root, root / "tiny-imagenet-200"):
        if (folder / "wnids.txt").is_file():
            return replace(read(folder, _wnids(folder), limit), name="tiny_imagenet", split=split, framing=_FRAMING)
    raise InputError(
        "tiny_imagenet needs a root" if root is None else f"{root} holds no Tiny ImageNet",
        rule="the root must be or contain tiny-imagenet-200 (with its wnids.txt)",
        remedy=_AGAIN,
    )


def _wnids(folder: Path) -> tuple[str, ...]:
    names = sorted(set(_lines(folder / "wnids.txt")))
    if len(names) != _CLASSES or not all(re.fullmatch(r"n\d{8}", name) for name in names):
        raise InputError(
            f"{folder / 'wnids.txt'} names {len(names)} classes", rule=f"it has {_CLASSES} wnids", remedy=_AGAIN
        )
    return tuple(names)


def _sorted_by_folder(folder: Path, wnids: tuple[str, ...], limit: int | None) -> FolderData:
    if not (folder / "train").is_dir():
        raise InputError(f"{folder / 'train'} is missing", rule="the split is read from this folder", remedy=_AGAIN)
    return load_folder(folder / "train", limit=limit, classes=wnids)


def _annotated(folder: Path, wnids: tuple[str, ...], limit: int | None) -> FolderData:
    path = folder / "val" / "val_annotations.txt"
    number = {wnid: i for i, wnid in enumerate(wnids)}
    labels: dict[str, int] = {}
    for line, text in enumerate(_lines(path), start=1):
        name, wnid = (*text.split("\t"), "", "")[:2]
        if not re.fullmatch(r"\w{1,64}\.JPEG", name) or wnid not in number or name in labels:
            raise InputError(
                f"line {line} of {path} is {text[:80]!r}",
                rule="a line names a picture of its own and one of the 200 wnids, between tabs",
                remedy=_AGAIN,
            )
        labels[name] = number[wnid]
    pictures = folder / "val" / "images"
    names = shuffled(labels)[:limit]
    missing = [name for name in names if not (pictures / name).is_file()]
    if missing or not names:
        raise InputError(
            f"{pictures / missing[0]} is missing" if missing else f"{path} is empty",
            rule="the split is read from these files",
            remedy=_AGAIN,
        )
    return FolderData(
        name="tiny_imagenet",
        split="test",
        classes=wnids,
        labels=np.array([labels[name] for name in names], np.int64),
        framing=_FRAMING,
        root=pictures,
        files=tuple(names),
    )


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise InputError(f"{path} is missing", rule="classes and labels are read from it", remedy=_AGAIN)
    size = path.stat().st_size
    if size > _LONGEST:
        raise InputError(f"{path} has {size:,} bytes", rule=f"it has at most {_LONGEST:,}", remedy=_AGAIN)
    return path.read_text("utf-8", "replace").splitlines()
