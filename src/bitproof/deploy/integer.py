"""The integer form of a quantized model: what an integer runtime will compute, as a model that can be tested.

A fake-quantized model computes with floats that lie on grids. Integer kernels compute with the codes, and three
things differ (Jacob et al. 2018, Section 2):

    batch norm    is folded into the layer before it: its gain into the scale of each output channel (a negative one
                  flips the codes), its offset into the bias
    bias          an integer, a multiple of input scale * weight scale
    output        codes again, so each convolution rounds its output onto a grid: the grid of the layers that read it
                  where those are its only readers and agree, else one more grid of 8 bits, set on calibration images

`integer_form` makes these changes on the captured graph. Its layers then add up codes, which is exact in float32 as
long as sums stay below 2^24, and rescale them as ONNX Runtime does, operation by operation: so both agree bit for bit.
"""

import copy
import math
import operator
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, fx, nn

from bitproof.core.ste import round_ste
from bitproof.deploy.grids import input_grid, is_quantized, same_grid, stored, weight_codes
from bitproof.errors import InputError
from bitproof.quant import Scheme, freeze
from bitproof.quant.binarynet import SignActivations
from bitproof.quant.convert import INPUT_QUANTIZER, Images, assigned
from bitproof.quant.grid import AffineQuantizer, Codes, fake_quantize
from bitproof.settings import digest

LARGEST_BIAS = 2**30

aten = torch.ops.aten
CONVOLUTIONS = (aten.conv1d.default, aten.conv2d.default, aten.conv1d.padding, aten.conv2d.padding)
LINEAR = aten.linear.default
PADS = (aten.constant_pad_nd.default, aten.pad.default)
CLIPS: dict[Any, tuple[float | None, float | None]] = {
    aten.relu.default: (0.0, None),
    aten.relu6.default: (0.0, 6.0),
    aten.hardtanh.default: (-1.0, 1.0),
    aten.clamp.default: (None, None),
}
"""What clips, with the bounds where a call leaves them out."""
REARRANGE = (aten.reshape.default, aten.permute.default, aten.max_pool1d.default, aten.max_pool2d.default)
"""What moves or selects values, before or after they are rounded."""
NORM = aten._native_batch_norm_legit_no_training.default
NOTHING = (aten.alias.default, aten.clone.default, aten.detach.default, aten.dropout.default)
"""What does nothing to values in eval mode."""


