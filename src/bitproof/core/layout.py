"""In which order the numbers of images lie in memory: channels last is what most layers are faster in."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


@torch.no_grad()
def channels_last(model: nn.Module, images: Float[Tensor, "n c h w"]) -> nn.Module:
    """The model with its convolutions' weights laid out channels-last, in place; each layer hands the layout on.

    A network that asks for the other layout, as `view` on the result of a convolution does, is left as it was. Logits
    differ by how sums are rounded, 4e-7 of the largest on ResNet-20 (`benchmarks/channels_last.py`), and by a step of
    an activation's grid where that turns a rounding.

    Args:
        model: frozen.
        images: a few, on the model's device, to see whether it works so.
    """
    if not any(parameter.dim() == 4 for parameter in model.parameters()):
        return model
    model.to(memory_format=torch.channels_last)  # pyright: ignore
    try:
        model(images)
    except RuntimeError:
        model.to(memory_format=torch.contiguous_format)  # pyright: ignore
    return model
