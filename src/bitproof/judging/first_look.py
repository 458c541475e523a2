"""A first look at a model, before hours are spent on it: a hundred images tell what it is used wrongly with.

A model that gets pixels of another scale, order or normalisation than it was trained with answers at a few percent, and
nothing else says so. The same images are shown as other code bases would hand them over; a finding is reported only
where that is better beyond doubt: by an exact paired test on the same images, divided by the number of forms that were
tried, and better than any constant answer too. So a model of random weights, or one that is merely weak, is told that
it guesses, and no more.
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.stats import binomtest
from torch import Tensor, nn

from bitproof.core.calling import device_of, forward
from bitproof.data import Data
from bitproof.data.base import spread
from bitproof.errors import InputError
from bitproof.models.forms import Form, forms

COUNT = 100
"""Images that are looked at, spread over the data."""

WEAK = 0.6
"""Share of right answers from which only the order of colours is doubted."""

LEVEL = 1e-3
"""Of the tests of other forms, over all of them: at least ten images more are right than wrong where one passes."""


def first_look(model: nn.Module, data: Data, name: str, *, batch_size: int = COUNT) -> list[str]:
    """What seems to be wrong with a model on these data, in sentences; none where nothing does.

    Args:
        model: maps images in [0, 1] to logits.
        data: what it will be tested on.
        name: of the model, for people.
        batch_size: images a pass; 100 images are shown once, and those of them that the model gets wrong again, of
            other colours, or up to ten times where it gets most of them wrong.
    """
    rows = spread(len(data), COUNT)
    read = data.read(rows)
    if not len(read.rows):
        return []
    labels = data.labels[read.rows]
    images = read.images.to(device_of(model))
    logits = _answers(model, images, name, batch_size)
    if logits is None:
        return []  # what a model cannot take is said where it is asked in earnest
    predictions = logits.argmax(1).numpy()
    right = predictions == labels
    share = np.bincount(labels).max() / len(labels)
    better = _better_form(model, images, labels, right, float(share), name, batch_size)
    if better is not None:
        return [better]
    return [*_weakness(predictions, labels, right, logits.shape[1], name), *_outputs(logits, name)]


def _better_form(
    model: nn.Module,
    images: Tensor,
    labels: NDArray[np.int64],
    right: NDArray[np.bool_],
    share: float,
    name: str,
    batch_size: int,
) -> str | None:
    """The form of images with which the model is right most often, if it is so beyond doubt.

    What it is wrong on is shown first: where too little of that is put right, the rest can change nothing.
    """
    wrong, kept = np.flatnonzero(~right), np.flatnonzero(right)
    tried = [form for form in forms(model, images.shape[1]) if form.colours or right.mean() < WEAK]
    best: tuple[int, Form] | None = None
    for form in tried:
        level = LEVEL / len(tried)

        def right_on(rows: NDArray[np.int64], form: Form = form) -> int:
            logits = _answers(model, form.change(images[rows]), name, batch_size) if len(rows) else None
            return 0 if logits is None else int((logits.argmax(1).numpy() == labels[rows]).sum())

        mended = right_on(wrong)
        if not mended or binomtest(mended, mended, 0.5, alternative="greater").pvalue >= level:
            continue
        still = right_on(kept)
        spoilt, count = len(kept) - still, mended + still
        if (
            binomtest(mended, mended + spoilt, 0.5, alternative="greater").pvalue < level
            and binomtest(count, len(right), min(share, 1.0), alternative="greater").pvalue < level
            and (best is None or count > best[0])
        ):
            best = count, form
    if best is None:
        return None
    count, form = best
    return (
        f"model {name!r} is right on {right.sum()} of {len(right)} images, and on {count} of them where it is given "
        f"{form.text}: {form.remedy}"
    )


def _weakness(
    predictions: NDArray[np.int64], labels: NDArray[np.int64], right: NDArray[np.bool_], outputs: int, name: str
) -> Iterator[str]:
    """Whether a model answers as a guess would."""
    count = len(labels)
    if count < 20:
        return  # too few to say anything
    share = float(np.bincount(labels).max()) / count
    answers = np.bincount(predictions)
    if answers.max() >= 0.95 * count and share < 0.8:
        yield (
            f"model {name!r} gives one answer, class {answers.argmax()}, to {answers.max()} of {count} images: check "
            "its weights, and the scale and normalisation of the images that it expects"
        )
    elif binomtest(int(right.sum()), count, 1 / outputs, alternative="greater").pvalue > 0.01:
        yield (
            f"model {name!r} is right on {right.sum()} of {count} images, as a guess among {outputs:,} classes would "
            "be: check its weights, the order of its classes, and its preprocessing"
        )


def _outputs(logits: Float[Tensor, "n k"], name: str) -> Iterator[str]:
    """Whether outputs look like those of a sigmoid; those of a softmax are refused elsewhere."""
    if len(logits) >= 20 and bool(((logits >= 0) & (logits <= 1)).all()) and logits.shape[1] > 1:
        yield (
            f"all outputs of model {name!r} lie between 0 and 1, as those of a sigmoid do: confidences and losses take "
            "logits, so leave its last sigmoid out"
        )


@torch.no_grad()
def _answers(model: nn.Module, images: Tensor, name: str, batch_size: int) -> Tensor | None:
    """Finite logits [n, k] on the CPU, or None where there are none."""
    try:
        logits = torch.cat([forward(model, part, name) for part in images.split(batch_size)]).cpu()
    except (InputError, torch.OutOfMemoryError):
        return None
    return logits if logits.dim() == 2 and bool(logits.isfinite().all()) else None
