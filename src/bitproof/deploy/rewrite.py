"""Replacing the quantized layers of a captured model by integer ones."""

import copy
import math
import operator
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from bitproof.deploy.capture import MARK
from bitproof.deploy.grids import same_grid, stored
from bitproof.deploy.integer_layer import LINEAR, IntegerLayer
from bitproof.errors import InputError
from bitproof.quant.attached import INPUT_QUANTIZER
from bitproof.quant.codes import Codes
from bitproof.quant.grid import AffineQuantizer

aten = torch.ops.aten
CONVOLUTIONS = (aten.conv1d.default, aten.conv2d.default, aten.conv1d.padding, aten.conv2d.padding)
PADS = (aten.constant_pad_nd.default, aten.pad.default)
NORM = aten._native_batch_norm_legit_no_training.default
CLIPS: dict[Any, tuple[float | None, float | None]] = {
    aten.relu.default: (0.0, None),
    aten.relu6.default: (0.0, 6.0),
    aten.hardtanh.default: (-1.0, 1.0),
    aten.clamp.default: (None, None),
}
"""What clips, with the bounds where a call leaves them out."""
REARRANGE = (aten.reshape.default, aten.permute.default, aten.max_pool1d.default, aten.max_pool2d.default)
"""What moves or selects values, before or after they are rounded."""


class Rewriting:
    """A captured model while its layers are replaced.

    Args:
        module: with a marker before each quantized layer, and the layer's quantized weight as float values.
        weights: centred codes and scales by layer.
        grids: of the inputs by layer; None where the scheme leaves them float.
    """

    def __init__(
        self,
        module: fx.GraphModule,
        weights: dict[str, tuple[Tensor, Tensor]],
        grids: dict[str, AffineQuantizer | None],
    ) -> None:
        self.module = module
        self.graph = module.graph
        self.weights = weights
        self.inputs: dict[fx.Node, str] = {}
        for node in self.graph.find_nodes(op="call_function", target=MARK):
            self.inputs[self._behind_pads(node)] = str(node.args[1])
        called = set(self.inputs.values())  # not so: layers whose weights something else takes
        self.added = [f"{name}:input" for name, known in grids.items() if known is None and name in called]
        self.grids = {name: known or _eight_bits() for name, known in grids.items()}
        self.calls = {self._call(node): name for node, name in self.inputs.items()}
        called = set(self.calls.values())
        self.added = [f"{name}:input" for name, known in grids.items() if known is None and name in called]
        used = {str(node.target) for node in self.graph.find_nodes(op="get_attr")}
        self.floats = [name for name in weights if name not in called and f"{name}.weight" in used]
        self.tails = {call: _Tail.of(call) for call in self.calls}
        for node, name in self.inputs.items():
            quantizer = self.grids[name] if grids[name] else nn.Identity()
            self._call_module(node, f"{name}.{INPUT_QUANTIZER}", quantizer)

    def rewrite(self, batches: list[Tensor]) -> None:
        """Replace each quantized layer, and what it takes in, by an integer layer."""
        ranges = self._observe(batches)
        for node, name in self.inputs.items():
            if f"{name}:input" in self.added:
                self.grids[name].set_range(*ranges[node])
            self._call_module(node, f"{name}.{INPUT_QUANTIZER}", self.grids[name])
        layers = [self._replace(call, ranges) for call in self.calls]
        self.graph.eliminate_dead_code()  # which needs the old layers' weights to be there still
        calls: Counter[str] = Counter()
        for node, name, layer in layers:
            calls[name] += 1
            self._call_module(node, name if calls[name] == 1 else f"{name}_{calls[name]}", layer)
        self.graph.lint()
        self.module.delete_all_unused_submodules()
        self.module.recompile()

    def _replace(self, call: fx.Node, ranges: dict[fx.Node, tuple[Tensor, Tensor]]) -> tuple[fx.Node, str, nn.Module]:
        """Put a node in the place of the call and its tail; returns it with the name and layer it is going to call."""
        tail, name = self.tails[call], self.calls[call]
        end = tail.clipped
        readers = self._readers(end)
        if readers and all(grid and same_grid(readers[0], grid) for grid in readers):
            whole = readers[0]
        elif call.target is LINEAR:
            end, whole = tail.normalized, None
        else:
            whole = _eight_bits()
            whole.set_range(*ranges[end])
            self.added.append(f"{name}:output")
        layer = self._layer(call, name, None if whole is None else tail.narrowed(whole))
        with self.graph.inserting_after(call):
            made = self.graph.call_function(operator.pos, (call.args[0],))
        for reader in [user for user in end.users if user in self.inputs]:
            if whole is not None and same_grid(self.grids[self.inputs[reader]], whole):
                reader.replace_all_uses_with(made)
        end.replace_all_uses_with(made)
        return made, name, layer

    def _readers(self, node: fx.Node) -> list[Any]:
        """The grids onto which a node's values are rounded next, as they are or rearranged; None for other uses."""
        grids: list[Any] = []
        for user in node.users:
            if user in self.inputs:
                grids.append(self.grids[self.inputs[user]])
            else:
                grids += self._readers(user) if user.target in REARRANGE else [None]
        return grids

    def _layer(self, call: fx.Node, name: str, output: AffineQuantizer | None) -> IntegerLayer:
        codes, scale = self.weights[name]
        bias = self._value(call.args[2] if len(call.args) > 2 else None)
        if (norm := self.tails[call].norm) is not None:
            weight, shift, mean, variance = (self._value(node) for node in norm.args[1:5])
            gain = (1 if weight is None else weight.double()) / (variance.double() + norm.args[6]).sqrt()
            bias = (0 if shift is None else shift) + ((0 if bias is None else bias) - mean.double()) * gain
            codes = codes * gain.sign().int().view(-1, *[1] * (codes.dim() - 1))
            scale = torch.where(gain != 0, (scale * gain.abs()).float(), scale)
        fitted = stored(codes)
        if fitted is None:
            raise InputError(
                f"the weight of layer {name!r} has codes from {codes.min()} to {codes.max()} around zero",
                rule="integer kernels keep weights in 8 bits, with one zero point a tensor",
                remedy="Use symmetric=true, or fewer weight bits",
            )
        return IntegerLayer(
            call.target,
            call.args[3:],
            codes=fitted[0],
            zero_point=fitted[1],
            scale=scale,
            bias=None if bias is None else bias.float(),
            input_quantizer=self.grids[name],
            output_quantizer=output,
        )

    def _observe(self, batches: list[Tensor]) -> dict[fx.Node, tuple[Tensor, Tensor]]:
        """The smallest and the largest value, over all batches, of layers' inputs and outputs."""
        watched = [*self.inputs, *(tail.clipped for tail in self.tails.values())]
        output = self.graph.output_node()
        logits, output.args = output.args, (tuple(watched),)
        self.module.recompile()
        extremes = [torch.stack([torch.stack(torch.aminmax(x)) for x in self.module(batch)]) for batch in batches]
        output.args = logits
        low, high = torch.stack(extremes).unbind(2)
        return dict(zip(watched, zip(low.amin(0), high.amax(0), strict=True), strict=True))

    def _behind_pads(self, marker: fx.Node) -> fx.Node:
        """The marker, moved behind the padding that some layers do first: neither changes the other's result."""
        while len(marker.users) == 1 and (pad := next(iter(marker.users))).target in PADS:
            source = marker.args[0]
            pad.replace_input_with(marker, source)  # type: ignore[arg-type]
            with self.graph.inserting_after(pad):
                moved = self.graph.call_function(marker.target, (pad, marker.args[1]))  # type: ignore[arg-type]
            pad.replace_all_uses_with(moved, delete_user_cb=lambda user, moved=moved: user is not moved)
            self.graph.erase_node(marker)
            marker = moved
        return marker

    def _call(self, marker: fx.Node) -> fx.Node:
        """The call of the marked layer."""
        name = str(marker.args[1])
        call = next(iter(marker.users), marker)
        weight = call.args[1] if len(call.args) > 1 else None
        known = call.target in (*CONVOLUTIONS, LINEAR) and isinstance(weight, fx.Node)
        if len(marker.users) != 1 or not known or weight.target != f"{name}.weight":  # type: ignore[union-attr]
            raise InputError(
                f"layer {name!r} does more than multiply its input by its quantized weight",
                rule="integer kernels take weights and inputs as they were quantized",
                remedy="Replace it by a plain Conv1d, Conv2d or Linear before quantizing",
            )
        return call

    def _call_module(self, node: fx.Node, path: str, module: nn.Module) -> None:
        self.module.add_submodule(path, module)
        node.op, node.target, node.args = "call_module", path, node.args[:1]

    def _value(self, node: Any) -> Any:
        return None if node is None else operator.attrgetter(node.target)(self.module).detach()


