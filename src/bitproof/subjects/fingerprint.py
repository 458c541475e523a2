"""The identity of a model: a hash of everything in it that can change what it computes.

What lies outside the module (files it reads, the state of a library) cannot be seen. So before a stored result is used
again, a few live answers are compared with it too (`subjects.probing`).
"""

import dataclasses
import hashlib
import re
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from bitproof.settings.source import Reader

KNOWN = ("scheme", "structure", "architecture", "origin", "class_names")
"""Attributes that say what is known of a model (`subjects.subject`). They compute nothing."""

_MACHINERY = set(vars(nn.Module())) | {"training", "_backend", "compiled_code"}
_HOOKS = ("_forward_pre_hooks", "_forward_hooks")
_PRINTED = (torch.dtype, torch.layout, torch.memory_format, torch.Size)
"""What is the same where it is printed alike."""


def fingerprint(model: nn.Module) -> str:
    """32 hexadecimal digits, equal on every machine and for every device the model lies on.

    Covered, of every module inside: its class with the code of classes from outside installed packages and of all that
    they use; parameters and buffers, the non-persistent ones too; plain attributes, tensors, arrays and functions among
    them; forward hooks.
    """
    hasher = hashlib.blake2b(digest_size=16)
    Reader(hasher.update, _read_torch, held=(torch.Tensor, nn.Module)).value(model)
    return hasher.hexdigest()


def is_known(name: str, value: Any) -> bool:
    """Whether an attribute says what is known of a model, and is not somebody's own of the same name."""
    if name == "scheme":
        return value is None or (hasattr(value, "weight_bits") and hasattr(value, "act_bits"))
    if name in ("structure", "class_names"):
        is_part = dataclasses.is_dataclass if name == "structure" else lambda part: isinstance(part, str)
        return isinstance(value, tuple) and all(map(is_part, value))
    return value is None or isinstance(value, str if name == "architecture" else dict)


def _read_torch(reader: Reader, thing: Any) -> bool:
    """Read what is torch's."""
    if isinstance(thing, torch.device):
        return True  # a model is the same wherever it lies
    if isinstance(thing, _PRINTED):
        reader.text("value", repr(thing))
    elif isinstance(thing, torch.Tensor):
        reader.text("tensor", f"{thing.dtype} {tuple(thing.shape)}")
        if is_traceable_wrapper_subclass(thing):
            reader.value(type(thing))
            reader.value(thing.__tensor_flatten__()[1])
        reader.take(bytes_of(thing))
    elif isinstance(thing, nn.Module):
        if not reader.known(thing):
            _read_module(reader, thing)
    else:
        return False
    return True


def _read_module(reader: Reader, module: nn.Module) -> None:
    scripted = isinstance(module, torch.jit.ScriptModule)
    if scripted:
        reader.text("script", str(getattr(module, "code", "")))
    reader.value(type(module))
    reader.text("as printed", re.sub(r" at 0x[0-9a-f]+", "", module.extra_repr()))
    for table in ("_parameters", "_buffers"):
        for name, tensor in getattr(module, table).items():
            reader.text(table, name)
            reader.value(tensor)
    own = {} if scripted else vars(module)
    for name in sorted(own.keys() - _MACHINERY - {name for name in KNOWN if is_known(name, own.get(name))}):
        reader.text("attribute", name)
        reader.value(own[name])
    for table in _HOOKS:
        for hook in getattr(module, table, {}).values():
            reader.text(table, "")
            reader.value(hook)
    for name, child in module._modules.items():
        reader.text("module", name)
        reader.value(child)


def bytes_of(tensor: torch.Tensor) -> memoryview:
    """The tensor's elements in C order as raw bytes, for any dtype (bfloat16 too).

    Of one that is made of others, as torchao's weights are of codes and scales, those of all its parts.
    """
    if is_traceable_wrapper_subclass(tensor):
        parts: Any = tensor
        return memoryview(b"".join(bytes_of(getattr(parts, name)) for name in parts.__tensor_flatten__()[0]))
    dense = tensor.detach().cpu()
    if dense.is_quantized:
        dense = dense.int_repr()
    return dense.to_dense().contiguous().reshape(-1).view(torch.uint8).numpy().data
