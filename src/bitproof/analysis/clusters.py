"""Activation clustering: do the images that a model takes for one class look to it like two kinds?

Where a backdoor is awake, images with the trigger and images of the class itself give one answer for different reasons,
and lie apart in what the last layer is given (Chen et al. 2018, arXiv 1811.03728, Section 4). Class by class, these
activations go to 10 independent components, 2-means parts them, and the mean silhouette and the size of the smaller
cluster say how much like two they are. Done otherwise than in the paper, which clusters the training data by their
labels: a checkpoint comes without these, so a class is what the model itself answers, and a part of the images is
marked with a trigger where one is known. Independent components of unit variance are whitened principal components
but for a rotation, which neither 2-means nor silhouettes see, so that the rotation is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bitproof.analysis.base import Case, Explanation, each
from bitproof.analysis.watching import LOGITS, layer_inputs
from bitproof.conditions.targets import class_number
from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.records import ClassClusters, Clusters, ModelRecord
from bitproof.shifts import Trigger

LEAST = 20
"""Images that a class needs to be clustered."""


@dataclass(frozen=True, kw_only=True)
class ActivationClusters(Explanation):
    """Two clusters of the last layer's inputs, class by class: their silhouette, and the share of the smaller one.

    Attributes:
        trigger: on a part of the images of other classes than its target; None = images as they are.
        share: of these images that bear it, drawn for each by itself; with ten classes and a backdoor that is awake,
            0.02 make about a seventh of the target's.
        dimensions: to which activations are reduced.
    """

    record: ClassVar = Clusters

    trigger: Trigger | None = None
    share: float = 0.02
    dimensions: int = 10

    def __post_init__(self) -> None:
        if not 0 < self.share < 1 or self.dimensions < 1:
            raise InputError(
                f"share is {self.share} and dimensions {self.dimensions}",
                rule="some images bear the trigger and some do not, and activations keep at least one dimension",
                remedy="Use share=0.02 and dimensions=10",
            )

    def groups(self, models: Sequence[ModelRecord]) -> list[tuple[ModelRecord, ...]]:
        return each(models)

    def passes(self, models: Sequence[ModelRecord]) -> int:
        return 1

    def look(self, case: Case) -> dict[str, Any]:
        (model,) = case.models
        trigger, names = self.trigger, list[str]()
        target = None if trigger is None else class_number(str(trigger.target), case.data.classes)

        @torch.no_grad()
        def seen(inputs: Tensor, labels: Tensor, rng: Rng) -> dict[str, Tensor]:
            marked = torch.zeros_like(labels, dtype=torch.bool)
            if trigger is not None:
                marked = (rng.fold("marked").uniform(()).to(inputs) < self.share) & (labels != target)
                inputs = torch.where(marked[:, None, None, None], trigger.stamp(inputs), inputs)
            given = layer_inputs(model, inputs)
            names[:] = [name for name in given if name != LOGITS][-1:]
            if not names:
                raise InputError(
                    "no layer with a weight is called",
                    rule="clusters are those of what the last Conv1d, Conv2d or Linear layer is given",
                    remedy="Pass the network itself",
                )
            return {
                "features": given[names[0]].double().flatten(1),
                "said": given[LOGITS].argmax(1),
                "marked": marked,
            }

        found = case.over(seen)
        classes = []
        for number, count in zip(*np.unique(found["said"], return_counts=True), strict=True):
            if count >= LEAST:
                here = found["said"] == number
                smaller, silhouette = parted(whitened(found["features"][here], self.dimensions))
                marked = found["marked"][here]
                classes.append(
                    ClassClusters(
                        number=int(number),
                        count=int(count),
                        marked=int(marked.sum()),
                        silhouette=silhouette,
                        smaller=int(smaller.sum()),
                        caught=int((marked & smaller).sum()),
                    )
                )
        if not classes:
            raise InputError(
                f"no class is given {LEAST} of {len(found['said'])} images",
                rule="a class is clustered from so many at least",
                remedy="Use more images",
            )
        return {
            "layer": names[0],
            "trigger": "" if trigger is None else trigger.label,
            "target": target,
            "shown": int(found["marked"].sum()),
            "classes": tuple(classes),
            "count": len(found["said"]),
        }


def whitened(features: Float[np.ndarray, "n d"], dimensions: int) -> Float[np.ndarray, "n k"]:
    """The first principal components, at most `dimensions` of them, each scaled to a variance of 1; those that do not
    vary are left out."""
    directions, sizes, _ = np.linalg.svd(features - features.mean(0), full_matrices=False)
    kept = sizes[:dimensions] > 1e-6 * np.linalg.norm(features)
    return np.sqrt(len(features)) * directions[:, : kept.sum()]


def parted(points: Float[np.ndarray, "n k"]) -> tuple[Bool[np.ndarray, " n"], float]:
    """Which points 2-means puts into the smaller of two clusters, and the mean silhouette of all.

    Points that are all the same are one cluster, of silhouette 0.
    """
    from sklearn.cluster import KMeans  # a second, which no other analysis should pay
    from sklearn.metrics import silhouette_score

    if not points.size or not np.ptp(points, axis=0).any():
        return np.zeros(len(points), bool), 0.0
    second = KMeans(2, n_init=10, random_state=0).fit_predict(points).astype(bool)  # pyright: ignore
    return second if 2 * second.sum() <= len(second) else ~second, float(silhouette_score(points, second))
