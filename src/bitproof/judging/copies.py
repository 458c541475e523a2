"""On what attacks are made: the model itself, or a faster one that answers almost the same.

What counts is always predicted on the model itself. An example that only the faster one lost is attacked again on
the model itself; one that neither lost stands.

Arithmetic in bfloat16 makes another function of a model with low-bit activations: what holds out there is no sign of
anything. So everything that stands against a `ROUGH` copy is attacked again from the start on the model itself, and no
example stands that would fall without the copy.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.core.calling import logits_in
from bitproof.ptq import fold_batch_norm

CRAFTING = {
    "exact": "the model itself",
    "folded": "BatchNorm folded into the layers before it, images stored channels-last",
    "bfloat16": "the same, with convolutions and products in bfloat16; what it does not break is attacked again on the "
    "model itself, so that it pays where most examples break, on processors and GPUs that compute in bfloat16",
}
"""Ways to make attacks, each with what they are made on."""

ROUGH = ("bfloat16",)
"""Those whose copy is trusted with what it breaks, and not with what it leaves standing."""


def crafting_model(model: nn.Module, how: str, images: Float[Tensor, "n c h w"]) -> nn.Module:
    """The faster model that attacks are made on.

    Args:
        model: frozen. Left as it is.
        how: a name in `CRAFTING` but "exact".
        images: a few, to see where BatchNorms stand.
    """
    folded: nn.Module = fold_batch_norm(model, images).to(memory_format=torch.channels_last)  # pyright: ignore
    folded.requires_grad_(False)
    return _ChannelsLast(folded, torch.bfloat16 if how == "bfloat16" else None).eval()


class _ChannelsLast(nn.Module):
    """Takes images in any layout, gives logits in float32."""

    def __init__(self, model: nn.Module, precision: torch.dtype | None) -> None:
        super().__init__()
        self.model = model
        self.precision = precision

    def forward(self, inputs: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        with torch.autocast(inputs.device.type, self.precision, enabled=self.precision is not None):
            return logits_in(self.model(inputs), len(inputs)).float()
