"""From a float model and a scheme to a quantized copy.

Nothing is traced and no forward is rewritten. In a deep copy, the weight of each compute layer gets a
parametrization that rounds it onto its grid, and each layer gets a quantizer for its input, applied
just before the layer runs. So every model works that calls its layers (grouped, depthwise, `same`
padding, one ReLU used many times), state dicts round-trip, and copies are independent.
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bitproof.core.modes import device_of, evaluating
from bitproof.errors import InputError
from bitproof.quant.dorefa import DoReFaActivations, DoReFaWeights
from bitproof.quant.grid import AffineQuantizer, Codes
from bitproof.quant.ranges import RANGES, Histogram
from bitproof.quant.scheme import Scheme

COMPUTE_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Linear)
INPUT_QUANTIZER = "input_quantizer"


def quantize(model: nn.Module, scheme: Scheme, calibration: Iterable[Tensor] | None = None) -> nn.Module:
    """A quantized copy of `model`, in eval mode; the model itself is left as it is.

    Args:
        model: float model that maps images [n, c, h, w] in [0, 1] to logits [n, k]. Its Conv1d, Conv2d and
            Linear layers (and subclasses) are quantized: the weight, and the input of the layer.
        scheme: what to do with them.
        calibration: batches of images for the activation ranges; anything with an `inputs()` method that
            yields them, or an iterable of tensors. Read twice. Needed where `scheme.act_bits` is below 32
            and the method observes ranges ("affine").

    Returns:
        The copy, with the scheme as its attribute `scheme`.

    Raises:
        InputError: no compute layers, a model that is quantized already, weights that are not finite, no
            calibration where it is needed, or a layer that no calibration image reaches.
    """
    quantized = prepare(model, scheme)
    for _, layer in compute_layers(quantized):
        _set_weight_range(layer, scheme)
    observed = [(name, layer) for name, layer in compute_layers(quantized) if _observes(layer)]
    if observed:
        _calibrate(quantized, observed, scheme, _batches(calibration))
    return quantized


def prepare(model: nn.Module, scheme: Scheme) -> nn.Module:
    """The copy with its quantizers in place and their grids not yet set: what a checkpoint is loaded into."""
    if getattr(model, "scheme", None) is not None:
        raise InputError(
            f"the model is quantized already ({model.scheme.label})",  # pyright: ignore
            rule="quantization starts from a float model",
            remedy="Pass the float model it was made from",
        )
    quantized = copy.deepcopy(model).eval()
    layers = list(compute_layers(quantized))
    if not layers:
        raise InputError(
            f"{type(model).__name__} has no compute layers",
            rule="quantization acts on Conv1d, Conv2d and Linear layers",
            remedy="Pass a model that contains some",
        )
    for position, (name, layer) in enumerate(layers):
        if not torch.isfinite(layer.weight).all():
            raise InputError(
                f"the weight of {name!r} holds NaN or infinity",
                rule="only finite weights have a grid",
                remedy="Check the checkpoint this model was loaded from",
            )
        weight_bits, act_bits = _bits(scheme, edge=position in (0, len(layers) - 1))
        if weight_bits < 32:
            parametrize.register_parametrization(layer, "weight", _weight_quantizer(layer.weight, scheme, weight_bits))
        if act_bits < 32:
            layer.add_module(INPUT_QUANTIZER, _act_quantizer(scheme, act_bits).to(layer.weight.device))
            layer.register_forward_pre_hook(_quantize_input)
    quantized.scheme = scheme  # pyright: ignore
    return quantized


def freeze(model: nn.Module) -> nn.Module:
    """A copy for evaluation: eval mode, no weight gradients, and quantized weights computed once.

    The logits equal those of the model in eval mode bit for bit. Works on float models too.
    """
    frozen = copy.deepcopy(model).eval()
    with torch.no_grad():
        for module in list(frozen.modules()):
            if parametrize.is_parametrized(module):
                for name in list(module.parametrizations):  # pyright: ignore
                    parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    return frozen.requires_grad_(False)


def compute_layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Name and module of each layer that quantization acts on, in order of registration."""
    return ((name, module) for name, module in model.named_modules() if isinstance(module, COMPUTE_LAYERS))


def _bits(scheme: Scheme, *, edge: bool) -> tuple[int, int]:
    if not edge or scheme.first_last == "same":
        return scheme.weight_bits, scheme.act_bits
    if scheme.first_last == "float":
        return 32, 32
    return tuple(bits if bits == 32 else 8 for bits in (scheme.weight_bits, scheme.act_bits))  # type: ignore[return-value]


