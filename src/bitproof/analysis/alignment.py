"""Gradient alignment: do attacks on one model move the others? (Bernhard et al. 2019, Section 5.2.3)

The cosine between two models' gradients of the loss by the image, at the same clean image and with its true label. On
confident models the cross-entropy's gradient is tiny, zero even, and its direction rounding noise: so zeros are counted
and left out, and the gradient of the margin, which does not vanish, is compared beside it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bitproof.analysis.base import Case, Explanation
from bitproof.attacks.goal import input_gradient
from bitproof.core import losses
from bitproof.core.calling import Model, logits_of
from bitproof.metrics import mean_interval
from bitproof.records import Alignment, ModelRecord

_LOSSES: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (losses.cross_entropy, losses.margin)
"""In the order of the record's."""


@dataclass(frozen=True, kw_only=True)
class GradientAlignment(Explanation):
    """Cosines between the input gradients of all models, of the cross-entropy and of the margin."""

    record: ClassVar = Alignment

    def groups(self, models: Sequence[ModelRecord]) -> list[tuple[ModelRecord, ...]]:
        asked = tuple(model for model in models if model.gradients)
        return [asked] if len(asked) > 1 else []

    def passes(self, models: Sequence[ModelRecord]) -> int:
        return 3 * len(models)

    def look(self, case: Case) -> dict[str, Any]:
        found = case.over(lambda x, y, rng: {"cosines": cosines(gradients(case.models, x, y))})["cosines"]
        sides = len(case.subjects)
        value, low, high = (np.full((len(_LOSSES), sides, sides), np.nan) for _ in range(3))
        usable = ~np.isnan(found)
        for k, i, j in np.ndindex(value.shape):
            of = found[usable[:, k, i, j], k, i, j]
            if of.size:
                value[k, i, j] = of.mean()
                ends = mean_interval(of) if i != j else (1.0, 1.0)
                low[k, i, j], high[k, i, j] = ends if of.size > 1 else (-1.0, 1.0)
        zeros = (~usable)[:, :, range(sides), range(sides)].sum(0)
        pairs = usable.sum(0)
        return {"cosines": value, "low": low, "high": high, "pairs": pairs, "zeros": zeros, "count": len(found)}


def gradients(models: Sequence[Model], inputs: Float[Tensor, "n c h w"], labels: Tensor) -> Float[Tensor, "k m n p"]:
    """By the image, of each loss (the cross-entropy first) and model, as one row an example."""
    of_models = []
    for model in models:
        x = inputs.clone().requires_grad_()
        logits = logits_of(model, x)
        of = [input_gradient(loss(logits, labels).sum(), x, keep_graph=True) for loss in _LOSSES]
        of_models.append(torch.stack(of).flatten(2))
    return torch.stack(of_models, 1)


def cosines(gradients: Float[Tensor, "k m n p"]) -> Float[Tensor, "n k m m"]:
    """Between the gradients of all pairs of m models, example by example; NaN where one of the two is zero.

    Example:
        >>> x = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
        >>> cosines(torch.stack([x, x.flip(1)])[None])[:, 0, 0, 1].tolist()
        [0.96, nan]
    """
    # In two steps, as the square of a small number may be zero.
    scaled = gradients.double() / gradients.double().abs().amax(-1, keepdim=True)
    unit = scaled / scaled.norm(dim=-1, keepdim=True)
    return torch.einsum("kinp,kjnp->nkij", unit, unit)
