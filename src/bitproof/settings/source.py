"""The code behind a class or function that is not bitproof's, so that an edited one counts as another.

What is seen: the source (or the byte code, where there is none, as in a bare interpreter), the functions, classes and
plain values that it names in its module, what it closes over and its defaults, and so on from there. Installed packages
and bitproof itself are only named: they have versions.
"""

import inspect
import sys
import sysconfig
import types
from collections.abc import Iterator
from typing import Any

_INSTALLED = tuple({sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")})
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
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, (staticmethod, classmethod, types.MethodType)):
        yield from _sources(thing.__func__, seen)
    elif isinstance(thing, property):
        for part in (thing.fget, thing.fset):
            yield from _sources(part, seen) if part else ()
    elif isinstance(thing, (type, types.FunctionType)):
        yield f"{thing.__module__}.{thing.__qualname__}"
        if not is_installed(thing.__module__ or ""):
            yield _text(thing)
            yield from _used_by_class(thing, seen) if isinstance(thing, type) else _used_by(thing, seen)
    elif isinstance(thing, _PLAIN):
        yield repr(thing)
    elif isinstance(thing, (tuple, list)) and len(thing) < 1000:
        for part in thing:
            yield from _sources(part, seen)
    elif isinstance(thing, dict) and len(thing) < 1000:
        for key, part in thing.items():
            yield repr(key) if isinstance(key, _PLAIN) else type(key).__qualname__
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


def _names(code: types.CodeType) -> set[str]:
    inner = (part for part in code.co_consts if isinstance(part, types.CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _text(thing: type | types.FunctionType) -> str:
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):
        return _bytes(thing.__code__) if isinstance(thing, types.FunctionType) else ""  # of a class, its functions tell


def _bytes(code: types.CodeType) -> str:
    consts = [_bytes(part) if isinstance(part, types.CodeType) else repr(part) for part in code.co_consts]
    return f"{code.co_code.hex()} {consts} {code.co_names}"
