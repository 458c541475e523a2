"""Labelled pictures: the table of data sets, and how one is named in Python and on the command line."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bitproof.data.arrays import ArrayData, from_arrays
from bitproof.data.base import Data, Read
from bitproof.data.cifar10 import load_cifar10
from bitproof.data.cifar100 import load_cifar100
from bitproof.data.digits import load_digits
from bitproof.data.examples import Examples
from bitproof.data.folder import FolderData, load_folder
from bitproof.data.imagenet import load_imagenet
from bitproof.data.svhn import load_svhn
from bitproof.data.tiny_imagenet import load_tiny_imagenet
from bitproof.data.views import Mapped, Selected, mapped, select
from bitproof.errors import InputError, lookup
from bitproof.settings import call

__all__ = [
    "DATA",
    "ArrayData",
    "Data",
    "Examples",
    "FolderData",
    "Mapped",
    "Read",
    "Selected",
    "from_arrays",
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
}


def load_data(
    name: str, *, root: str | Path | None = None, split: str = "test", limit: int | None = None, **options: Any
) -> Data:
    """A data set by its name in DATA.

    Args:
        root: the folder it is read from; none for "digits".
        split: "train" or "test" (for "folder": what results call the data).
        limit: use only the first so many examples.
        options: what the data set takes beside these; "folder" takes `classes` and `size`, "imagenet" `size`.

    Raises:
        InputError: an unknown name, split or option, a limit below 1, or a root that is missing where one is
            needed, does not exist or holds something else.

    Example:
        >>> load_data("digits", limit=100).shape
        (1, 20, 20)
    """
    load = lookup(DATA, name, "data set")
    for option in options:
        lookup(inspect.signature(load).parameters, option, f"option of {name}")
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}", rule="it must be at least 1", remedy="Leave it out to use all examples")
    try:
        folder = None if root is None else Path(root).expanduser()
    except RuntimeError as error:
        raise InputError(f"root {str(root)!r} ({error})", rule="it must exist", remedy="Check the path") from error
    if folder is not None and not folder.is_dir():
        raise InputError(f"root {str(root)!r} is no folder", rule="it must exist", remedy="Check the path")
    return load(folder, split=split, limit=limit, **options)


def parse_data(text: str) -> tuple[str, str | None, dict[str, int]]:
    """Name, root and options of a data set as the command line names it: `digits`, `cifar10:ROOT` or
    `imagenet:ROOT,size=299`.

    Raises:
        InputError: an unknown name, or a size that is no whole number.

    Example:
        >>> parse_data("imagenet:photos/val,size=299")
        ('imagenet', 'photos/val', {'size': 299})
    """
    parts = call(text)
    load = lookup(DATA, parts.name, "data set")
    for field, value in parts.fields.items():
        if field != "size" or "size" not in inspect.signature(load).parameters:
            raise InputError(
                f"{field}={value} in {text!r}",
                rule=f"{parts.name} has no option {field} that can be written as text",
                remedy="Folders of pictures take size, as in imagenet:ROOT,size=224",
            )
        if not (value.isdecimal() and len(value) < 10):
            raise InputError(
                f"size is {value!r} in {text!r}",
                rule="it is a whole number of pixels",
                remedy="Write for example size=224",
            )
    return parts.name, parts.head or None, {name: int(value) for name, value in parts.fields.items()}
