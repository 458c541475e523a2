"""From a float model and a scheme to a quantized copy.

Nothing is traced and no forward is rewritten. In a deep copy, the weight of each compute layer gets a
parametrization that rounds it onto its grid, and each layer gets a quantizer for its input, applied
just before the layer runs. So every model works that calls its layers (grouped, depthwise, `same`
padding, one ReLU used many times), state dicts round-trip, and copies are independent.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.utils import parametrize

from bitproof.core.calling import answer, device_of, plain_context, unwrapped
from bitproof.core.copying import copied, moved
from bitproof.errors import InputError
from bitproof.quant.attached import GRADIENT_QUANTIZER, INPUT_QUANTIZER, compute_layers, unquantized
from bitproof.quant.calibration import Calibration, batches_of
from bitproof.quant.draws import shift_draws
from bitproof.quant.layer import LayerScheme
from bitproof.quant.ranges import Histogram
from bitproof.quant.roles import Roles, roles_of, seen_roles
from bitproof.quant.scheme import Scheme, as_scheme
from bitproof.quant.settling import settle
from bitproof.quant.structure import note_step
from bitproof.subjects.reach import parts

LOST = 2.0
"""How many times larger or smaller a layer's weights become before what the network computes is said to be lost."""


@plain_context()
def quantize(
    model: nn.Module,
    scheme: Scheme | str,
    calibration: Calibration = None,
    *,
    seed: int = 0,
    device: str | None = None,
) -> nn.Module:
    """A quantized copy of `model`, in eval mode; the model itself is left as it is.

    Args:
        model: float model that maps images [n, c, h, w] in [0, 1] to logits [n, k]. Its Conv1d, Conv2d and
            Linear layers (and subclasses) are quantized: the weight, and the input of the layer.
        scheme: what to do with them; a `Scheme`, or its text, such as "w4a4" or "lsq:w4a4,last=float".
        calibration: images for the activation ranges, in any form that `bitproof.quant.calibration` takes: data, a
            tensor or array, batches of these, a `DataLoader` with labels. Needed where `scheme.needs_calibration`.
            They also show which layers are first and last and which are never called; without any, the order of
            registration decides. The input of a layer that is never called stays float.
        seed: of quantizers that draw in training, such as stochastic ones, should the copy be trained by a loop of your
            own; quantizing itself draws nothing.
        device: where to, and on what calibration images are run: "cpu", "cuda", "cuda:1", "mps", "auto"; None = where
            the model is.

    Returns:
        The copy, with the scheme as its attribute `scheme`.

    Warns:
        UserWarning: the method gives weights another scale, and nothing in the network takes it back.

    Raises:
        InputError: no compute layers, a rule that matches none, a model that is quantized already, weights that are not
            finite or not float32, no calibration where it is needed or one that cannot be right, or a layer that
            calibration images do not activate.
    """
    model, scheme = moved(unwrapped(model), device), as_scheme(scheme)
    _check_layers(model)
    batches = batches_of(calibration) if calibration is not None or scheme.needs_calibration else None
    quantized = prepare(model, scheme, seen_roles(model, next(batches())[:2]) if batches else None)
    observing = {name: (layer, here) for name, layer, here in assigned(quantized, scheme) if here.observes}
    if observing and batches:
        histograms = observe_inputs(model, list(observing), batches)
        for name, (layer, here) in observing.items():
            quantizer = here.method.inputs(here.act_bits, histograms[name])
            layer.add_module(INPUT_QUANTIZER, quantizer.to(device_of(layer)).eval())
    shift_draws(quantized, seed)
    if found := _rescaled(quantized, scheme):
        warnings.warn(found, stacklevel=3)
    return quantized


