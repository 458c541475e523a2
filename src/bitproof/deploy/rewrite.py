"""Replacing the quantized layers of a captured model, and the sums and means of what they make, by integer ones."""

import operator
from collections import Counter
from typing import Any

import torch
from torch import Tensor, fx, nn

from bitproof.deploy.capture import MARK
from bitproof.deploy.flow import PADS, Flow
from bitproof.deploy.grids import same_grid, stored
from bitproof.deploy.integer_layer import LINEAR, IntegerLayer
from bitproof.deploy.integer_sum import IntegerMean, IntegerSum
from bitproof.deploy.tails import SUM
from bitproof.errors import InputError
from bitproof.quant.attached import INPUT_QUANTIZER
from bitproof.quant.codes import Codes
from bitproof.quant.grid import AffineQuantizer

aten = torch.ops.aten
CONVOLUTIONS = (aten.conv1d.default, aten.conv2d.default, aten.conv1d.padding, aten.conv2d.padding)
_TOP = 255
"""The largest code of 8 bits."""


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
        self.flow = Flow(self.graph, self.calls, self.inputs)
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
        made: dict[fx.Node, Any] = {maker: self._made(maker, ranges) for maker in (*self.calls, *self.flow.sources)}
        layers = [self._replace(call, made[call]) for call in self.calls]
        for node, sources in self.flow.sources.items():
            self._add_up(node, [made[source] for source in sources], made[node])
        self.graph.eliminate_dead_code()  # which needs the old layers' weights to be there still
        calls: Counter[str] = Counter()
        for node, name, layer in layers:
            calls[name] += 1
            self._call_module(node, name if calls[name] == 1 else f"{name}_{calls[name]}", layer)
        self.graph.lint()
        self.module.delete_all_unused_submodules()
        self.module.recompile()

    def _made(self, maker: fx.Node, ranges: dict[fx.Node, tuple[Tensor, Tensor]]) -> AffineQuantizer | None:
        """The grid of what a layer, a sum or a mean makes; None for sums of a linear layer that stay float."""
        readers = self.flow.readers(maker)
        grids = [self.grids[self.inputs[node]] for node in readers if node in self.inputs]
        adding = len(grids) < sum(node is not None for node in readers)
        if grids and None not in readers and all(same_grid(grids[0], grid) for grid in grids):
            if not adding or grids[0].codes.qmax == _TOP:  # a sum of codes of few bits would lose what float keeps
                return grids[0]
        elif maker.target is LINEAR and not adding:
            return None
        grid = _eight_bits()
        grid.set_range(*ranges[self.flow.tails[maker].clipped])
        self.added.append(f"{self.calls.get(maker, maker.name)}:output")
        return grid

    def _replace(self, call: fx.Node, whole: AffineQuantizer | None) -> tuple[fx.Node, str, nn.Module]:
        """Put a node in the place of the call and its tail; returns it with the name and layer it is going to call."""
        tail, name = self.flow.tails[call], self.calls[call]
        layer = self._layer(call, name, None if whole is None else tail.narrowed(whole))
        with self.graph.inserting_after(call):
            made = self.graph.call_function(operator.pos, (call.args[0],))
        self._take_over(made, tail.normalized if whole is None else tail.clipped, whole)
        return made, name, layer

    def _add_up(self, node: fx.Node, sources: list[AffineQuantizer], whole: AffineQuantizer) -> None:
        """Put a sum or a mean of codes in the place of one of floats and its tail."""
        tail = self.flow.tails[node]
        to = tail.narrowed(whole)
        if node.target is SUM:
            adding: nn.Module = IntegerSum(tuple(sources), to)  # type: ignore[arg-type]
        else:
            adding = IntegerMean(sources[0], to, keepdim=node.meta["val"].dim() == 4)
        with self.graph.inserting_after(node):
            made = self.graph.call_function(operator.pos, tuple(node.all_input_nodes))
        self._take_over(made, tail.clipped, whole)
        self._call_module(made, f"integer_sums.{node.name}", adding)

    def _take_over(self, made: fx.Node, end: fx.Node, whole: AffineQuantizer | None) -> None:
        """Let those who read `end` read what is made now; who would round it onto the grid that it is on, does not."""
        for reader in [user for user in end.users if user in self.inputs]:
            if whole is not None and same_grid(self.grids[self.inputs[reader]], whole):
                reader.replace_all_uses_with(made)
        end.replace_all_uses_with(made)

    def _layer(self, call: fx.Node, name: str, output: AffineQuantizer | None) -> IntegerLayer:
        codes, scale = self.weights[name]
        bias = self._value(call.args[2] if len(call.args) > 2 else None)
        if (norm := self.flow.tails[call].norm) is not None:
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
        watched = [*self.inputs, *(tail.clipped for tail in self.flow.tails.values())]
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
        node.op, node.target = "call_module", path
        node.args = tuple(value for value in node.args if isinstance(value, fx.Node))

    def _value(self, node: Any) -> Any:
        return None if node is None else operator.attrgetter(node.target)(self.module).detach()


def _eight_bits() -> AffineQuantizer:
    return AffineQuantizer(Codes(qmin=0, qmax=_TOP), symmetric=False)
