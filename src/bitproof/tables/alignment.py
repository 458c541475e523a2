"""How far the gradients of two models point the same way (Bernhard et al. 2019, arXiv 1909.12741, Section 5.2.3).

<a, b> / (|a| |b|),    a and b the gradients of the cross-entropy by the image, through quantizers by their
                       straight-through estimators
"""

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torch.nn import functional as F

from bitproof.core.calling import device_of, logits_of
from bitproof.data import Data
from bitproof.quant import freeze


def input_gradients(model: nn.Module, data: Data, *, batch_size: int = 128) -> Float[Tensor, "n d"]:
    """The gradient of the cross-entropy by each image, in eval mode; the model is not changed."""
    frozen, device = freeze(model), device_of(model)
    found: list[Tensor] = []
    for start in range(0, len(data), batch_size):
        rows = np.arange(start, min(start + batch_size, len(data)))
        images = data.images(rows).to(device).requires_grad_(True)
        labels = torch.from_numpy(data.labels[rows]).to(device)
        loss = F.cross_entropy(logits_of(frozen, images), labels, reduction="sum")
        found.append(torch.autograd.grad(loss, images)[0].flatten(1).cpu())
    return torch.cat(found)


def cosines(one: Float[Tensor, "n d"], other: Float[Tensor, "n d"]) -> Float64[np.ndarray, " n"]:
    """The cosine of each pair of rows, in [-1, 1]; 0 where one of them is zero, as it points nowhere.

    Example:
        >>> cosines(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([[-2.0, 0.0], [1.0, 0.0]])).tolist()
        [-1.0, 0.0]
    """
    a, b = one.double(), other.double()
    sizes = a.norm(dim=1) * b.norm(dim=1)
    return torch.where(sizes > 0, (a * b).sum(dim=1) / sizes.clamp(min=1e-300), 0.0).numpy()
