"""The identity of a model: a hash of everything that can change what it computes, and the record that holds it."""

import hashlib
import inspect

import torch
from torch import nn

from bitproof.records import ModelRecord
from bitproof.settings import describe


def fingerprint(model: nn.Module) -> str:
    """32 hexadecimal digits over the model's tensors, structure and code.

    Covered: every entry of the state dict (name, dtype, shape, bytes), the printed structure (layer
    types and their settings), and the source of module classes from outside torch, so that an edited
    `forward` counts as another model. Equal on every machine and for every device the model lies on.
    """
    hasher = hashlib.blake2b(digest_size=16)
    hasher.update(str(model).encode())
    for source in sorted({_source(type(module)) for module in model.modules()}):
        hasher.update(source.encode())
    for name, tensor in model.state_dict().items():
        if not isinstance(tensor, torch.Tensor):  # extra state of some modules
            hasher.update(repr((name, tensor)).encode())
            continue
        hasher.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        hasher.update(_bytes(tensor))
    return hasher.hexdigest()


def model_record(name: str, model: nn.Module) -> ModelRecord:
    """What a stored result says of its model."""
    scheme = getattr(model, "scheme", None)
    return ModelRecord(
        name=name,
        fingerprint=fingerprint(model),
        scheme=describe(scheme) if scheme else None,
        weight_bits=scheme.weight_bits if scheme else 32,
        act_bits=scheme.act_bits if scheme else 32,
    )


def _bytes(tensor: torch.Tensor) -> memoryview:
    """The tensor's elements in C order as raw bytes, for any dtype (bfloat16 too)."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def _source(kind: type) -> str:
    name = f"{kind.__module__}.{kind.__qualname__}"
    if kind.__module__.split(".")[0] == "torch":
        return name
    try:
        return name + inspect.getsource(kind)
    except (OSError, TypeError):  # classes typed into a bare interpreter have no source
        return name