class IntegerLayer(nn.Module):
    """A convolution or linear layer that computes on codes.

    Args:
        apply: the operator of ATen, called with input, weight, bias and `arguments`.
        codes: int8 codes of the weight [out, ...], `zero_point` of which stands for zero.
        scale: of the weight, by output channel [out].
        bias: in the units of the output [out], or None; becomes int32 codes of input scale * weight scale.
        input_quantizer: the grid of the input, which is on it already.
        output_quantizer: the grid of the output; None leaves sums in float.
    """

    codes: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(
        self,
        apply: Any,
        arguments: tuple[Any, ...],
        *,
        codes: Int[Tensor, "out ..."],
        zero_point: int,
        scale: Float[Tensor, " out"],
        bias: Float[Tensor, " out"] | None,
        input_quantizer: AffineQuantizer,
        output_quantizer: AffineQuantizer | None,
    ) -> None:
        super().__init__()
        self.apply_to = apply
        self.arguments = arguments
        self.zero_point = zero_point
        self.input_quantizer = input_quantizer
        self.output_quantizer = output_quantizer
        if bias is not None:  # a channel of almost no gain gets a coarser unit, in which its weights are nothing
            fine = bias.abs() <= LARGEST_BIAS * (input_quantizer.scale * scale)
            scale = torch.where(fine, scale, bias.abs() / LARGEST_BIAS / input_quantizer.scale)
            codes = torch.where(fine.view(-1, *[1] * (codes.dim() - 1)), codes, zero_point).to(torch.int8)
            bias = (bias.double() / (input_quantizer.scale * scale)).round().int()
        self.register_buffer("codes", codes)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", bias)

    @property
    def linear(self) -> bool:
        return self.apply_to is LINEAR

    @property
    def unit(self) -> Float[Tensor, " out"]:
        """What one step of each channel's sum stands for."""
        return self.input_quantizer.scale * self.scale

    def forward(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        codes = round_ste(x / self.input_quantizer.scale)
        sums = self.apply_to(codes, self.codes.float() - self.zero_point, None, *self.arguments)
        if self.bias is not None:  # added in double, and rounded once, as a sum of int32 is
            sums = (sums + self._along(self.bias.double())).float()
        to = self.output_quantizer
        if to is None:
            return sums * self._along(self.unit)
        ratio = self._along(self.unit / to.scale)
        return fake_quantize(sums * ratio, torch.ones_like(to.scale), to.zero_point, to.codes) * to.scale

    def _along(self, values: Tensor) -> Tensor:
        """Values by output channel, for broadcasting against the output: [..., out] of linear layers."""
        return values.view(-1, *[1] * (self.codes.dim() - 2))

    def extra_repr(self) -> str:
        return f"{self.apply_to}, {self.arguments}, zero_point={self.zero_point}"


class IntegerForm(nn.Module):
    """A model whose quantized layers compute on codes; see `integer_form`, which makes it.

    Attributes:
        graph: the captured model; its integer layers have the names they had there.
        scheme: how it was quantized.
        shape: (channels, height, width) of its images.
        added: names of the layers that got one more 8-bit grid, ":input" or ":output".
    """

    def __init__(
        self, graph: fx.GraphModule, scheme: Scheme, shape: tuple[int, int, int], added: tuple[str, ...]
    ) -> None:
        super().__init__()
        self.graph = graph
        self.scheme = scheme
        self.shape = shape
        self.added = added

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        return self.graph(images)

    def layers(self) -> dict[str, IntegerLayer]:
        """The integer layers by name."""
        return {name: module for name, module in self.graph.named_modules() if isinstance(module, IntegerLayer)}

    @property
    def step(self) -> float:
        """The smallest difference of two logits, where the last layer is an integer one."""
        last = list(self.layers().values())[-1]
        return float(last.unit.min() if last.output_quantizer is None else last.output_quantizer.scale)

    def extra_repr(self) -> str:
        return f"shape={self.shape}, graph={digest(self.graph.code)}"


@torch.library.custom_op("bitproof::layer_input", mutates_args=())
def _layer_input(x: Tensor, layer: str) -> Tensor:
    """Marks, in a captured graph, where a layer's input is quantized."""
    return x.clone()


@_layer_input.register_fake
def _(x: Tensor, layer: str) -> Tensor:
    return torch.empty_like(x)


class _Marker(nn.Module):
    def __init__(self, layer: str) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return _layer_input(x, self.layer)


@torch.no_grad()
def integer_form(model: nn.Module, calibration: Images | Iterable[Tensor]) -> IntegerForm:
    """The model that integer kernels can compute, made from a fake-quantized one, which is left as it is.

    Args:
        model: what `quantize` returned (trained further or not).
        calibration: batches of images, as for `quantize`: they tell the shape of the images, and the range of
            each tensor that gets a further 8-bit grid (from its smallest to its largest value). Layers whose
            inputs the scheme leaves float get such a grid too.

    Returns:
        A module on the CPU, whose quantized layers are `IntegerLayer`s.

    Raises:
        InputError: a model that is not quantized, a method with no integer form, weights that do not fit into
            8 bits with one zero point, or a model that cannot be captured.
    """
    scheme = _scheme(model)
    batches = calibration.inputs() if isinstance(calibration, Images) else calibration
    batches = [batch.cpu() for batch in batches]
    if not batches:
        raise InputError(
            "no calibration data",
            rule="images tell the shape and the ranges of the integer form",
            remedy="Pass a few hundred training images as `calibration`",
        )
    shape = tuple(batches[0].shape[1:])
    weights: dict[str, tuple[Tensor, Tensor]] = {}
    grids: dict[str, AffineQuantizer | None] = {}
    marked = freeze(model).cpu()
    for name, layer, here in assigned(model, scheme):
        if is_quantized(layer):
            weights[name] = weight_codes(name, layer)
            quantizer = layer.get_submodule(INPUT_QUANTIZER) if here.act_bits < 32 else None
            grids[name] = None if quantizer is None else input_grid(name, quantizer)
            _mark(marked.get_submodule(name), name, quantizer)
        elif here.act_bits < 32:
            raise InputError(
                f"layer {name!r} has float weights",
                rule="a layer with quantized inputs runs on integers only if its weights are quantized too",
                remedy="Use weight_bits of 8 or below",
            )
    graph = _Graph(_capture(marked, shape), weights, grids)
    graph.rewrite(batches)
    return IntegerForm(graph.module, scheme, shape, tuple(graph.added))  # type: ignore[arg-type]


def _scheme(model: nn.Module) -> Scheme:
    scheme = getattr(model, "scheme", None)
    if scheme is None or isinstance(model, IntegerForm):
        raise InputError(
            "the model is in integer form already" if scheme else "the model is not quantized",
            rule="the integer form is made from a fake-quantized model",
            remedy="Pass what `quantize` returned",
        )
    return scheme


def _mark(layer: nn.Module, name: str, quantizer: nn.Module | None) -> None:
    """Put a marker in the place of the input quantizer; behind it where its rounding is not that of a grid (signs)."""
    marker = _Marker(name)
    if quantizer is None:
        layer.register_forward_pre_hook(lambda _, args: (marker(args[0]), *args[1:]))
        return
    rounds_elsewhere = isinstance(quantizer, SignActivations)
    layer.add_module(INPUT_QUANTIZER, nn.Sequential(quantizer, marker) if rounds_elsewhere else marker)


def _capture(model: nn.Module, shape: tuple[int, ...]) -> fx.GraphModule:
    """The model as a graph of ATen operators, for any batch size."""
    example = torch.zeros(2, *shape)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch's, at itself
            exported = torch.export.export(model, (example,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
            module: Any = exported.run_decompositions({}).module()
    except Exception as error:  # whatever the model does, torch has an exception for it
        raise InputError(
            f"{type(model).__name__} cannot be captured ({str(error).splitlines()[0]})",
            rule="its forward must be one that torch.export can follow for any batch size",
            remedy="Take out control flow that depends on values or on the batch size",
        ) from error
    for node in list(module.graph.nodes):
        if node.op == "call_module":  # a check that the input has the example's shape
            module.graph.erase_node(node)
        elif node.target in NOTHING:
            node.replace_all_uses_with(node.args[0])
        elif node.target is aten.view.default:  # right for the example's strides, not for others'
            node.target = aten.reshape.default
    module.graph.set_codegen(fx.graph.CodeGen())  # plain arguments, in the place of nested ones
    output = module.graph.output_node()
    (output.args,) = output.args
    module.graph.eliminate_dead_code()
    return fx.GraphModule(module, module.graph)  # without the checks and specifications of what torch exported


class _Graph:
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
        self.added = [f"{name}:input" for name, known in grids.items() if known is None]
        self.inputs: dict[fx.Node, str] = {}
        for node in self.graph.find_nodes(op="call_function", target=torch.ops.bitproof.layer_input.default):
            self.inputs[self._behind_pads(node)] = str(node.args[1])
        self.grids = {name: known or _eight_bits() for name, known in grids.items()}
        self.calls = {self._call(node): name for node, name in self.inputs.items()}
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

    def _readers(self, node: fx.Node) -> list[AffineQuantizer | None]:
        """The grids onto which a node's values are rounded next, as they are or rearranged; None for other uses."""
        grids: list[AffineQuantizer | None] = []
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
            assert mean is not None and variance is not None
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
        weight = call.args[1]
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

    def _value(self, node: Any) -> Tensor | None:
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

    norm: fx.Node | None
    normalized: fx.Node
    clipped: fx.Node
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


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _bounds(node: fx.Node) -> tuple[float, float] | None:
    """The interval to which a node clips its input; None for any other node."""
    if node.target not in CLIPS:
        return None
    low, high = (*node.args[1:], *CLIPS[node.target][len(node.args) - 1 :])
    if isinstance(low, fx.Node) or isinstance(high, fx.Node):
        return None
    return (-math.inf if low is None else low), (math.inf if high is None else high)


def _eight_bits() -> AffineQuantizer:
    return AffineQuantizer(Codes.of(8, symmetric=False), symmetric=False)
