"""What the layers of a model are given: of a module by hooks, of an ONNX session by further outputs.

Inputs of layers are compared, not outputs: a batch norm that is folded, or an activation that is fused, lies between
two layers, and so leaves the same inputs. Codes are read as codes and scaled here, so that ONNX Runtime fuses as ever.
"""

from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.core.calling import answer, plain_context
from bitproof.deploy.bits import ON_CODES
from bitproof.deploy.graph import Operation
from bitproof.deploy.integer_layer import IntegerLayer
from bitproof.deploy.integer_operators import dequantize
from bitproof.deploy.runtime import OnnxModel, open_session
from bitproof.quant.attached import COMPUTE_LAYERS

_FLOAT = ("Conv", "Gemm", "MatMul")
Given = tuple[str, Float[Tensor, "n ..."]]
"""A layer's name, and what it was given."""


@plain_context()
@torch.no_grad()
def layer_inputs(model: nn.Module, images: Float[Tensor, "n c h w"]) -> tuple[list[Given], Float[Tensor, "n k"]]:
    """What each layer with a weight is given, in the order of calls, and the logits.

    A session inside a wrapper is looked into. Layers of sessions have the names of their weights.
    """
    given: list[Given] = []
    hooks = []
    for name, part in model.named_modules():
        if isinstance(part, OnnxModel):
            hooks.append(part.register_forward_hook(partial(_note_session, given)))
        elif isinstance(part, (*COMPUTE_LAYERS, IntegerLayer)):
            hooks.append(part.register_forward_hook(partial(_note, given, name)))
        elif isinstance(part, Operation) and part.operator in (*_FLOAT, *ON_CODES):
            hooks.append(part.register_forward_hook(partial(_note_operation, given, name)))
    try:
        logits = answer(model, images).cpu()
    finally:
        for hook in hooks:
            hook.remove()
    return given, logits


def _note(given: list[Given], name: str, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
    given.append((name, args[0].detach().cpu()))


def _note_session(given: list[Given], session: nn.Module, args: tuple[Any, ...], output: Any) -> None:
    assert isinstance(session, OnnxModel)
    given.extend(_tapped(session, args[0]))


def _note_operation(given: list[Given], name: str, step: Operation, args: tuple[Any, ...], output: Any) -> None:
    x = args[0].detach()
    if step.operator in ON_CODES and ON_CODES[step.operator] == 3:
        x = dequantize(x, step.get_buffer("constant_1"), step.get_buffer("constant_2"))
    elif step.operator in ON_CODES:
        return  # codes whose scale is found while it runs
    elif not step.operator.startswith("Q") and step.places[1:2] == [True]:
        return  # a product of two computed tensors, as in attention, is no layer with a weight
    given.append((name, x.cpu()))


def _tapped(session: OnnxModel, images: Tensor) -> list[Given]:
    """The same of a session: its graph with the layers' inputs as further outputs."""
    import onnx

    proto = onnx.load_from_string(session.file.numpy().tobytes())
    makers = {name: node for node in proto.graph.node for name in node.output}
    constants = {t.name: torch.from_numpy(onnx.numpy_helper.to_array(t).copy()) for t in proto.graph.initializer}
    known = {o.name for o in proto.graph.output}
    taps: list[tuple[str, str, tuple[Tensor, Tensor | None] | None]] = []
    for node in proto.graph.node:
        if node.op_type not in (*_FLOAT, *ON_CODES):
            continue
        weight = node.input[ON_CODES.get(node.op_type, 1)]
        if (stored := makers.get(weight)) is not None and stored.op_type == "DequantizeLinear":
            weight = stored.input[0]
        if weight not in constants:
            continue
        x, grid = node.input[0], None
        if ON_CODES.get(node.op_type) == 3:
            grid = node.input[1:3]
        elif (before := makers.get(x)) is not None and before.op_type == "DequantizeLinear":
            x, grid = before.input[0], before.input[1:3]
        elif before is not None and before.op_type == "DynamicQuantizeLinear":
            x = before.input[0]
        if grid is not None and any(name not in constants for name in grid):
            continue
        scale = None if grid is None else (constants[grid[0]], constants[grid[1]] if len(grid) > 1 else None)
        taps.append((_short(weight), x, scale))
    for _, x, _ in taps:
        if x not in known and x in makers:
            known.add(x)
            proto.graph.output.append(onnx.ValueInfoProto(name=x))
    opened = open_session(proto.SerializeToString())
    wanted = list(dict.fromkeys(x for _, x, _ in taps if x in makers))
    found: dict[str, list[Tensor]] = {name: [] for name in wanted}
    for given, count in session.batches(images):
        for name, values in zip(wanted, opened.run(wanted, {session.input: given}), strict=True):
            found[name].append(torch.from_numpy(values)[:count])
        if any(x == session.input for _, x, _ in taps):
            found.setdefault(session.input, []).append(torch.from_numpy(given)[:count])
    values = {name: torch.cat(parts) for name, parts in found.items() if parts}
    return [
        (name, values[x].float() if grid is None else dequantize(values[x], *grid))
        for name, x, grid in taps
        if x in values
    ]


def _short(weight: str) -> str:
    """A layer's name from that of its weight."""
    for end in ("_quantized", ".codes", ".weight"):
        weight = weight.removesuffix(end)
    return weight
