"""A few live answers of a model: whether it is the one that a stored result is of, whether it is steady."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from bitproof.core.calling import check_logits, device_of, forward

COUNT = 16
"""Images that a model is asked about."""

CLOSE = 1e-3
"""Of two confidences that count as one answer: what another machine or batch size changes is far less, but for a value
of a coarse grid that happens to flip, which happens to few images."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a model says to the first images of a data set.

    Attributes:
        predictions, confidences: int64 and float32 [k].
        random: it answers the same images differently when asked again.
        of_batch: its answers depend on which other images are in the batch (BatchNorm without running statistics,
            dynamic quantization).
    """

    predictions: Int64[np.ndarray, " k"]
    confidences: Float32[np.ndarray, " k"]
    random: bool
    of_batch: bool


@torch.no_grad()
def probe(model: nn.Module, images: Float[Tensor, "k c h w"], name: str) -> Probe:
    """Ask a model, in the mode that it is in, three times about `images`: twice together and once in two parts.

    Raises:
        InputError: it cannot take the images, or returns no finite logits.
    """
    images = images.to(device_of(model))
    first, again = _answers(model, images, name), _answers(model, images, name)
    random = _differ(first, again) > 0
    half = len(images) // 2
    of_batch = False
    if half and not random:
        parts = torch.cat([_answers(model, part, name) for part in (images[:half], images[half:])])
        of_batch = _differ(first, parts) > 0.5
    confidences, predictions = first.softmax(1).max(1)
    return Probe(
        predictions=predictions.numpy().astype(np.int64),
        confidences=confidences.numpy().astype(np.float32),
        random=random,
        of_batch=of_batch,
    )


def same_answers(one: Probe, other: Probe) -> bool:
    """Whether two models, or a model and a stored result, agree on most of the images."""
    same = (one.predictions == other.predictions) & (np.abs(one.confidences - other.confidences) <= CLOSE)
    return bool(same.mean() >= 0.5) if len(same) else True


def _answers(model: nn.Module, images: Tensor, name: str) -> Float[Tensor, "k classes"]:
    logits = forward(model, images, name)
    check_logits(logits, images, f"model {name!r}")
    return logits.float().cpu()


def _differ(one: Tensor, other: Tensor) -> float:
    """The share of images to which the answers differ by more than the rounding of an unordered sum."""
    if not len(one):
        return 0.0
    return float(((one - other).abs() > 1e-3 * one.abs().amax().clamp(min=1e-9)).any(1).float().mean())
