"""The code behind a class or function that is not bitproof's, so that an edited one counts as another.

What is seen is the code that runs, not the file that it came from, which may have been edited since: the byte code of
functions, the functions, classes and plain values that they name in their module, what they close over and their
defaults, and so on from there. So it is the same in a file, a notebook and a bare interpreter, comments do not count,
and another minor version of Python makes it another. Installed packages and bitproof itself are only named: they have
versions, and a class of bitproof a `revision`, which is raised when what it computes changes.
"""

import functools
import hashlib
import sys
import sysconfig
import types
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

import numpy as np

_LIBRARY = tuple({sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_PACKAGES = {"site-packages", "dist-packages"}
_VALUES = (tuple, list, set, frozenset, dict, np.ndarray, np.generic, staticmethod, classmethod, property)
_PLAIN = (bool, int, float, complex, str, bytes, type(None))

Seen = dict[int, Any]
"""What was met, by its id; kept, as an id is given again once its object is gone."""


def is_own(kind: type) -> bool:
    """Whether a class is bitproof's."""
    return kind.__module__.split(".")[0] == "bitproof"


def revision_of(kind: type) -> int:
    """1 for a class as it was first, and more for each raised `revision` of its own or of a class it derives from."""
    return 1 + sum(vars(base).get("revision", 1) - 1 for base in kind.__mro__ if is_own(base))


def source_of(thing: Any) -> list[str]:
    """The code of a class or function and of everything of the same kind that it uses, in a fixed order."""
    return list(_sources(thing, {}))


def is_installed(module: str) -> bool:
    """Whether a module belongs to bitproof, the standard library or an installed package."""
    top = module.split(".")[0]
    if top == "bitproof":
        return True
    if module == "__main__":
        return False
    name = module
    while name:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is not None:
            return file.startswith(_LIBRARY) or not _PACKAGES.isdisjoint(PurePath(file).parts)
        name = name.rpartition(".")[0]  # parts of compiled packages have no file of their own
    return top in sys.stdlib_module_names


def _sources(thing: Any, seen: Seen) -> Iterator[str]:
    if isinstance(thing, _PLAIN):
        yield repr(thing)
        return
    if id(thing) in seen:
        return
    seen[id(thing)] = thing
    if isinstance(thing, types.FunctionType):
        yield from _of_function(thing, seen)
    elif isinstance(thing, type):
        yield from _of_class(thing, seen)
    elif isinstance(thing, (staticmethod, classmethod, types.MethodType)):
        yield from _sources(thing.__func__, seen)
    elif isinstance(thing, property):
        for part in (thing.fget, thing.fset):
            yield from _sources(part, seen)
    elif isinstance(thing, functools.cached_property):
        yield from _sources(thing.func, seen)
    elif isinstance(thing, functools.partial):
        yield from _sources((thing.func, thing.args, thing.keywords), seen)
    elif hasattr(thing, "__wrapped__"):
        yield from _sources(thing.__wrapped__, seen)
    elif isinstance(thing, types.ModuleType):
        yield thing.__name__
    elif isinstance(thing, (tuple, list)):
        for part in thing:
            yield from _sources(part, seen) if not _is_live(part) else ()
    elif isinstance(thing, (set, frozenset)):
        yield from sorted("".join(_sources(part, dict(seen))) for part in thing)
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


def _of_object(thing: Any, seen: Seen) -> Iterator[str]:
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


def _of_class(kind: type, seen: Seen) -> Iterator[str]:
    yield f"{kind.__module__}.{kind.__qualname__}"
    if is_own(kind) and revision_of(kind) > 1:
        yield f"revision {revision_of(kind)}"
    if is_installed(kind.__module__):
        return
    for base in kind.__mro__[1:]:
        yield from _sources(base, seen)
    for name, member in sorted(vars(kind).items()):
        if not name.startswith("__") or callable(member):
            yield name
            yield from _sources(member, seen)


def _of_function(function: types.FunctionType, seen: Seen) -> Iterator[str]:
    """Its code and what that uses. A wrapper names the module of what it wraps as its own; its globals know better."""
    yield f"{function.__module__}.{function.__qualname__}"
    if is_installed(function.__globals__.get("__name__", "builtins")):
        yield from _sources(getattr(function, "__wrapped__", None), seen)
        return
    yield _of_code(function.__code__)
    yield from _sources(function.__defaults__ or (), seen)
    yield from _sources(function.__kwdefaults__ or {}, seen)
    for cell in function.__closure__ or ():
        try:
            yield from _sources(cell.cell_contents, seen)
        except ValueError:  # not filled yet
            continue
    names = sorted(_names(function.__code__))
    for name in names:
        if name in function.__globals__:
            used = function.__globals__[name]
        elif name in sys.modules:  # imported inside the function
            used = sys.modules[name]
        else:
            continue
        yield from _sources(used, seen)
        if isinstance(used, types.ModuleType) and not is_installed(used.__name__):
            for inner in names:
                if inner in vars(used):
                    yield from _sources(vars(used)[inner], seen)


def _names(code: types.CodeType) -> set[str]:
    inner = (part for part in code.co_consts if isinstance(part, types.CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _of_code(code: types.CodeType) -> str:
    """All that a code object computes with; not where it was written."""
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    arguments = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    return f"{code.co_code.hex()} {code.co_exceptiontable.hex()} {_constant(code.co_consts)} {names} {arguments}"


def _constant(value: Any) -> str:
    """A constant of a code object as text that is the same in every process."""
    if isinstance(value, types.CodeType):
        return _of_code(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(_constant, value))})"
    if isinstance(value, frozenset):
        return f"{{{', '.join(sorted(map(_constant, value)))}}}"
    return repr(value)