@dataclass(frozen=True, kw_only=True)
class _Tail:
    """What follows a layer and becomes part of it: batch norm, and clipping.

    Attributes:
        norm: the batch norm, if any.
        normalized: the node with its result, or the layer itself.
        clipped: the last of the clipping nodes behind it, or `normalized`.
        low, high: the interval that they leave.
    """

    norm: Any
    normalized: Any
    clipped: Any
    low: float
    high: float

    @staticmethod
    def of(call: fx.Node) -> "_Tail":
        norm, node = None, call
        follower = _only_user(call)
        channels_last = call.target is LINEAR and call.meta["val"].dim() > 2
        if follower is not None and follower.target is NORM and not channels_last:
            norm, node = follower, next(iter(follower.users))
        normalized, low, high = node, -math.inf, math.inf
        while (follower := _only_user(node)) is not None and (bounds := _bounds(follower)) is not None:
            node, low, high = follower, *(min(max(v, bounds[0]), bounds[1]) for v in (low, high))
        return _Tail(norm=norm, normalized=normalized, clipped=node, low=low, high=high)

    def narrowed(self, grid: AffineQuantizer) -> AffineQuantizer:
        """The grid without the codes that the clipping leaves unused: rounding and clipping may change places."""

        def code(value: float) -> int:
            return int((value / grid.scale + grid.zero_point).round().clamp(grid.codes.qmin, grid.codes.qmax))

        narrowed = copy.deepcopy(grid)
        narrowed.codes = Codes(qmin=code(self.low), qmax=code(self.high))
        return narrowed


def _only_user(node: Any) -> Any:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _bounds(node: Any) -> tuple[float, float] | None:
    """The interval to which a node clips its input; None for any other node."""
    if node.target not in CLIPS:
        return None
    low, high = (*node.args[1:], *CLIPS[node.target][len(node.args) - 1 :])
    if isinstance(low, fx.Node) or isinstance(high, fx.Node):
        return None
    return (-math.inf if low is None else low), (math.inf if high is None else high)


def _eight_bits() -> AffineQuantizer:
    return AffineQuantizer(Codes.of(8, symmetric=False), symmetric=False)
