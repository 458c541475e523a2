"""Error amplification: a small change of the image grows from layer to layer (Lin et al. 2019, Eq. 4 and Figure 3).

    D(A, A') = ||A - A'||_2 / ||A||_2

with A and A' what a layer is given for the clean and the changed image: in a quantized model, on its grid. The change
goes along the signs of the gradient at the clean image (FGSM), or, as a control that the paper does not have, along
random signs of the same size: what grows there is the geometry of the layers, and only the rest is the attack's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from bitproof.analysis.base import Case, Explanation, each
from bitproof.analysis.watching import layer_inputs
from bitproof.attacks.goal import input_gradient
from bitproof.core import losses
from bitproof.core.balls import check_eps
from bitproof.core.calling import Model
from bitproof.core.rng import Rng
from bitproof.records import Amplification, ModelRecord


@dataclass(frozen=True, kw_only=True)
class ErrorAmplification(Explanation):
    """How a change of the image grows from layer to layer, along the gradient's signs and along random ones.

    Attributes:
        eps: sizes of the change under linf, in [0, 1] pixel units.
    """

    record: ClassVar = Amplification

    eps: tuple[float, ...] = tuple(level / 255 for level in range(1, 9))

    def __post_init__(self) -> None:
        for eps in self.eps or (0.0,):
            check_eps(eps, "linf")

    def groups(self, models: Sequence[ModelRecord]) -> list[tuple[ModelRecord, ...]]:
        return each(models)

    def passes(self, models: Sequence[ModelRecord]) -> int:
        return 3 + 2 * len(self.eps)

    def look(self, case: Case) -> dict[str, Any]:
        (model,) = case.models
        names: list[str] = []

        def distances(inputs: Tensor, labels: Tensor, rng: Rng) -> dict[str, Tensor]:
            clean = layer_inputs(model, inputs)
            names[:] = clean
            signs = torch.stack([ascent(model, inputs, labels), random_signs(inputs, rng)])
            moved = [
                torch.stack([sizes(x - clean[name]) for name, x in layer_inputs(model, changed).items()])
                for along in signs
                for changed in ((inputs + eps * along).clamp(0, 1) for eps in self.eps)
            ]
            norms = torch.stack([sizes(x) for x in clean.values()])
            return {"distances": torch.stack(moved).permute(2, 0, 1), "norms": norms.T}

        found = case.over(distances)
        count, shape = len(found["norms"]), (2, len(self.eps), len(names))
        norms = found["norms"][:, None, None]
        moved = found["distances"].reshape(count, *shape)
        ratios = np.divide(moved, norms, out=np.zeros_like(moved), where=norms > 0)
        given = (norms > 0).sum(0)  # images for which the layer is given more than zeros
        means = ratios.sum(0) / np.maximum(given, 1)
        squares = np.where(norms > 0, (ratios - means) ** 2, 0).sum(0)
        spread = np.divide(squares, given - 1, out=np.full(shape, np.inf), where=given > 1)
        sums = np.divide(moved.sum(0), norms.sum(0), out=np.zeros(shape), where=norms.sum(0) > 0)
        return {
            "layers": tuple(names),
            "eps": self.eps,
            "sums": sums,
            "means": means,
            "errors": np.sqrt(spread / np.maximum(given, 1)),
            "count": count,
        }


def ascent(model: Model, inputs: Tensor, labels: Tensor) -> Tensor:
    """Signs along which the log-odds rise, as the cross-entropy does, but where the model is confident, too."""
    x = inputs.clone().requires_grad_()
    return input_gradient(losses.log_odds(model(x), labels).sum(), x).sign()


def random_signs(inputs: Tensor, rng: Rng) -> Tensor:
    """A random sign for each pixel."""
    return torch.where(rng.fold("signs").uniform(tuple(inputs.shape[1:])) < 0.5, -1.0, 1.0).to(inputs)


def sizes(x: Tensor) -> Tensor:
    """The l2 norm of each example, [n]. A layer that lies elsewhere in the batch has no examples there."""
    return x.double().flatten(1).norm(dim=1)
