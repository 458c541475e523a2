"""A folder of image files with one sub-folder a class: the layout of ImageNet's validation set."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bitproof.data.base import Data, Read, Rows
from bitproof.errors import InputError, UnreadableError
from bitproof.pictures.pixels import REFERENCE_DECODER, REFERENCE_RESIZE, Framing, decode, framed, to_tensor

LARGEST_SIZE = 4096
"""Of a side in pixels: a single image then takes 200 MB."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class FolderData(Data):
    """Examples read from their files when they are asked for.

    Attributes:
        root: the folder.
        files: [n] paths below it, with forward slashes.
    """

    root: Path
    files: tuple[str, ...]

    def images(self, rows: Rows) -> Float[Tensor, "n c h w"]:
        return self._batch([self._picture(int(row)) for row in rows])

    def read(self, rows: Rows) -> Read:
        kept, pictures, left_out = [], [], {}
        for row in map(int, rows):
            try:
                pictures.append(self._picture(row))
                kept.append(row)
            except UnreadableError as error:
                left_out[self.files[row]] = error.reason
        return Read(rows=np.array(kept, np.int64), images=self._batch(pictures), left_out=left_out)

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

    def content(self) -> Iterator[bytes | memoryview]:
        for row, name in enumerate(self.files):
            yield name.encode() + b"\0"
            yield hashlib.blake2b(self.encoded(row)).digest()

    def _batch(self, pictures: list[np.ndarray]) -> Float[Tensor, "n c h w"]:
        return to_tensor(np.stack(pictures)) if pictures else torch.empty(0, *self.shape)

    def _picture(self, row: int) -> np.ndarray:
        source = str(self.root / self.files[row])
        picture = decode(self.encoded(row), REFERENCE_DECODER, channels=self.framing.channels, source=source)
        return framed(picture, self.framing, REFERENCE_RESIZE)


def load_folder(
    root: Path | None,
    *,
    split: str = "test",
    limit: int | None = None,
    classes: Sequence[str] | None = None,
    size: int = 224,
) -> FolderData:
    """The image files below `root`, a class for each sub-folder, as RGB.

    The files come in a fixed shuffled order (by the hash of their path), so that the first `limit` of
    them are a fair sample of all classes and not the first few classes.

    Args:
        root: holds the sub-folders; hidden files and folders are skipped.
        split: what results call these data.
        classes: all classes in the order of the model's outputs, of which the sub-folders may be some;
            by default the sorted sub-folder names.
        size: pixels; the shorter side is resized to size * 256 / 224, the centre size x size is kept.

    Sub-folders that are not among the classes are left out, and so are pictures that turn out to be unreadable;
    `left_out` names them.

    Raises:
        InputError: no images in a sub-folder that is a class, or a single class.
    """
    if root is None:
        raise InputError(
            "folder needs a root", rule="it reads one sub-folder a class", remedy="Pass root=, or write folder:ROOT"
        )
    if not 1 <= size <= LARGEST_SIZE:
        raise InputError(
            f"size is {size}",
            rule=f"it is the side of the model's input in pixels, {LARGEST_SIZE:,} at most",
            remedy="Try 224",
        )
    folders = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if classes is None and len(folders) == 1:
        raise InputError(
            f"{root} has one sub-folder, {folders[0]!r}",
            rule="each sub-folder is a class, and there are at least two",
            remedy=f"Point root at the folder whose sub-folders are the classes, perhaps {root / folders[0]}",
        )
    classes = tuple(folders if classes is None else classes)
    number = {name: i for i, name in enumerate(classes)}
    foreign = [name for name in folders if name not in number]
    files = [
        path.relative_to(root).as_posix()
        for name in folders
        if name in number
        for path in (root / name).rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    if not files:
        raise InputError(
            f"{root} holds no images",
            rule=f"images ({', '.join(SUFFIXES)}) are expected in one sub-folder a class"
            + (f", of which {foreign[0]!r} is none of the {len(classes)}" if foreign else ""),
            remedy="Point root at the folder whose sub-folders are the classes",
        )
    files = sorted(files, key=lambda name: hashlib.blake2b(name.encode()).digest())[:limit]
    return FolderData(
        name="folder",
        split=split,
        classes=classes,
        labels=np.array([number[name.split("/")[0]] for name in files], np.int64),
        framing=Framing(channels=3, height=size, width=size, shorter=round(size * 256 / 224)),
        left_out={f"{name}/": f"is none of the {len(classes):,} classes" for name in foreign},
        root=root,
        files=tuple(files),
    )
