"""Pickles of plain values, read without running anything that the file asks for.

A pickle is a program: it names functions and calls them. Here every name that it may use stands for something that the
reader gives, every other name is refused, and only instructions that build plain values are carried out. So neither
foreign code runs, nor what a hostile program can do with honest functions:

- The machine is the one that Python's library has in Python: the one in C sets memory aside for whatever length or
  position a file names, gigabytes for a few bytes.
- A key of a dictionary is text or a number. A tuple of one tuple twice, 40 times over, is 160 bytes, and its hash takes
  hours, in C, where nothing can stop it.
- Instructions are counted, and so is what functions copy.
"""

import pickle
import reprlib
import struct
from collections.abc import Callable, Mapping
from io import BufferedIOBase
from pickle import UnpicklingError
from typing import Any, ClassVar

STEPS = 2_000_000
"""Reads from the file, each of an instruction or its argument. The largest official file takes half a million; each may
take 100 bytes of memory."""

_LINE = 2**26  # bytes of an argument in text
_COPIES = 4  # bytes that functions may make for each byte of the file

Stateful = tuple[type, ...]


class Function:
    """What a pickle may call but not alter."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)


def _encode(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise UnpicklingError(f"it encodes to {reprlib.repr(encoding)}")
    return text.encode("latin1")


ALWAYS = {("_codecs", "encode"): Function(_encode)}
"""What every program may name: how Python 3 writes bytes in protocols 0 to 2."""


class Program:
    """A pickle, or several one after the other.

    Args:
        file: at the start of the first.
        size: of the file, in bytes.
        names: what each (module, name) that it may use stands for; only a `Function` can be called.
        stateful: classes of which objects may be given a state (`__setstate__`).
        persistent: gives what lies outside the pickle, by its id.
    """

    def __init__(
        self,
        file: BufferedIOBase,
        size: int,
        *,
        names: Mapping[tuple[str, str], Any],
        stateful: Stateful = (),
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self._tape = _Tape(file, size)
        self._names, self._stateful, self._persistent = {**ALWAYS, **names}, stateful, persistent

    def run(self) -> Any:
        """What the next pickle stands for.

        Raises:
            UnpicklingError: it names anything else, asks for more than it may, or is cut off.
            Exception: whatever a damaged one makes the machine raise.
        """
        machine = _Machine(self._tape, encoding="latin1")
        machine.names, machine.stateful, machine.persistent = self._names, self._stateful, self._persistent
        return machine.load()


class _Tape:
    """A program, and an end to it."""

    def __init__(self, file: BufferedIOBase, size: int) -> None:
        self._file, self._size = file, size
        self._steps = self._copied = 0

    def read(self, size: int) -> bytes:
        self._step()
        if size > self._size - self._file.tell():
            raise UnpicklingError("Ran out of input, it is truncated")
        return self._file.read(size)

    def readline(self) -> bytes:
        self._step()
        return self._file.readline(_LINE)

    def copy(self, made: Any) -> None:
        """Note what a function made."""
        self._copied += len(made) if isinstance(made, bytes) else getattr(made, "copied", 0)
        if self._copied > _COPIES * self._size:
            raise UnpicklingError("it copies its content again and again")

    def _step(self) -> None:
        self._steps += 1
        if self._steps > STEPS:
            raise UnpicklingError(f"it has more than {STEPS:,} steps")


_Base: Any = pickle._Unpickler


class _Instructions(dict[int, Any]):
    def __missing__(self, code: int) -> Any:
        raise UnpicklingError(f"it has the instruction {bytes([code])!r}")


class _Machine(_Base):
    names: Mapping[tuple[str, str], Any]
    stateful: Stateful
    persistent: Callable[[Any], Any] | None

    def __init__(self, tape: _Tape, *, encoding: str) -> None:
        super().__init__(tape, encoding=encoding)
        self._tape = tape

    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in self.names:
            raise UnpicklingError(f"it names {module_name}.{global_name}")
        return self.names[module_name, global_name]

    def persistent_load(self, pid: Any) -> Any:
        if self.persistent is None:
            raise UnpicklingError("it names something outside itself")
        return self.persistent(pid)

    def _call(self) -> None:
        args, function = self.stack.pop(), self.stack[-1]
        if not isinstance(function, Function) or type(args) is not tuple:
            raise UnpicklingError("it calls what is no function")
        self.stack[-1] = function(*args)
        self._tape.copy(self.stack[-1])

    def _set_state(self) -> None:
        state, object_ = self.stack.pop(), self.stack[-1]
        if not isinstance(object_, self.stateful):
            raise UnpicklingError(f"it sets the state of a {type(object_).__name__.lower()}")
        object_.__setstate__(state)
        self._tape.copy(object_)

    def _make_dictionary(self) -> None:
        items = self.pop_mark()
        self.append({})
        self._put(items)

    def _put_one(self) -> None:
        items = self.stack[-2:]
        del self.stack[-2:]
        self._put(items)

    def _put_all(self) -> None:
        self._put(self.pop_mark())

    def _put(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or not all(isinstance(key, (str, bytes, int, float)) for key in items[::2]):
            raise UnpicklingError("it has a key that is neither text nor a number")
        target.update(zip(items[::2], items[1::2], strict=True))

    def _append_one(self) -> None:
        value = self.stack.pop()
        self._extend([value])

    def _append_all(self) -> None:
        self._extend(self.pop_mark())

    def _extend(self, values: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise UnpicklingError("it appends to what is no list")
        self.stack[-1].extend(values)

    def _skip_frame(self) -> None:
        self.read(8)  # how much could be read ahead

    def _read_bytearray(self) -> None:
        (size,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(size)))  # the library's own sets memory aside before it reads

    _PLAIN = (
        *(pickle.PROTO, pickle.STOP, pickle.MARK, pickle.POP, pickle.POP_MARK, pickle.DUP),
        *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.INT, pickle.BININT, pickle.BININT1, pickle.BININT2),
        *(pickle.LONG, pickle.LONG1, pickle.LONG4, pickle.FLOAT, pickle.BINFLOAT),
        *(pickle.STRING, pickle.BINSTRING, pickle.SHORT_BINSTRING),
        *(pickle.UNICODE, pickle.BINUNICODE, pickle.SHORT_BINUNICODE, pickle.BINUNICODE8),
        *(pickle.BINBYTES, pickle.SHORT_BINBYTES, pickle.BINBYTES8),
        *(pickle.LIST, pickle.EMPTY_LIST, pickle.EMPTY_DICT, pickle.EMPTY_TUPLE, pickle.TUPLE),
        *(pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
        *(pickle.GET, pickle.BINGET, pickle.LONG_BINGET, pickle.PUT, pickle.BINPUT, pickle.LONG_BINPUT),
        *(pickle.MEMOIZE, pickle.GLOBAL, pickle.STACK_GLOBAL, pickle.BINPERSID),
    )
    dispatch: ClassVar = _Instructions(
        {code[0]: _Base.dispatch[code[0]] for code in _PLAIN}
        | {
            pickle.FRAME[0]: _skip_frame,
            pickle.BYTEARRAY8[0]: _read_bytearray,
            pickle.REDUCE[0]: _call,
            pickle.BUILD[0]: _set_state,
            pickle.DICT[0]: _make_dictionary,
            pickle.SETITEM[0]: _put_one,
            pickle.SETITEMS[0]: _put_all,
            pickle.APPEND[0]: _append_one,
            pickle.APPENDS[0]: _append_all,
        }
    )
