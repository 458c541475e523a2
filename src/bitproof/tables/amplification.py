"""How a perturbation grows on its way through a model (Lin, Gan & Han 2019, arXiv 1904.08444, Eq. 4 and Figure 3).

    D(A, A') = |A - A'|_2 / |A|_2,    A and A' what a layer reads of an image and of its adversarial one

after the quantizer, where the layer has one. It falls where quantization rounds a small difference away.
"""

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from bitproof.core.calling import device_of
from bitproof.quant import compute_layers, freeze


@torch.no_grad()
def layer_distances(
    model: nn.Module, images: Float[Tensor, "n c h w"], moved: Float[Tensor, "n c h w"]
) -> dict[str, Float64[np.ndarray, " n"]]:
    """The distance of each pair of images at the input of each convolution and linear layer, by its name, in the order
    of the model; in eval mode, and the model is not changed."""
    frozen, device = freeze(model), device_of(model)
    seen: dict[str, list[Tensor]] = {}
    hooks = [
        layer.register_forward_pre_hook(
            lambda _, inputs, name=name: seen.setdefault(name, []).append(inputs[0].detach().flatten(1).double().cpu())
        )
        for name, layer in compute_layers(frozen)
    ]
    try:
        frozen(images.to(device))
        frozen(moved.to(device))
    finally:
        for hook in hooks:
            hook.remove()
    return {
        name: ((clean - other).norm(dim=1) / clean.norm(dim=1).clamp(min=1e-12)).numpy()
        for name, (clean, other) in seen.items()
    }