def prepare(model: nn.Module, scheme: Scheme, roles: Roles | None = None) -> nn.Module:
    """The copy with its quantizers in place and its activation ranges not yet set: what a checkpoint is loaded into.

    Args:
        model, scheme: as for `quantize`.
        roles: of the layers, as a run has shown them; None = those that the model says of itself.
    """
    quantized = settle(copied(unwrapped(model)).eval())
    _check_layers(quantized)
    if found := [scheme for _, _, scheme in quantized_parts(quantized, hidden=True)]:
        raise InputError(
            f"the model is quantized already ({found[0].label})",
            rule="quantization starts from a float model",
            remedy="Start from the float model that it was made from: pass it, or its file as --weights",
        )
    if roles is not None and roles != roles_of(quantized):
        note_step(quantized, roles)
    for name, layer, here in list(assigned(quantized, scheme)):
        if layer.weight.dtype != torch.float32:
            raise InputError(
                f"the weight of {name!r} is of type {layer.weight.dtype}",
                rule="grids are set and simulated in float32",
                remedy="Pass model.float(), or weights that are stored in float32",
            )
        if not torch.isfinite(layer.weight).all():
            raise InputError(
                f"the weight of {name!r} holds NaN or infinity",
                rule="only finite weights have a grid",
                remedy="Check the checkpoint this model was loaded from",
            )
        weight = layer.weight.detach()
        if here.weight_bits < 32:
            parametrize.register_parametrization(layer, "weight", here.method.weights(weight, here.weight_bits))
        if here.act_bits < 32:
            layer.add_module(INPUT_QUANTIZER, here.method.inputs(here.act_bits).to(weight.device))
            layer.register_forward_pre_hook(_quantize_input, with_kwargs=True)
        if here.grad_bits < 32:
            layer.add_module(GRADIENT_QUANTIZER, here.method.gradients(weight, here.grad_bits))
            layer.register_forward_hook(_quantize_gradient)
    quantized.scheme = scheme  # pyright: ignore
    return quantized.eval()  # the quantizers too


def _check_layers(model: nn.Module) -> None:
    """Refuse a model without compute layers.

    Raises:
        InputError: such a model.
    """
    if next(compute_layers(model), None) is None:
        raise InputError(
            f"{type(model).__name__} has no compute layers",
            rule="quantization acts on Conv1d, Conv2d and Linear layers",
            remedy="Pass a module that contains some, and of a scripted or exported one what it was made from",
        )


@torch.no_grad()
def _rescaled(model: nn.Module, scheme: Scheme) -> str | None:
    """What to say of weights that are far larger or smaller than before in a network that does not normalise.

    DoReFa, PACT, BinaryConnect and BinaryNet put weights on fixed levels up to 1 and rely on the BatchNorm behind.
    """
    if any(isinstance(module, _NormBase | nn.GroupNorm | nn.LayerNorm) for module in model.modules()):
        return None
    layers = {name: layer for name, layer, here in assigned(model, scheme) if here.weight_bits < 32}
    with unquantized(model):  # what a hook computes (`settling`) the float model itself may not have yet
        before = {name: layer.weight.norm() for name, layer in layers.items()}
    tiny = torch.finfo(torch.float32).tiny
    times = {name: (layer.weight.norm() / before[name].clamp(min=tiny)).item() for name, layer in layers.items()}
    changed = {name: by for name, by in times.items() if by and not 1 / LOST < by < LOST}
    if not changed:
        return None
    worst = max(changed, key=lambda name: abs(math.log(changed[name])))
    return (
        f"{scheme.label} changes the size of the weights of {len(changed)} of {len(times)} layers (of {worst!r} by a "
        f"factor of {changed[worst]:.2g}), and no normalisation in the network takes that back: what it has learned is "
        "lost. Use a method that keeps the scale of weights (affine, lsq, pwlq), or a network with BatchNorm."
    )


def freeze(model: nn.Module) -> nn.Module:
    """A copy for evaluation: eval mode, no weight gradients, and quantized weights computed once.

    The logits equal those of the model in eval mode bit for bit. Works on float models too.
    """
    frozen = copied(model).eval()
    for module in list(frozen.modules()):
        if parametrize.is_parametrized(module):
            # Not remove_parametrizations: it edits the class, which the copy shares with the original.
            names = list(module.parametrizations)  # pyright: ignore
            values = {name: getattr(module, name).detach() for name in names}
            module.__class__ = parametrize.type_before_parametrizations(module)
            del module.parametrizations
            for name, value in values.items():
                module.register_parameter(name, nn.Parameter(value))
    for parameter in frozen.parameters():  # one by one, as scripted modules refuse it as a whole
        parameter.requires_grad_(False)
    return frozen


