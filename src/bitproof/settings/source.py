"""The code behind a class or function that is not bitproof's, so that an edited one counts as another.

What is seen: the source (or the byte code, where there is none, as in a bare interpreter), the functions, classes and
plain values that it names in its module, what it closes over and its defaults, and so on from there. Installed packages
and bitproof itself are only named: they have versions.
"""

import functools
import hashlib
import inspect
import sys
import sysconfig
import types
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

_INSTALLED = tuple({sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_VALUES = (tuple, list, set, frozenset, dict, np.ndarray, np.generic, staticmethod, classmethod, property)
_PLAIN = (bool, int, float, complex, str, bytes, type(None))


def is_own(kind: type) -> bool:
    """Whether a class is bitproof's."""
    return kind.__module__.split(".")[0] == "bitproof"


def source_of(thing: Any) -> list[str]:
    """The source of a class or function and of everything of the same kind that it uses, in a fixed order."""
    return list(_sources(thing, set()))


def is_installed(module: str) -> bool:
    """Whether a module belongs to bitproof, the standard library or an installed package."""
    if module.split(".")[0] == "bitproof":
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    return module != "__main__" and (file is None or file.startswith(_INSTALLED))


def _sources(thing: Any, seen: set[int]) -> Iterator[str]:
    if isinstance(thing, _PLAIN):
        yield repr(thing)
        return
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, (staticmethod, classmethod, types.MethodType)):
        yield from _sources(thing.__func__, seen)
    elif isinstance(thing, property):
        for part in (thing.fget, thing.fset):
            yield from _sources(part, seen)
    elif isinstance(thing, functools.cached_property):
        yield from _sources(thing.func, seen)
    elif isinstance(thing, functools.partial):
        yield from _sources((thing.func, thing.args, thing.keywords), seen)
    elif hasattr(thing, "__wrapped__") and not isinstance(thing, type):
        yield from _sources(thing.__wrapped__, seen)
    elif isinstance(thing, (type, types.FunctionType)):
        yield f"{thing.__module__}.{thing.__qualname__}"
        if not is_installed(thing.__module__ or ""):
            yield _text(thing)
            yield from _used_by_class(thing, seen) if isinstance(thing, type) else _used_by(thing, seen)
    elif isinstance(thing, types.ModuleType):
        yield thing.__name__
        if not is_installed(thing.__name__):
            yield _text(thing)
    elif isinstance(thing, (tuple, list)):
        for part in thing:
            yield from _sources(part, seen) if not _is_live(part) else ()
    elif isinstance(thing, (set, frozenset)):
        yield from sorted("".join(_sources(part, set(seen))) for part in thing)
    elif isinstance(thing, Mapping):
        for key, part in thing.items():
            yield repr(key) if isinstance(key, _PLAIN) else type(key).__qualname__
            yield from _sources(part, seen) if not _is_live(part) else ()
    else:
        yield from _of_object(thing, seen)


def _is_live(part: Any) -> bool:
    """Whether an entry of a collection is an object that comes and goes, as in a log, and not a value."""
    known = (*_PLAIN, *_VALUES, type, types.FunctionType, types.ModuleType, functools.partial)
    return not isinstance(part, known) and not hasattr(part, "__wrapped__") and not hasattr(part, "detach")


def _of_object(thing: Any, seen: set[int]) -> Iterator[str]:
    """An array by its values, anything else by its class and its attributes."""
    if hasattr(thing, "detach") and hasattr(thing, "numpy"):  # a tensor, of a library that is not imported here
        thing = thing.detach().cpu().numpy()
    yield f"{type(thing).__module__}.{type(thing).__qualname__}"
    if isinstance(thing, (np.ndarray, np.generic)):
        yield f"{thing.dtype} {thing.shape} {hashlib.blake2b(thing.tobytes()).hexdigest()}"
        return
    if not is_installed(type(thing).__module__):
        yield from _sources(type(thing), seen)
    slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    held = {**{name: getattr(thing, name, None) for name in slots}, **getattr(thing, "__dict__", {})}
    for name, part in sorted(held.items()):
        yield name
        yield from _sources(part, seen)


def _used_by_class(kind: type, seen: set[int]) -> Iterator[str]:
    for base in kind.__mro__[1:]:
        yield from _sources(base, seen)
    for name, member in sorted(vars(kind).items()):
        if not name.startswith("__") or callable(member):
            yield from _sources(member, seen)


def _used_by(function: types.FunctionType, seen: set[int]) -> Iterator[str]:
    yield from _sources(function.__defaults__ or (), seen)
    yield from _sources(function.__kwdefaults__ or {}, seen)
    for cell in function.__closure__ or ():
        try:
            yield from _sources(cell.cell_contents, seen)
        except ValueError:  # not filled yet
            continue
    for name in sorted(_names(function.__code__)):
        if name in function.__globals__:
            yield from _sources(function.__globals__[name], seen)
        elif name in sys.modules:  # imported inside the function
            yield from _sources(sys.modules[name], seen)


def _names(code: types.CodeType) -> set[str]:
    inner = (part for part in code.co_consts if isinstance(part, types.CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _text(thing: type | types.FunctionType | types.ModuleType) -> str:
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):
        return _bytes(thing.__code__) if isinstance(thing, types.FunctionType) else ""  # of a class, its functions tell


def _bytes(code: types.CodeType) -> str:
    consts = [_bytes(part) if isinstance(part, types.CodeType) else repr(part) for part in code.co_consts]
    return f"{code.co_code.hex()} {consts} {code.co_names}"
