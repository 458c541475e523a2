"""Labelled pictures: the table of data sets, and how one is named in Python and on the command line."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bitproof.data.arrays import ArrayData, from_arrays
from bitproof.data.base import Data, Read, Selected, select
from bitproof.data.cifar10 import load_cifar10
from bitproof.data.cifar100 import load_cifar100
from bitproof.data.digits import load_digits
from bitproof.data.examples import Examples
from bitproof.data.folder import FolderData, load_folder
from bitproof.data.imagenet import load_imagenet
from bitproof.data.npz import load_npz
from bitproof.data.own import as_data, own_data
from bitproof.data.parquet import ParquetData, load_hf
from bitproof.data.svhn import load_svhn
from bitproof.data.table import load_csv
from bitproof.data.tiny_imagenet import load_tiny_imagenet
from bitproof.data.torch_dataset import TorchData, from_dataset
from bitproof.data.views import Mapped, mapped
from bitproof.data.webdataset import ShardData, load_wds, shard_files
from bitproof.errors import InputError, lookup
from bitproof.settings import call, is_importable

__all__ = [
    "DATA",
    "ArrayData",
    "Data",
    "Examples",
    "FolderData",
    "Mapped",
    "ParquetData",
    "Read",
    "Selected",
    "ShardData",
    "TorchData",
    "as_data",
    "from_arrays",
    "from_dataset",
    "load_data",
    "mapped",
    "parse_data",
    "select",
]

DATA: dict[str, Callable[..., Data]] = {
    "digits": load_digits,
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
    "svhn": load_svhn,
    "tiny_imagenet": load_tiny_imagenet,
    "imagenet": load_imagenet,
    "folder": load_folder,
    "npz": load_npz,
    "csv": load_csv,
    "hf": load_hf,
    "wds": load_wds,
}

_FROM_FILE = ("npz", "csv", "wds")
"""Those whose root is a file, or a pattern of files."""


def load_data(
    name: str,
    *,
    root: str | Path | None = None,
    split: str = "test",
    limit: int | None = None,
    sample: int | None = None,
    seed: int = 0,
    **options: Any,
) -> Data:
    """A data set by its name in DATA, or one of somebody's own as `package.module:callable`.

    Args:
        name: of your own, what the callable returns is taken: data of bitproof's, or a `Dataset` or `DataLoader`
            of torch's (`from_dataset`). It is handed `split` if it takes one.
        root: the folder it is read from, or of "npz" and "csv" the file and of "wds" the files
            (`val-{000000..000003}.tar`); none for "digits".
        split: "train" or "test" (for "folder": what results call the data).
        limit: use only the first so many examples.
        sample: use a random part of so many, of each class its share (`Data.sample`).
        seed: of that part.
        options: what the data set takes beside these; "folder" takes `classes` (names, or a text file of them),
            `size`, `shorter` and `resize`, "imagenet" the last three; `bitproof.models.preprocessing(NAME)` has them.

    Raises:
        InputError: an unknown name, split or option, a limit below 1, or a root that is missing where one is
            needed, does not exist or holds something else.

    Example:
        >>> load_data("digits", limit=100).shape
        (1, 20, 20)
    """
    if limit is not None and sample is not None:
        raise InputError(
            f"limit is {limit} and sample is {sample}",
            rule="a part is the first ones or a random one",
            remedy="Give one",
        )
    data = _whole(name, root, split, limit, options)
    return data if sample is None else data.sample(sample, seed=seed)


def _whole(name: str, root: str | Path | None, split: str, limit: int | None, options: dict[str, Any]) -> Data:
    """A data set without a random part."""
    if is_own(name):
        return own_data(name, split=split, limit=limit, **({"root": root} if root is not None else {}), **options)
    load = lookup(DATA, name, "data set")
    for option in options:
        lookup(inspect.signature(load).parameters, option, f"option of {name}")
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        rule = "it must be at least 1" if isinstance(limit, int) else "it is a whole number"
        raise InputError(f"limit is {limit}", rule=rule, remedy="Leave it out to use all examples")
    folder = None
    if root is not None:
        try:
            folder = Path(root).expanduser()
            there = folder.is_dir() or name in _FROM_FILE
        except (RuntimeError, OSError, TypeError) as error:  # a home that is not known, a name that is too long, a list
            raise InputError(f"root {str(root)!r} ({error})", rule="it must exist", remedy="Check the path") from error
        if not there:
            raise InputError(f"root {str(root)!r} is no folder", rule="it must exist", remedy="Check the path")
    classes = options.get("classes")
    if isinstance(classes, (str, Path)):
        options["classes"] = _class_names(str(classes))
    return load(folder, split=split, limit=limit, **options)


def share_files(one: str, other: str) -> bool:
    """Whether two texts name data of one kind that lie, in part or whole, in the same files or folder."""
    (kind, root, _), (other_kind, other_root, _) = parse_data(one), parse_data(other)
    if kind != other_kind or root is None or other_root is None:
        return kind == other_kind and root == other_root
    paths = (Path(path).expanduser() for path in (root, other_root))
    files = ({file.resolve() for file in (shard_files(path) if kind == "wds" else [path])} for path in paths)
    return bool(set.intersection(*files))


def parse_data(text: str) -> tuple[str, str | None, dict[str, Any]]:
    """Name, root and options of a data set as the command line names it: `digits`, `cifar10:ROOT`,
    `imagenet:ROOT,size=299` or `folder:ROOT,classes=FILE` with a text file that has a line a class.

    Raises:
        InputError: an unknown name or option, a size that is no whole number, or a file that cannot be read.

    Example:
        >>> parse_data("imagenet:photos/val,size=299")
        ('imagenet', 'photos/val', {'size': 299})
    """
    if is_own(text):
        return text, None, {}
    parts = call(text)
    known = inspect.signature(lookup(DATA, parts.name, "data set")).parameters
    for field, value in parts.fields.items():
        if field not in _READ or field not in known:
            raise InputError(
                f"{field}={value} in {text!r}",
                rule=f"{parts.name} has no option {field} that can be written as text",
                remedy="Folders of pictures take size, as in imagenet:ROOT,size=224, folder:ROOT,channels=1 and "
                "folder:ROOT,classes=FILE",
            )
    return parts.name, parts.head or None, {field: _READ[field](value) for field, value in parts.fields.items()}


def is_own(name: str) -> bool:
    """Whether a name is that of somebody's own data set, `package.module:callable`."""
    module, colon, called = name.partition(":")
    return bool(colon) and module not in DATA and called.isidentifier() and is_importable(module)


