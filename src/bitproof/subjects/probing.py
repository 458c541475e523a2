"""A few live answers of a model: whether it is the one that a stored result is of, whether it is steady."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

COUNT = 8
"""Images that a model is asked about."""

TOGETHER = 3
"""Of them, those of the batch of which the last is exchanged for another one."""

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
def probe(ask: Callable[[Tensor], Tensor], images: Float[Tensor, "k c h w"]) -> Probe:
    """Ask a model about `images`, and how steady its answers are.

    Args:
        ask: gives the model's logits, float32 [k, classes].
        images: a few, on the model's device.
    """
    first = ask(images)
    random, of_batch = steadiness(ask, images)
    confidences, predictions = first.cpu().softmax(1).max(1)
    return Probe(
        predictions=predictions.numpy().astype(np.int64),
        confidences=confidences.numpy().astype(np.float32),
        random=random,
        of_batch=of_batch,
    )


@torch.no_grad()
def steadiness(ask: Callable[[Tensor], Tensor], images: Float[Tensor, "k c h w"]) -> tuple[bool, bool]:
    """Whether a model answers at random, and whether by the batch: whether its answers to images follow from others.

    It is asked about a small batch twice, the second time with another last image, and where the answers to the rest
    differ, about the same one again. Batches of one size go through the same kernels: nothing else can differ.
    """
    batch = images[:TOGETHER] if len(images) > 1 else torch.cat([images, images])
    before = ask(batch)
    if not _differ(before[:-1], ask(torch.cat([batch[:-1], 1 - batch[-1:]]))[:-1]):
        return False, False
    random = _differ(before, ask(batch))
    return random, not random


def same_answers(one: Probe, other: Probe) -> bool:
    """Whether two models, or a model and a stored result, agree on most of the images."""
    same = (one.predictions == other.predictions) & (np.abs(one.confidences - other.confidences) <= CLOSE)
    return bool(same.mean() >= 0.75) if len(same) else True


def _differ(one: Tensor, other: Tensor) -> bool:
    """Whether the answers to any image differ by more than the rounding of an unordered sum."""
    return bool(((one - other).abs() > 1e-3 * one.abs().amax().clamp(min=1e-9)).any())
