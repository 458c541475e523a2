"""The identity of a model: a hash of everything in it that can change what it computes.

What lies outside the module (files it reads, the state of a library) cannot be seen. So before a stored result is used
again, a few live answers are compared with it too (`subjects.probing`).
"""

import dataclasses
import functools
import hashlib
import re
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from bitproof.errors import InputError
from bitproof.settings.source import is_installed, source_of

KNOWN = ("scheme", "structure", "architecture", "origin")
"""Attributes that say what is known of a model (`subjects.subject`). They compute nothing."""

_MACHINERY = set(vars(nn.Module())) | {"training", "_backend", "compiled_code"}
_HOOKS = ("_forward_pre_hooks", "_forward_hooks")
_DEEPEST = 200
_TORCH_VALUES = (torch.dtype, torch.layout, torch.memory_format, torch.Size)
_PRINTED = (type(None), bool, int, float, complex, str, bytes, np.generic, range, slice, *_TORCH_VALUES)
"""What is the same where it is printed alike."""
_HELD = (bool, int, float, str, torch.Tensor, np.ndarray, nn.Module, tuple, list, dict)
"""What counts of an object of an installed package, such as a composed transform: the rest is its own machinery."""


def fingerprint(model: nn.Module) -> str:
    """32 hexadecimal digits, equal on every machine and for every device the model lies on.

    Covered, of every module inside: its class with the code of classes from outside installed packages and of all that
    they use; parameters and buffers, the non-persistent ones too; plain attributes, tensors, arrays and functions among
    them; forward hooks.
    """
    hasher = hashlib.blake2b(digest_size=16)
    _Reader(hasher.update).module(model)
    return hasher.hexdigest()


def is_known(name: str, value: Any) -> bool:
    """Whether an attribute says what is known of a model, and is not somebody's own of the same name."""
    if name == "scheme":
        return value is None or (hasattr(value, "weight_bits") and hasattr(value, "act_bits"))
    if name == "structure":
        return isinstance(value, tuple) and all(map(dataclasses.is_dataclass, value))
    return value is None or isinstance(value, str if name == "architecture" else dict)


class _Reader:
    """Hands everything that it finds to `take`, each thing once."""

    def __init__(self, take: Callable[[bytes | memoryview], None]) -> None:
        self.take = take
        self.seen: dict[int, int] = {}
        self.kept: list[Any] = []  # as an id may be given again once its object is gone

    def module(self, module: nn.Module, depth: int = 0) -> None:
        if self._known(module):
            return
        if isinstance(module, torch.jit.ScriptModule):
            self.text("script", str(getattr(module, "code", "")))
        for line in source_of(type(module)):
            self.text("class", line)
        self.text("as printed", re.sub(r" at 0x[0-9a-f]+", "", module.extra_repr()))
        for table in ("_parameters", "_buffers"):
            for name, tensor in getattr(module, table).items():
                self.text(table, name)
                self.value(tensor, depth + 1)
        for kind in type(module).__mro__:
            if not is_installed(kind.__module__):
                for member in vars(kind).values():
                    if isinstance(member, types.FunctionType):
                        self.value(member, depth)
        own = vars(module) if not isinstance(module, torch.jit.ScriptModule) else {}
        for name in sorted(own.keys() - _MACHINERY - {name for name in KNOWN if is_known(name, own.get(name))}):
            self.text("attribute", name)
            self.value(own[name], depth + 1)
        for table in _HOOKS:
            for hook in getattr(module, table, {}).values():
                self.text(table, "")
                self.value(hook, depth + 1)
        for name, child in module._modules.items():
            self.text("module", name)
            self.value(child, depth + 1)

    def value(self, value: Any, depth: int) -> None:
        if isinstance(value, torch.device):
            return
        if depth > _DEEPEST:
            raise InputError(
                f"a model whose parts lie {_DEEPEST} levels deep in each other",
                rule="its identity covers everything that it holds",
                remedy="Hold plain values, modules and lists of these",
            )
        if isinstance(value, torch.Tensor):
            self.tensor(value)
        elif isinstance(value, nn.Module):
            self.module(value, depth)
        elif isinstance(value, np.ndarray):
            self.text("array", f"{value.dtype} {value.shape}")
            self.take(repr(value.tolist()).encode() if value.dtype.hasobject else np.ascontiguousarray(value).tobytes())
        elif isinstance(value, _PRINTED):
            self.text("value", repr(value))
        elif isinstance(value, type):
            for line in source_of(value):
                self.text("class", line)
        else:
            self.thing(value, depth)

    def thing(self, value: Any, depth: int) -> None:
        """What may hold other things, itself among them."""
        if self._known(value):
            return
        if isinstance(value, (set, frozenset)):
            self.text("set", " ".join(sorted(map(repr, value))))
        elif isinstance(value, (tuple, list)):
            self.text("sequence", str(len(value)))
            for part in value:
                self.value(part, depth + 1)
        elif isinstance(value, Mapping):
            for key, part in value.items():
                self.text("entry", str(key))
                self.value(part, depth + 1)
        elif isinstance(value, functools.partial):
            for part in (value.func, value.args, value.keywords):
                self.value(part, depth + 1)
        elif isinstance(value, types.MethodType):
            self.value(value.__func__, depth + 1)
            self.value(value.__self__, depth + 1)
        elif isinstance(value, types.FunctionType):
            self.function(value, depth)
        elif isinstance(value, types.BuiltinFunctionType):
            self.text("builtin", f"{value.__module__}.{value.__qualname__}")
        else:
            self.object(value, depth)

    def function(self, function: types.FunctionType, depth: int) -> None:
        for line in source_of(function):
            self.text("function", line)
        if is_installed(function.__module__ or ""):
            return
        cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
        used = [function.__globals__.get(name) for name in function.__code__.co_names]
        for held in (*cells, *used, *(function.__defaults__ or ())):
            if isinstance(held, (torch.Tensor, np.ndarray, nn.Module, functools.partial, types.FunctionType)):
                self.value(held, depth + 1)

    def object(self, value: Any, depth: int) -> None:
        self.text("object", type(value).__qualname__)
        fields = {f.name for f in dataclasses.fields(value)} if dataclasses.is_dataclass(value) else set()
        slots = {name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())}
        inner = {**getattr(value, "__dict__", {}), **{name: getattr(value, name, None) for name in fields | slots}}
        foreign = not is_installed(type(value).__module__)
        if foreign:
            self.value(type(value), depth + 1)
        for name in sorted(inner):
            if foreign or isinstance(inner[name], _HELD):
                self.text("attribute", name)
                self.value(inner[name], depth + 1)

    def tensor(self, tensor: torch.Tensor) -> None:
        self.text("tensor", f"{tensor.dtype} {tuple(tensor.shape)}")
        self.take(_bytes(tensor))

    def text(self, what: str, text: str) -> None:
        self.take(f"{what}\0{len(text)}\0{text}\0".encode(errors="surrogatepass"))

    def _known(self, thing: Any) -> bool:
        """Whether it was met before; a number in the place of its content says which one it is."""
        if id(thing) in self.seen:
            self.text("again", str(self.seen[id(thing)]))
            return True
        self.seen[id(thing)] = len(self.kept)
        self.kept.append(thing)
        return False


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _bytes(tensor: torch.Tensor) -> memoryview:
    """The tensor's elements in C order as raw bytes, for any dtype (bfloat16 too)."""
    dense = tensor.detach().cpu()
    if dense.is_quantized:
        dense = dense.int_repr()
    return dense.to_dense().contiguous().reshape(-1).view(torch.uint8).numpy().data