def takes(name: str, option: str) -> bool:
    """Whether a data set has an option."""
    return not is_own(name) and option in inspect.signature(lookup(DATA, name, "data set")).parameters


def _size(text: str) -> int:
    if not (text.isdecimal() and len(text) < 10):
        raise InputError(
            f"size is {text!r}", rule="it is a whole number of pixels", remedy="Write for example size=224"
        )
    return int(text)


def _channels(text: str) -> int:
    if text not in ("1", "3"):
        raise InputError(f"channels is {text!r}", rule="pictures are RGB (3) or grey (1)", remedy="Write channels=1")
    return int(text)


def _class_names(path: str) -> tuple[str, ...]:
    """The lines of a text file that hold anything."""
    try:
        with Path(path).expanduser().open(encoding="utf-8") as file:
            text = file.read(_LONGEST)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"classes={path} cannot be read ({error})",
            rule="it is a text file with a line a class, in the order of the model's outputs",
            remedy="Check the path; in Python, pass classes=[...]",
        ) from error
    return tuple(line.strip() for line in text.splitlines() if line.strip())


_LONGEST = 2**24  # letters of a file of class names
_READ: dict[str, Callable[[str], Any]] = {
    "size": _size,
    "shorter": _size,
    "resize": str,
    "channels": _channels,
    "classes": _class_names,
}