def assigned(model: nn.Module, scheme: Scheme) -> Iterator[tuple[str, Any, LayerScheme]]:
    """Name and module of each compute layer, and what it gets.

    Raises:
        InputError: a rule of the scheme that matches no layer.
    """
    layers, roles = dict(compute_layers(model)), roles_of(model)
    if not layers:
        return
    for name, here in zip(layers, scheme.assign(list(layers), first=roles.first, last=roles.last), strict=True):
        yield name, layers[name], replace(here, act_bits=32, grad_bits=32) if name in roles.uncalled else here


def quantized_layers(model: nn.Module, *, hidden: bool = False) -> Iterator[tuple[str, Any, LayerScheme]]:
    """Name, module and scheme of the layers of all quantized models inside a module, which may be one itself."""
    for prefix, part, scheme in quantized_parts(model, hidden=hidden):
        for name, layer, here in assigned(part, scheme):
            yield ".".join(filter(None, (prefix, name))), layer, here


def quantized_parts(model: nn.Module, *, hidden: bool = False) -> Iterator[tuple[str, nn.Module, Scheme]]:
    """Name, module and scheme of the quantized models inside a module, the outermost where they lie in each other;
    with `hidden`, also of those that it works with and that are not registered (`subjects.reach`)."""
    for name, part in parts(model, within=lambda part: not isinstance(vars(part).get("scheme"), Scheme), hidden=hidden):
        if isinstance(scheme := vars(part).get("scheme"), Scheme):
            yield name, part, scheme


def _quantize_input(
    layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    quantizer = layer.get_submodule(INPUT_QUANTIZER)
    if args:
        return (quantizer(args[0]), *args[1:]), kwargs
    return args, kwargs | {"input": quantizer(kwargs["input"])}


def _quantize_gradient(layer: nn.Module, _: tuple[Any, ...], output: Tensor) -> Tensor:
    return layer.get_submodule(GRADIENT_QUANTIZER)(output)


@torch.no_grad()
def observe_inputs(model: nn.Module, names: list[str], batches: Callable[[], Iterable[Tensor]]) -> dict[str, Histogram]:
    """What the named layers of the float model receive, over all batches.

    The model is run twice: first for the extremes of each input, then for the histogram between them.
    Neither depends on how the images are batched.
    """
    watched = copied(model).eval()
    extremes: dict[str, tuple[float, float]] = {}

    def see_extremes(name: str, x: Tensor) -> None:
        low, high = (v.item() for v in torch.aminmax(x))
        if not (math.isfinite(low) and math.isfinite(high)):
            raise InputError(
                f"layer {name!r} received NaN or infinity on the calibration data",
                rule="only finite activations have a range",
                remedy="Check the model's weights",
            )
        before = extremes.get(name, (low, high))
        extremes[name] = min(low, before[0]), max(high, before[1])

    _watch(watched, names, see_extremes, batches)
    for name in names:
        if extremes[name] == (0, 0):
            raise InputError(
                f"layer {name!r} received only zeros on the calibration data",
                rule="each layer with quantized inputs needs a range for them",
                remedy="Calibrate on images that activate it, or leave activations float: act_bits=32, in text w8a32",
            )
    histograms = {name: Histogram(*extremes[name]) for name in names}
    _watch(watched, names, lambda name, x: histograms[name].add(x), batches)
    return histograms


def _watch(
    model: nn.Module, names: list[str], see: Callable[[str, Tensor], None], batches: Callable[[], Iterable[Tensor]]
) -> None:
    """Run all batches through the model, showing `see` what each named layer receives."""

    def show(name: str, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        see(name, args[0] if args else kwargs["input"])

    hooks = [
        model.get_submodule(name).register_forward_pre_hook(partial(show, name), with_kwargs=True) for name in names
    ]
    for batch in batches():
        answer(model, batch)
    for hook in hooks:
        hook.remove()
