"""Bias correction (Nagel et al. 2019, arXiv 1906.04721, Section 4.2), measured on images (their Appendix D).

Rounding a weight shifts the mean of what its layer returns. Layer by layer, in order of execution, with all
earlier layers quantized and corrected:

    b <- b + E[W x + b] - E[W_q x_q + b]    for each output channel, over images and positions

where x is what the layer receives in the float model and x_q in the quantized one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bitproof.core.calling import answer
from bitproof.core.copying import copied
from bitproof.core.flow import record_flow
from bitproof.errors import InputError
from bitproof.ptq.watching import BATCH, Moments, run_until
from bitproof.quant.attached import COMPUTE_LAYERS, compute_layers
from bitproof.quant.structure import note_step


@dataclass(frozen=True, kw_only=True)
class AddBiases:
    """Structural step: each named layer, which had none, gets a bias of zeros.

    Raises:
        InputError: when called with a model that has no such layer.
    """

    layers: tuple[str, ...]

    def __call__(self, model: nn.Module) -> nn.Module:
        changed = copied(model)
        modules = dict(changed.named_modules())
        for name in self.layers:
            layer: Any = modules.get(name)
            if not isinstance(layer, COMPUTE_LAYERS) or layer.bias is not None:
                raise InputError(
                    f"{name!r} in {type(model).__name__}",
                    rule="a bias is given to a Conv1d, Conv2d or Linear layer without one",
                    remedy="Check the architecture",
                )
            layer.bias = nn.Parameter(layer.weight.new_zeros(layer.weight.shape[0]))
        return note_step(changed, self)


@torch.no_grad()
def correct_bias(quantized: nn.Module, model: nn.Module, images: Tensor) -> nn.Module:
    """A copy of the quantized model whose layers have, on these images, the mean outputs of the float model.

    Layers without a bias get one. Layers that run not exactly once a pass stay as they are.

    Args:
        quantized: made by `quantize` from `model`.
        model: float model with the same layers.
        images: [n, c, h, w], a few hundred.
    """
    flow = record_flow(quantized, images[:1], [name for name, _ in compute_layers(quantized)])
    names = [name for name in flow.calls if flow.only_call(name)]
    bare = tuple(name for name in names if quantized.get_submodule(name).bias is None)
    corrected = AddBiases(layers=bare)(quantized) if bare else copied(quantized)
    wanted = output_means(model, names, images)
    for name in names:
        layer: Any = corrected.get_submodule(name)
        found, channels = Moments(), _channels(layer)
        run_until(corrected, name, images, lambda _, y, m=found, c=channels: m.add(y, channels=c))
        layer.bias.add_((wanted[name] - found.mean).to(layer.bias))
    return corrected


@torch.no_grad()
def output_means(model: nn.Module, names: Iterable[str], images: Tensor) -> dict[str, Tensor]:
    """For each named layer the mean of each output channel, float64."""
    watched = copied(model).eval()
    moments = {name: Moments() for name in names}

    def see(name: str, layer: nn.Module, _: Any, output: Tensor) -> None:
        moments[name].add(output, channels=_channels(layer))

    for name in moments:
        watched.get_submodule(name).register_forward_hook(partial(see, name))
    for batch in images.split(BATCH):
        answer(watched, batch)
    return {name: seen.mean for name, seen in moments.items()}


def _channels(layer: nn.Module) -> int:
    return -1 if isinstance(layer, nn.Linear) else 1
