"""A downloaded folder of Hugging Face's `datasets`: Parquet files with image files and labels inside."""

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, final

import numpy as np

from bitproof.data.encoded import UNSEEN, EncodedData, framed_by_first
from bitproof.data.table import numbered
from bitproof.errors import InputError
from bitproof.pictures.pixels import REFERENCE_RESIZE
from bitproof.reading import refusing

IMAGES = ("image", "img", "jpg", "png", "picture")
LABELS = ("label", "labels", "fine_label", "cls", "class", "target")
"""What the columns are called, the first one that is there is taken."""

_SPLITS = {"test": ("test", "validation", "valid", "val"), "train": ("train",)}
_RULE = "it is Parquet as Hugging Face's datasets have it, with image files and labels"
_REMEDY = "Download the data set's folder again, with its Parquet files"


@final
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ParquetData(EncodedData):
    """Examples whose image files lie in Parquet files; a group of rows is read when it is asked for.

    Attributes:
        files: their paths.
        column: of the image files.
        groups: (file, group in it, first example) of each group of rows, in order.
    """

    files: tuple[Path, ...]
    column: str
    groups: tuple[tuple[int, int, int], ...]

    @cached_property
    def _starts(self) -> list[int]:
        return [start for _, _, start in self.groups]

    def encoded(self, row: int) -> bytes:
        place = bisect_right(self._starts, row) - 1
        file, group, start = self.groups[place]
        found = _group(self.files[file], group, self.column)[row - start]
        return found if isinstance(found, bytes) else b""

    def file(self, row: int) -> str | None:
        return None

    def name_of(self, row: int) -> str:
        return f"row {int(self.ids[row])}"

    def source_of(self, row: int) -> str:
        return f"row {int(self.ids[row])} of {self.name}"


@lru_cache(maxsize=1)  # they may be large
def _group(file: Path, group: int, column: str) -> list[Any]:
    """The image files of a group of rows."""
    from pyarrow import parquet

    with refusing(file, rule=_RULE, remedy=_REMEDY):
        table = parquet.ParquetFile(file).read_row_group(group, columns=[column])
        return [_bytes(value) for value in table.column(0).to_pylist()]


def load_hf(
    root: Path | None,
    *,
    split: str = "test",
    limit: int | None = None,
    classes: Sequence[str] | None = None,
    size: int | None = None,
    shorter: int | None = None,
    resize: str = REFERENCE_RESIZE,
    channels: int = 3,
) -> ParquetData:
    """A data set as `huggingface-cli download --repo-type dataset` leaves it; nothing is downloaded here.

    Args:
        root: the folder; the split's files are those named after it (`data/test-00000-of-00001.parquet`,
            `plain_text/test/0000.parquet`), the validation files where there are none.
        split: "test" or "train", or any other that files are named after.
        classes: their names, where the files do not name them.
        size, shorter, resize, channels: as for `load_folder`; without a size, pictures that are smaller than 224
            keep theirs.

    Raises:
        InputError: no such folder or split, no column of images or of labels, or files that are damaged.
    """
    if root is None or not root.is_dir():
        raise InputError(
            f"hf:{root or ''} is no folder", rule="it reads a downloaded data set", remedy="Write hf:FOLDER"
        )
    found = sorted(path for path in root.rglob("*.parquet") if path.is_file())
    wanted = _SPLITS.get(split, (split,))
    names = {path: {part.split("-")[0].split(".")[0] for part in path.relative_to(root).parts} for path in found}
    files = next((some for word in wanted if (some := [path for path in found if word in names[path]])), [])
    if not files:
        raise InputError(
            f"{root} has no Parquet files of the split {split!r}"
            + (f" (there are {', '.join(str(path.relative_to(root)) for path in found[:4])})" if found else ""),
            rule=f"they are named after it: {wanted[0]}-00000-of-00001.parquet",
            remedy="Check the folder and --split",
        )
    images, labels, named, groups = _scanned(files)
    if not labels:
        raise InputError(f"{root} has no rows of {split!r}", rule="a result needs at least one", remedy="Check --split")
    if named is None or classes is not None:
        words = ["" if label is None else str(label) for label in labels]
        classes, numbers, is_open = numbered(words, classes, str(root))
    else:
        unknown = [label for label in labels if not (isinstance(label, int) and 0 <= label < len(named))]
        if unknown:
            raise InputError(
                f"{root} has the label {unknown[0]!r}" + f" and {len(unknown) - 1:,} more" * (len(unknown) > 1),
                rule=f"it names {len(named)} classes, and labels count them from 0",
                remedy="Use a split whose labels are published, where -1 stands for none",
            )
        classes, numbers, is_open = named, np.array(labels, np.int64), False
    data = ParquetData(
        name=root.resolve().name,
        split=split,
        classes=tuple(classes),
        labels=numbers[:limit],
        framing=UNSEEN,
        files=tuple(files),
        column=images,
        groups=tuple(groups),
        open=is_open,
    )
    return framed_by_first(data, size=size, shorter=shorter, resize=resize, channels=channels)


def _scanned(files: Sequence[Path]) -> tuple[str, list[Any], tuple[str, ...] | None, list[tuple[int, int, int]]]:
    """The column of images, all labels, the names of classes where the files have them, and the groups of rows."""
    from pyarrow import parquet

    labels: list[Any] = []
    groups: list[tuple[int, int, int]] = []
    images, named = "", None
    for place, path in enumerate(files):
        with refusing(path, rule=_RULE, remedy=_REMEDY):
            stored = parquet.ParquetFile(path)
            columns = stored.schema_arrow.names
            picture, label = (next((n for n in known if n in columns), None) for known in (IMAGES, LABELS))
            if picture is None or label is None:
                raise ValueError(f"its columns are {', '.join(columns)}")
            images, named = picture, _class_names(stored.schema_arrow.metadata or {}, label)
            sizes = [stored.metadata.row_group(group).num_rows for group in range(stored.num_row_groups)]
            starts = accumulate(sizes, initial=len(labels))
            groups += [(place, group, start) for group, start in zip(range(len(sizes)), starts, strict=False)]
            labels += stored.read(columns=[label]).column(0).to_pylist()
    return images, labels, named, groups


def _class_names(metadata: dict[bytes, bytes], label: str) -> tuple[str, ...] | None:
    """What `datasets` says of a column of class labels."""
    about = json.loads(metadata.get(b"huggingface", b"{}"))
    names = about.get("info", {}).get("features", {}).get(label, {}).get("names")
    return tuple(map(str, names)) if isinstance(names, list) else None


def _bytes(value: Any) -> bytes | None:
    """An image file, alone or with its name, as `datasets` has it."""
    return value.get("bytes") if isinstance(value, dict) else value
