"""Which modules a model works with, registered or not: in lists, in closures, as globals of a function."""

import functools
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import nn

from bitproof.settings.source import is_installed

_DEEPEST = 5


def parts(
    model: nn.Module, *, within: Callable[[nn.Module], bool] = lambda part: True, hidden: bool = True
) -> Iterator[tuple[str, nn.Module]]:
    """Every module that a model works with and its name, each once: those that are registered first, under the names
    that torch gives them, then what these hold in other ways, as in `blocks[0].conv`.

    Args:
        model: comes first, under "".
        within: whether to look into a part.
        hidden: also what is not registered.
    """
    seen: set[int] = set()
    starts = [("", model)]
    for start, found in starts:  # which grow
        here = list(_registered(start, found, within, seen))
        yield from here
        if hidden:
            starts += [(f"{name}{path}", held) for name, part in here if within(part) for path, held in _reached(part)]


def _registered(
    name: str, part: nn.Module, within: Callable[[nn.Module], bool], seen: set[int]
) -> Iterator[tuple[str, nn.Module]]:
    if id(part) in seen:
        return
    seen.add(id(part))
    yield name.removeprefix("."), part
    if within(part):
        for child, below in part.named_children():
            yield from _registered(f"{name}.{child}", below, within, seen)


def _reached(thing: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, nn.Module]]:
    """The modules that a module, a function or an object holds, not those inside them, and the way to each."""
    if depth > _DEEPEST:
        return
    for step, held in _held(thing):
        if isinstance(held, nn.Module):
            yield path + step, held
        else:
            yield from _reached(held, path + step, depth + 1)


def _held(thing: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(thing, nn.Module):
        registered = {"_modules", "_parameters", "_buffers"}
        yield from ((f".{name}", value) for name, value in vars(thing).items() if name not in registered)
    elif isinstance(thing, types.FunctionType):
        if not is_installed(thing.__module__ or ""):
            code, cells = thing.__code__, thing.__closure__ or ()
            yield from ((f".{n}", c.cell_contents) for n, c in zip(code.co_freevars, cells, strict=True) if _filled(c))
            yield from ((f".{name}", thing.__globals__.get(name)) for name in code.co_names)
            yield from ((f"({i})", value) for i, value in enumerate(thing.__defaults__ or ()))
    elif isinstance(thing, types.MethodType):
        yield from (("", thing.__func__), ("", thing.__self__))
    elif isinstance(thing, functools.partial):
        yield from (("", value) for value in (thing.func, *thing.args, *thing.keywords.values()))
    elif isinstance(thing, Mapping):
        yield from ((f"[{key!r}]", value) for key, value in thing.items())
    elif isinstance(thing, (list, tuple)):
        yield from ((f"[{i}]", value) for i, value in enumerate(thing))
    elif not isinstance(thing, (type, types.ModuleType)) and not is_installed(type(thing).__module__):
        yield from ((f".{name}", value) for name, value in getattr(thing, "__dict__", {}).items())


def _filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
