"""The parts of a model that are reconstructed one after the other."""

from typing import Any

from torch import nn

from bitproof.errors import InputError
from bitproof.quant.attached import COMPUTE_LAYERS, compute_layers


def layers_of(model: nn.Module) -> list[str]:
    """Names of all compute layers: AdaRound's units."""
    return [name for name, _ in compute_layers(model)]


def blocks_of(model: nn.Module) -> list[str]:
    """Names of the model's blocks, and of the compute layers outside of them: BRECQ's units.

    A block is an entry of an nn.Sequential (or a subclass) that is itself none, and holds at least two compute
    layers but not all of the model's. Of nested ones the outermost counts. These are the residual blocks of
    ResNets and MobileNets here, in torchvision and in timm, and the blocks of timm's transformers.

    Example:
        >>> from bitproof.models import build_model
        >>> [name.removeprefix("backbone.") for name in blocks_of(build_model("resnet20"))][:3]
        ['conv1', 'layer1.0', 'layer1.1']
    """
    return _units(model, "", False, len(list(compute_layers(model))))


def _units(module: nn.Module, name: str, in_sequence: bool, total: int) -> list[str]:
    if isinstance(module, COMPUTE_LAYERS):
        return [name]
    sequence = isinstance(module, nn.Sequential)
    if in_sequence and not sequence and 2 <= len(list(compute_layers(module))) < total:
        return [name]
    below = ((f"{name}.{child}" if name else child, part) for child, part in module.named_children())
    return [unit for path, part in below for unit in _units(part, path, sequence, total)]


def with_named_blocks(model: nn.Module, blocks: tuple[str, ...]) -> list[str]:
    """The given blocks, and the compute layers outside of them.

    Raises:
        InputError: a name that no module of the model has, or a module without compute layers.
    """
    modules: dict[str, Any] = dict(model.named_modules())
    for name in blocks:
        if name not in modules or not list(compute_layers(modules[name])):
            raise InputError(
                f"block {name!r}",
                rule="a block is a module of the model that holds compute layers",
                remedy=f"Its own blocks are {', '.join(blocks_of(model))}",
            )
    outside = [n for n in layers_of(model) if not any(n == b or n.startswith(f"{b}.") for b in blocks)]
    return [*blocks, *outside]
