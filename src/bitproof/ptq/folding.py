"""BatchNorm folded into the layer that feeds it (Jacob et al. 2018, arXiv 1712.05877, Eq. 14).

In eval mode both are linear, so that one layer does the work of two:

    g = gamma / sqrt(variance + eps)      W <- g W      b <- g (b - mean) + beta
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bitproof.core.copying import copied
from bitproof.core.flow import record_flow
from bitproof.errors import InputError
from bitproof.ptq.sameness import changed_parts, outputs_of
from bitproof.quant.attached import COMPUTE_LAYERS, compute_layers
from bitproof.quant.settling import settle
from bitproof.quant.structure import note_step

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
"""Exactly these: a subclass (timm's BatchNormAct2d) may do more than normalise."""


@dataclass(frozen=True, kw_only=True)
class FoldBatchNorm:
    """Structural step: each named BatchNorm goes into its layer, and an identity takes its place.

    Attributes:
        pairs: (layer, BatchNorm) by their names in the model.
        kept: BatchNorms that stay although a layer feeds them alone, as folding them would change the function: the
            layer does more than its class says.

    Raises:
        InputError: when called with a model that has no such pairs.
    """

    pairs: tuple[tuple[str, str], ...]
    kept: tuple[str, ...] = ()

    def __call__(self, model: nn.Module) -> nn.Module:
        folded = settle(copied(model))
        modules = dict(folded.named_modules())
        for names in self.pairs:
            layer, norm = (modules.get(name) for name in names)
            if not (isinstance(layer, COMPUTE_LAYERS) and type(norm) in BATCH_NORMS):
                raise InputError(
                    f"{' and '.join(names)} in {type(model).__name__}",
                    rule="a BatchNorm is folded into a Conv1d, Conv2d or Linear layer",
                    remedy="Check the architecture",
                )
            _fold(layer, norm)
            folded.set_submodule(names[1], nn.Identity())
        return note_step(folded, self)


def fold_batch_norm(model: nn.Module, images: Tensor) -> nn.Module:
    """A copy in which BatchNorms are folded into the layers that feed them; in eval mode its logits are the same.

    Folded is each BatchNorm1d or 2d that alone uses the output of a Conv1d, Conv2d or Linear layer, where both
    run once a pass, and that leaves what follows as it was. This is seen by running the model; others stay as they
    are. `kept` of the step names those that would have changed the function.

    Args:
        model: float model.
        images: a few images [n, c, h, w] that it takes.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        >>> fold_batch_norm(model, torch.rand(1, 3, 8, 8))[1]
        Identity()
    """
    model = settle(copied(model))
    norms = {name: module for name, module in model.named_modules() if type(module) in BATCH_NORMS}
    layers = dict(compute_layers(model))
    flow = record_flow(model, images, [*layers, *norms])
    makers = {call[1]: name for name in layers if (call := flow.only_call(name))}
    pairs = tuple(
        (makers[call[0]], name)
        for name, norm in norms.items()
        if (call := flow.only_call(name))
        and call[0] in makers
        and flow.only_use(call[0])
        and _foldable(layers[makers[call[0]]], norm)
    )
    return _without_change(model, pairs, images) if pairs else model


def _without_change(model: nn.Module, pairs: tuple[tuple[str, str], ...], images: Tensor) -> nn.Module:
    """The model with as many of the pairs folded as leave its function as it is."""
    wanted = outputs_of(model, [norm for _, norm in pairs], images)
    step = FoldBatchNorm(pairs=pairs)
    folded = step(model)
    while step.pairs and (changed := changed_parts(folded, wanted, images)):
        blamed = {norm for _, norm in step.pairs if norm in changed} or {norm for _, norm in step.pairs}
        left = tuple(pair for pair in step.pairs if pair[1] not in blamed)
        step = FoldBatchNorm(pairs=left, kept=(*step.kept, *sorted(blamed)))
        folded = step(model)
    return folded


def _foldable(layer: Any, norm: Any) -> bool:
    return (
        norm.running_mean is not None
        and norm.num_features == layer.weight.shape[0]
        and not parametrize.is_parametrized(layer)
    )


@torch.no_grad()
def _fold(layer: Any, norm: Any) -> None:
    weight, mean, variance = (v.double() for v in (layer.weight, norm.running_mean, norm.running_var))
    bias = torch.zeros_like(mean) if layer.bias is None else layer.bias.double()
    gain = (variance + norm.eps).rsqrt()
    if norm.affine:
        gain = gain * norm.weight.double()
    bias = gain * (bias - mean)
    if norm.affine:
        bias = bias + norm.bias.double()
    learns = layer.weight.requires_grad
    scaled = gain.view(-1, *[1] * (weight.dim() - 1)) * weight
    layer.weight = nn.Parameter(scaled.to(layer.weight.dtype), requires_grad=learns)
    layer.bias = nn.Parameter(bias.to(layer.weight.dtype), requires_grad=learns)
