"""A quantized model as a graph of ATen operators, in which the inputs of quantized layers are marked."""

import warnings
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.graph import CodeGen

from bitproof.core.calling import logits_in
from bitproof.errors import InputError
from bitproof.quant.attached import INPUT_QUANTIZER
from bitproof.quant.quantizer import InputQuantizer

aten = torch.ops.aten
NOTHING = (aten.alias.default, aten.clone.default, aten.detach.default, aten.dropout.default)
"""What does nothing to values in eval mode."""
VIEWS = (aten.view.default, aten._unsafe_view.default)
"""Reshapes that are right for the example's strides only: not for those of other batches, nor without the clones."""


@torch.library.custom_op("bitproof::layer_input", mutates_args=())
def _layer_input(x: Tensor, layer: str) -> Tensor:
    """Marks, in a captured graph, where a layer's input is quantized."""
    return x.clone()


@_layer_input.register_fake
def _(x: Tensor, layer: str) -> Tensor:
    return torch.empty_like(x)


MARK: Any = torch.ops.bitproof.layer_input.default


class _Marker(nn.Module):
    def __init__(self, layer: str) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return _layer_input(x, self.layer)


def mark(layer: nn.Module, name: str, quantizer: InputQuantizer | None) -> None:
    """Put a marker in the place of the input quantizer; behind it where its rounding is not that of a grid (signs)."""
    marker = _Marker(name)
    if quantizer is None:

        def before(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            x, *more = (*args, *named.values())  # a layer may be called by keyword
            return (marker(x), *more), {}

        layer.register_forward_pre_hook(before, with_kwargs=True)
        return
    layer.add_module(INPUT_QUANTIZER, marker if quantizer.nearest else nn.Sequential(quantizer, marker))


def capture(model: nn.Module, shape: tuple[int, ...]) -> fx.GraphModule:
    """The model as a graph of ATen operators, from images to logits, for any batch size. The model gets a hook."""
    model.register_forward_hook(lambda _, args, output: logits_in(output, args[0].shape[0]))
    example = torch.zeros(2, *shape)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch's, at itself
            exported = torch.export.export(model, (example,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
            module: Any = exported.run_decompositions({}).module()
    except InputError:
        raise
    except Exception as error:  # whatever the model does, torch has an exception for it
        raise InputError(
            f"{type(model).__name__} cannot be captured ({str(error).splitlines()[0]})",
            rule="its forward must be one that torch.export can follow for any batch size",
            remedy="Take out control flow that depends on values or on the batch size",
        ) from error
    if any(node.kwargs.get("dtype") in (torch.float16, torch.bfloat16) for node in module.graph.nodes):
        raise InputError(
            f"{type(model).__name__} computes in half precision, as autocast does",
            rule="its integer form has one type of floats, float32, around the integers",
            remedy="Take the autocast out of its forward",
        )
    for node in list(module.graph.nodes):
        if node.op == "call_module":  # a check that the input has the example's shape
            module.graph.erase_node(node)
        elif node.target in NOTHING:
            node.replace_all_uses_with(node.args[0])
        elif node.target in VIEWS:
            node.target = aten.reshape.default
    module.graph.set_codegen(CodeGen())  # plain arguments, in the place of nested ones
    output = module.graph.output_node()
    (output.args,) = output.args
    module.graph.eliminate_dead_code()
    return fx.GraphModule(module, module.graph)  # without the checks and specifications of what torch exported
