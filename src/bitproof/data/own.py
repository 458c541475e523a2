"""A data set of somebody's own, by name: `package.module:callable`."""

import inspect
from typing import Any

from bitproof.data.base import Data
from bitproof.data.torch_dataset import from_dataset
from bitproof.errors import InputError
from bitproof.settings import failed, imported


def own_data(name: str, *, split: str, limit: int | None, **options: Any) -> Data:
    """What `module:callable` gives for a split.

    Args:
        name: a function or class, called with `split` and those of `options` that it takes.
        split, limit: as for `load_data`.

    Raises:
        InputError: nothing of this name, code that fails, or no data set.
    """
    module, _, called = name.partition(":")
    make = imported(module, called, "data set")
    if callable(make) and (isinstance(make, type) or not (isinstance(make, Data) or hasattr(make, "__getitem__"))):
        try:
            taken = inspect.signature(make).parameters
            given = {"split": split, **options}
            made = make(**{key: value for key, value in given.items() if key in taken})
        except InputError:
            raise
        except Exception as error:
            raise failed(error, f"{name} fails when it is called") from error
    else:
        made = make
    data = as_data(made, name=called, split=split)
    return data if limit is None else data.take(limit)


def as_data(given: Any, *, name: str | None = None, split: str = "test") -> Data:
    """Data as they are, and a `Dataset` or `DataLoader` as data.

    Raises:
        InputError: something else.
    """
    if isinstance(given, Data):
        return given
    if isinstance(given, type) or not (hasattr(given, "__getitem__") or hasattr(given, "__iter__")):
        raise InputError(
            f"a {type(given).__name__} as data",
            rule="data are what bp.load_data and bp.from_arrays return, or a Dataset or DataLoader of torch's",
            remedy="Return one of these",
        )
    return from_dataset(given, name=name, split=split)
