"""Which modules a model works with, registered or not: in lists, in closures, as globals of a function."""

import functools
import types
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from bitproof.settings.source import is_installed

_DEEPEST = 5


def reached(thing: Any, depth: int = 0) -> Iterator[nn.Module]:
    """The modules that a module, a function or an object holds, not those inside them."""
    if depth > _DEEPEST:
        return
    for held in _held(thing):
        if isinstance(held, nn.Module):
            yield held
        else:
            yield from reached(held, depth + 1)


def _held(thing: Any) -> Iterator[Any]:
    if isinstance(thing, nn.Module):
        yield from thing.children()
        registered = {"_modules", "_parameters", "_buffers"}
        yield from (value for name, value in vars(thing).items() if name not in registered)
    elif isinstance(thing, types.FunctionType):
        if not is_installed(thing.__module__ or ""):
            yield from (cell.cell_contents for cell in thing.__closure__ or () if _is_filled(cell))
            yield from (thing.__globals__.get(name) for name in thing.__code__.co_names)
            yield from thing.__defaults__ or ()
    elif isinstance(thing, types.MethodType):
        yield from (thing.__func__, thing.__self__)
    elif isinstance(thing, functools.partial):
        yield from (thing.func, *thing.args, *thing.keywords.values())
    elif isinstance(thing, Mapping):
        yield from thing.values()
    elif isinstance(thing, (list, tuple)):
        yield from thing
    elif not isinstance(thing, (type, types.ModuleType)) and not is_installed(type(thing).__module__):
        yield from getattr(thing, "__dict__", {}).values()


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