def _weight_quantizer(weight: Tensor, scheme: Scheme, bits: int) -> nn.Module:
    if scheme.method == "dorefa":
        return DoReFaWeights(bits)
    shape = (weight.shape[0], *[1] * (weight.dim() - 1)) if scheme.granularity == "channel" else ()
    codes = Codes.of(bits, symmetric=scheme.symmetric)
    return AffineQuantizer(codes, symmetric=scheme.symmetric, shape=shape).to(weight.device)


def _act_quantizer(scheme: Scheme, bits: int) -> nn.Module:
    if scheme.method == "dorefa":
        return DoReFaActivations(bits)
    return AffineQuantizer(Codes.of(bits, symmetric=scheme.act_symmetric), symmetric=scheme.act_symmetric)


def _quantize_input(layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return layer.get_submodule(INPUT_QUANTIZER)(args[0]), *args[1:]


def _observes(layer: nn.Module) -> bool:
    return isinstance(getattr(layer, INPUT_QUANTIZER, None), AffineQuantizer)


@torch.no_grad()
def _set_weight_range(layer: nn.Module, scheme: Scheme) -> None:
    if not parametrize.is_parametrized(layer, "weight"):
        return
    holder = layer.parametrizations["weight"]  # pyright: ignore
    quantizer = holder[-1]
    if isinstance(quantizer, AffineQuantizer):
        weight = holder.original
        for earlier in list(holder)[:-1]:  # the model's own parametrizations, e.g. weight norm
            weight = earlier(weight)
        rows = weight.flatten(1) if quantizer.scale.dim() else weight.reshape(1, -1)
        quantizer.set_range(*RANGES[scheme.weight_range][0](rows, scheme.percentile))


def _batches(calibration: Any) -> Callable[[], Iterable[Tensor]]:
    if calibration is None:
        raise InputError(
            "no calibration data",
            rule="activation ranges come from images that the model sees",
            remedy="Pass a few hundred training images as `calibration`, or use act_bits=32",
        )
    if hasattr(calibration, "inputs"):
        return calibration.inputs
    batches = list(calibration)
    return lambda: batches


@torch.no_grad()
def _calibrate(
    model: nn.Module, layers: list[tuple[str, Any]], scheme: Scheme, batches: Callable[[], Iterable[Tensor]]
) -> None:
    """Two passes of the float activations: first the extremes of each layer's input, then its histogram."""
    extremes: dict[str, tuple[float, float]] = {}
    histograms: dict[str, Histogram] = {}

    def see_extremes(name: str, x: Tensor) -> None:
        low, high = (v.item() for v in torch.aminmax(x))
        before = extremes.get(name, (low, high))
        extremes[name] = min(low, before[0]), max(high, before[1])

    _watch(model, layers, see_extremes, batches)
    for name, _ in layers:
        if name not in extremes:
            raise InputError(
                f"layer {name!r} was never called on the calibration data",
                rule="each layer with quantized inputs needs a range for them",
                remedy="Pass data that reaches it, or use act_bits=32",
            )
        if not all(abs(v) < float("inf") for v in extremes[name]):
            raise InputError(
                f"layer {name!r} received NaN or infinity on the calibration data",
                rule="only finite activations have a range",
                remedy="Check the calibration images and the model's weights",
            )
        histograms[name] = Histogram(*extremes[name])
    if scheme.act_range != "minmax":
        _watch(model, layers, lambda name, x: histograms[name].add(x), batches)
    for name, layer in layers:
        low, high = RANGES[scheme.act_range][1](histograms[name], scheme.percentile)
        getattr(layer, INPUT_QUANTIZER).set_range(torch.tensor(low), torch.tensor(high))


def _watch(
    model: nn.Module,
    layers: list[tuple[str, Any]],
    see: Callable[[str, Tensor], None],
    batches: Callable[[], Iterable[Tensor]],
) -> None:
    """Run all batches through the model as if it were float, showing `see` the input of each layer."""
    hooks = []
    weights = {}
    for name, layer in layers:
        hook = layer.register_forward_pre_hook(lambda _, args, name=name: see(name, args[0]), prepend=True)
        hooks.append(hook)
        del weights
        weights = {}
    try:
        with evaluating(model):
            for batch in batches():
                model(batch.to(device_of(model)))
    finally:
        for hook in hooks:
            hook.remove()
