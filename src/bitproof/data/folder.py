"""A folder of image files with one sub-folder a class: the layout of ImageNet's validation set."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import final

import numpy as np

from bitproof.data.base import composed
from bitproof.data.encoded import EncodedData, framing_of
from bitproof.errors import InputError
from bitproof.pictures.pixels import REFERENCE_RESIZE

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp")
OTHER_PICTURES = (
    *(".arw", ".avif", ".cr2", ".dng", ".exr", ".gif", ".heic", ".heif", ".ico", ".j2k", ".jp2", ".jxl", ".nef"),
    *(".pbm", ".pgm", ".pnm", ".ppm", ".psd", ".svg", ".tga", ".tif", ".tiff"),
)
"""Suffixes of what is read, and of pictures that are not."""

SYSTEM = ("#recycle", "$recycle.bin", "__macosx", "__pycache__", "lost+found", "system volume information")
"""Folders, in small letters, that systems and programs leave where people keep pictures. So are all that start with a
dot or an @."""

_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}
_SHOWN = 5  # names in an error


@final
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FolderData(EncodedData):
    """Examples read from their files when they are asked for.

    Attributes:
        root: the folder.
        files: [n] paths below it, with forward slashes.
    """

    root: Path
    files: tuple[str, ...]

    def encoded(self, row: int) -> bytes:
        path = self.root / self.files[row]
        try:
            return path.read_bytes()
        except OSError as error:
            raise InputError(
                f"{path} cannot be read ({error.strerror})",
                rule="every file found when the data were loaded must stay readable",
                remedy="Check the file and its permissions, then load the data again",
            ) from error

    def file(self, row: int) -> str | None:
        return self.files[row]

    def name_of(self, row: int) -> str:
        return self.files[row]

    def source_of(self, row: int) -> str:
        return str(self.root / self.files[row])


def load_folder(
    root: Path | None,
    *,
    split: str = "test",
    limit: int | None = None,
    classes: Sequence[str] | None = None,
    size: int = 224,
    shorter: int | None = None,
    resize: str = REFERENCE_RESIZE,
    channels: int = 3,
) -> FolderData:
    """The image files below `root`, a class for each sub-folder.

    The files come in a fixed shuffled order, so that the first `limit` of them are a fair sample of all classes and not
    the first few classes.

    Args:
        root: holds the sub-folders. What is hidden, and what systems leave there (`SYSTEM`), is skipped.
        split: what results call these data.
        classes: all classes in the order of the model's outputs, of which the sub-folders may be some; by default the
            sorted names of the sub-folders with pictures. A model with more outputs than these is refused when it is
            tested: a class that is missing here would shift the labels of those behind it.
        size: pixels, of which the centre size x size is kept.
        shorter: pixels to which the shorter side is resized before; by default size * 256 / 224.
        resize: how, a name in `bitproof.pictures.pixels.RESIZES`.
        channels: 3 for RGB, 1 for grey; other pictures are converted.

    What is found and not used is named in `left_out`: sub-folders that are no class or hold no pictures, formats that
    are not read, pictures in no sub-folder, and pictures that turn out to be unreadable.

    Raises:
        InputError: no images in a sub-folder that is a class, a single class, one named twice, or a folder of splits.
    """
    if root is None:
        raise InputError(
            "folder needs a root", rule="it reads one sub-folder a class", remedy="Pass root=, or write folder:ROOT"
        )
    framing = framing_of(size, shorter, resize, channels=channels)
    folders = sorted(path.name for path in root.iterdir() if path.is_dir() and not is_hidden(path.name))
    found = list(_visible(root, folders))
    pictures = [name for name in found if name.lower().endswith(SUFFIXES)]
    filled = {_class_of(name) for name in pictures}
    if classes is None:
        _check_level(root, sorted(filled))
    names = tuple(sorted(filled) if classes is None else map(composed, classes))
    number = {name: i for i, name in enumerate(names)}
    if len(number) < len(names):
        twice = [name for name, count in Counter(names).items() if count > 1]
        raise InputError(
            f"classes name {twice[0]!r} twice", rule="each class has one output", remedy="Leave one of them out"
        )
    files = [name for name in pictures if _class_of(name) in number]
    left_out = _left_out(root, folders, found, filled, number)
    if not files:
        seen = "; ".join(f"{name} {why}" for name, why in list(left_out.items())[:_SHOWN])
        raise InputError(
            f"{root} holds no images" + (f" ({seen})" if seen else ""),
            rule=f"images ({', '.join(SUFFIXES)}) are expected in one sub-folder a class",
            remedy="Point root at the folder whose sub-folders are the classes",
        )
    files = shuffled(files)[:limit]
    return FolderData(
        name="folder",
        split=split,
        classes=names,
        labels=np.array([number[_class_of(name)] for name in files], np.int64),
        framing=framing,
        left_out=left_out,
        root=root,
        files=tuple(files),
    )


def shuffled(names: Iterable[str]) -> list[str]:
    """The names in an order that is fixed for all machines and has nothing to do with them: by their hash."""
    return sorted(names, key=lambda name: hashlib.blake2b(composed(name).encode(errors="surrogateescape")).digest())


def _check_level(root: Path, filled: list[str]) -> None:
    """Refuse a folder that is one level too high."""
    if len(filled) == 1:
        raise InputError(
            f"{root} has pictures in one sub-folder, {filled[0]!r}",
            rule="each sub-folder is a class, and there are at least two",
            remedy=f"Point root at the folder whose sub-folders are the classes, perhaps {root / filled[0]}",
        )
    if filled and {name.lower() for name in filled} <= _SPLITS:
        raise InputError(
            f"the sub-folders of {root} are {' and '.join(filled)}",
            rule="each sub-folder is a class, and these are the parts of a data set",
            remedy=f"Point root at one of them, perhaps {root / filled[-1]}; classes= may name such classes",
        )


def _visible(root: Path, folders: list[str]) -> Iterator[str]:
    """The files below the sub-folders, with forward slashes, without what is hidden or inside what is."""
    for folder in folders:
        for path in (root / folder).rglob("*"):
            name = path.relative_to(root)
            if not any(map(is_hidden, name.parts)) and path.is_file():
                yield name.as_posix()


def is_hidden(name: str) -> bool:
    return name.startswith((".", "@")) or name.lower() in SYSTEM


def _class_of(name: str) -> str:
    return composed(name.split("/")[0])


def _left_out(
    root: Path, folders: list[str], found: list[str], filled: set[str], number: dict[str, int]
) -> dict[str, str]:
    """What is found and not used, and why."""
    left_out: dict[str, str] = {}
    for name in map(composed, folders):
        if name not in filled:
            left_out[f"{name}/"] = "holds no pictures that can be read"
        elif name not in number:
            left_out[f"{name}/"] = f"is none of the {len(number):,} classes"
    others = Counter(suffix for name in found if (suffix := PurePath(name).suffix.lower()) in OTHER_PICTURES)
    for suffix, count in sorted(others.items()):
        left_out[f"*{suffix}"] = f"{count:,} file{'s' * (count > 1)} of a format that is not read: convert to PNG"
    stray = sum(path.suffix.lower() in SUFFIXES and not is_hidden(path.name) for path in root.iterdir())
    if stray:
        left_out["*"] = f"{stray:,} picture{'s' * (stray > 1)} in no sub-folder"
    return left_out
