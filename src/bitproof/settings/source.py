"""What own code, and what it holds, is: two things read alike are one, and an edit makes another.

What counts of code is what runs, not the file that it came from, which may have been edited since: the byte code of
functions, the functions, classes and values that they name in their module, what they close over and their defaults,
and so on from there. So it is the same in a file, a notebook and a bare interpreter, comments do not count, and another
minor version of Python makes it another. Installed packages and bitproof itself are only named, but for what was put
into their classes at run time: they have versions, and a class of bitproof a `revision`, which is raised when what it
computes changes. Of packages that add something to bitproof (`plugins`), the version counts.
"""

import dataclasses
import dis
import functools
import hashlib
import importlib.util
import sys
import sysconfig
import types
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePath
from typing import Any

import numpy as np

from bitproof.errors import InputError
from bitproof.settings.installed import provided_by

_LIBRARY = tuple({sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_PACKAGES = {"site-packages", "dist-packages"}
_PLAIN = (bool, int, float, complex, str, bytes, type(None), range, slice)
_CODE = (type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType, functools.partial)
_HELD = (*_PLAIN, *_CODE, tuple, list, set, frozenset, dict, np.ndarray, np.generic)
_DEEPEST = 200

Special = Callable[["Reader", Any], bool]
"""Reads a thing of a kind that `Reader` does not know, and says whether it did."""


def is_own(kind: type) -> bool:
    """Whether a class is bitproof's."""
    return kind.__module__.split(".")[0] == "bitproof"


def holds_foreign(value: Any) -> bool:
    """Whether a setting's class, or a setting or function in its fields, is not bitproof's."""
    if isinstance(value, (tuple, list, Mapping)):
        return any(map(holds_foreign, value.values() if isinstance(value, Mapping) else value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        inside = (getattr(value, field.name) for field in dataclasses.fields(value))
        return not is_own(type(value)) or any(map(holds_foreign, inside))
    return callable(value) and (getattr(value, "__module__", None) or "").split(".")[0] != "bitproof"


def revision_of(kind: type) -> int:
    """1 for a class as it was first, and more for each raised `revision` of its own or of a class it derives from."""
    return 1 + sum(vars(base).get("revision", 1) - 1 for base in kind.__mro__ if is_own(base))


def source_of(thing: Any) -> str:
    """32 hexadecimal digits of a class or function and of all that it uses."""
    hasher = hashlib.blake2b(digest_size=16)
    Reader(hasher.update).value(thing)
    return hasher.hexdigest()


def values_of(thing: Any) -> dict[str, str]:
    """A hash of each value that the code of a class or function of somebody's own uses from outside of it, by the name
    that it has there, and of those that its own functions use, and so on. None of what is bitproof's or installed."""
    found: dict[str, str] = {}
    waiting, seen = [thing], {id(thing)}
    for used in waiting:  # which grows
        for name, value in _used_by(used):
            if isinstance(value, (type, types.FunctionType)) or _wrapped(value) is not None:
                if id(value) not in seen:
                    seen.add(id(value))
                    waiting.append(value)
            else:
                found[name] = source_of(value)
    return found


def _used_by(thing: Any) -> Iterable[tuple[str, Any]]:
    """The members of a class, what a function closes over and names in its module, what is inside a wrapper."""
    if isinstance(thing, type):
        bases = [] if is_installed(thing.__module__) else [b for b in thing.__mro__ if not is_installed(b.__module__)]
        return [
            (name, member)
            for base in bases
            for name, member in vars(base).items()
            if not name.startswith("__") or callable(member)
        ]
    if isinstance(thing, types.FunctionType):
        if is_installed(thing.__globals__.get("__name__", "builtins")):
            return []
        cells = zip(thing.__code__.co_freevars, thing.__closure__ or (), strict=True)
        held = [(name, cell.cell_contents) for name, cell in cells if _is_filled(cell)]
        named = ((name, thing.__globals__.get(name)) for name in sorted(_names(thing.__code__)))
        return [*held, *((name, value) for name, value in named if name in thing.__globals__)]
    return [("", part) for part in _wrapped(thing) or ()]


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
            return is_library(file)
        name = name.rpartition(".")[0]  # parts of compiled packages have no file of their own
    return top in sys.stdlib_module_names


class Reader:
    """Hands everything that it finds in a thing to `take`, in a fixed order and each thing once.

    Args:
        take: gets it as bytes.
        special: reads first what it knows, or returns False.
        held: further types whose instances count where an object of an installed package holds them.
    """

    def __init__(
        self,
        take: Callable[[bytes | memoryview], None],
        special: Special = lambda reader, thing: False,
        held: tuple[type, ...] = (),
    ) -> None:
        self.take = take
        self._special = special
        self._held = (*_HELD, *held)
        self._seen: dict[int, int] = {}
        self._kept: list[Any] = []  # as an id may be given again once its object is gone
        self._depth = 0

    def text(self, what: str, text: str) -> None:
        self.take(f"{what}\0{len(text)}\0{text}\0".encode(errors="surrogatepass"))

    def known(self, thing: Any) -> bool:
        """Whether it was met before; a number in the place of its content says which one it is."""
        if id(thing) in self._seen:
            self.text("again", str(self._seen[id(thing)]))
            return True
        self._seen[id(thing)] = len(self._kept)
        self._kept.append(thing)
        return False

    def value(self, thing: Any, *, of_code: bool = False) -> None:
        """Read anything.

        Args:
            of_code: it is held by code, a class or a module. Objects in a collection there come and go, as in a log,
                and do not make it other code.
        """
        if isinstance(thing, _PLAIN):
            self.text("value", repr(thing))
            return
        if self._depth > _DEEPEST:
            raise InputError(
                f"something whose parts lie {_DEEPEST} levels deep in each other",
                rule="its identity covers everything that it holds",
                remedy="Hold plain values, modules and lists of these",
            )
        self._depth += 1
        if not self._special(self, thing) and not self.known(thing):
            self._read(thing, of_code)
        self._depth -= 1

    def _read(self, thing: Any, of_code: bool) -> None:
        if isinstance(thing, types.FunctionType):
            self._function(thing)
        elif isinstance(thing, type):
            self._class(thing)
        elif isinstance(thing, types.ModuleType):
            self.text("module", thing.__name__)
        elif isinstance(thing, (tuple, list)):
            self._parts("sequence", [part for part in thing if not of_code or self._counts(part)])
        elif isinstance(thing, (set, frozenset)):
            self.text("set", " ".join(sorted(map(self._apart, thing))))
        elif isinstance(thing, Mapping):
            for key, part in thing.items():
                if not of_code or self._counts(part):
                    self.text("entry", repr(key) if isinstance(key, _PLAIN) else type(key).__qualname__)
                    self.value(part)
        elif isinstance(thing, (np.ndarray, np.generic)):
            self.text("array", f"{thing.dtype} {thing.shape}")
            self.take(repr(thing.tolist()).encode() if thing.dtype.hasobject else thing.tobytes())
        elif hasattr(thing, "detach"):  # a tensor, of a library that is not imported here
            self.text("tensor", f"{thing.dtype} {thing.shape} {thing.detach().cpu().tolist()}")
        elif (inner := _wrapped(thing)) is not None:
            self._parts(type(thing).__name__, inner)
        else:
            self._object(thing)

    def _parts(self, what: str, parts: Iterable[Any]) -> None:
        parts = list(parts)
        self.text(what, str(len(parts)))
        for part in parts:
            self.value(part)

    def _provider(self, module: str | None) -> None:
        """The version of the package where it adds something to bitproof: another one may compute something else."""
        if module and (provider := provided_by(module)):
            self.text("provider", provider)

    def _apart(self, thing: Any) -> str:
        """The hash of one thing by itself."""
        hasher = hashlib.blake2b(digest_size=16)
        Reader(hasher.update, self._special, self._held).value(thing)
        return hasher.hexdigest()

    def _counts(self, part: Any) -> bool:
        """Whether it is a value, and not an object with a life of its own."""
        known = isinstance(part, self._held) or _wrapped(part) is not None
        return known or hasattr(part, "detach") or dataclasses.is_dataclass(part)

    def _class(self, kind: type) -> None:
        self.text("class", f"{kind.__module__}.{kind.__qualname__}")
        self._provider(kind.__module__)
        if is_own(kind) and revision_of(kind) > 1:
            self.text("revision", str(revision_of(kind)))
        if is_installed(kind.__module__):
            self._patches(kind)
            return
        for base in kind.__mro__[1:]:
            self.value(base)
        for name, member in sorted(vars(kind).items()):
            if not name.startswith("__") or callable(member):
                self.text("member", name)
                self.value(member, of_code=True)

    def _patches(self, kind: type) -> None:
        """What somebody has put into an installed class, or one that it derives from, since it was imported."""
        for base in kind.__mro__:
            for name, member in sorted(vars(base).items()):
                if _is_foreign(member, base.__module__):
                    self.text("patch", f"{base.__qualname__}.{name}")
                    self.value(member, of_code=True)

    def _function(self, function: types.FunctionType) -> None:
        self.text("function", f"{function.__module__}.{function.__qualname__}")
        self._provider(function.__module__)
        cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
        home = function.__globals__.get("__name__", "builtins")  # a wrapper says that it is from where the wrapped is
        if is_installed(home):
            held = (*cells, getattr(function, "__wrapped__", None))
            self._parts("held", filter(self._counts, held))
            return
        self.text("code", _of_code(function.__code__))
        self._parts("held", [*cells, function.__defaults__, function.__kwdefaults__])
        names = sorted(_names(function.__code__))
        for used in (function.__globals__[name] for name in names if name in function.__globals__):
            self.value(used, of_code=True)
            if isinstance(used, types.ModuleType):
                self._used_of(used, names)
        for module in filter(None, map(_own_module, sorted(_imports(function.__code__)))):
            self._used_of(module, names)

    def _used_of(self, module: types.ModuleType, names: list[str]) -> None:
        """What a module has under these names, if it is somebody's own."""
        for name in names if not is_installed(module.__name__) else ():
            if name in vars(module):
                self.value(vars(module)[name], of_code=True)

    def _object(self, thing: Any) -> None:
        """Anything else by its class and its attributes; a value of the standard library as it is printed."""
        kind = type(thing)
        named = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", "")
        self.text("object", f"{kind.__module__}.{kind.__qualname__} {named}")
        if kind.__module__.split(".")[0] in sys.stdlib_module_names:
            printed = repr(thing)
            self.text("printed", "" if printed.startswith("<") else printed)  # "<...>": a logger, a lock, a thread
            return
        foreign = not is_installed(kind.__module__)
        if foreign:
            self.value(kind)
        fields = {f.name for f in dataclasses.fields(thing)} if dataclasses.is_dataclass(thing) else set()
        slots = {name for base in kind.__mro__ for name in getattr(base, "__slots__", ())}
        inner = {**getattr(thing, "__dict__", {}), **{name: getattr(thing, name, None) for name in fields | slots}}
        for name in sorted(inner):
            if foreign or self._counts(inner[name]):
                self.text("attribute", name)
                self.value(inner[name])


def _wrapped(thing: Any) -> tuple[Any, ...] | None:
    """What is inside a thing that only wraps; None for others."""
    if isinstance(thing, functools.partial):
        return thing.func, thing.args, thing.keywords
    if isinstance(thing, types.MethodType):
        return thing.__func__, thing.__self__
    if isinstance(thing, (staticmethod, classmethod)):
        return (thing.__func__,)
    if isinstance(thing, property):
        return thing.fget, thing.fset
    if isinstance(thing, functools.cached_property):
        return (thing.func,)
    if isinstance(thing, functools._lru_cache_wrapper):
        return (thing.__wrapped__,)
    return None


def _is_foreign(member: Any, module: str) -> bool:
    """Whether a member of a class from an installed module is a function from somebody's own."""
    if not isinstance(member, types.FunctionType):
        return any(_is_foreign(part, module) for part in _wrapped(member) or ())
    home = member.__globals__.get("__name__", module)
    return home != module and home in sys.modules and not is_installed(home)  # what is generated has no module


def _is_filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _own_module(name: str) -> types.ModuleType | None:
    """The module of that name, imported as by the function that does so; None if it is installed or cannot be found."""
    try:
        spec = None if is_installed(name) else importlib.util.find_spec(name)
        return importlib.import_module(name) if spec is not None and not is_library(spec.origin) else None
    except Exception:  # it is somebody's code that runs here, and will say so when it is run in earnest
        return None


def is_library(file: str | None) -> bool:
    """Whether a file is one of the standard library or of an installed package."""
    return file is not None and (file.startswith(_LIBRARY) or not _PACKAGES.isdisjoint(PurePath(file).parts))


@functools.lru_cache(maxsize=4096)  # a code object never changes, and each is asked about dozens of times a run
def _names(code: types.CodeType) -> frozenset[str]:
    return frozenset(code.co_names).union(*map(_names, _inner(code)))


@functools.lru_cache(maxsize=4096)
def _imports(code: types.CodeType) -> frozenset[str]:
    """The modules that it imports when it runs."""
    own = frozenset(step.argval for step in dis.get_instructions(code) if step.opname == "IMPORT_NAME")
    return own.union(*map(_imports, _inner(code)))


def _inner(code: types.CodeType) -> list[types.CodeType]:
    """The functions, lambdas and the like inside."""
    return [part for part in code.co_consts if isinstance(part, types.CodeType)]


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
