"""A look at what was made for a test before hours are spent on it: on which images, and what clean ones show."""

import numpy as np
from jaxtyping import Int64

from bitproof.core.calling import device_of
from bitproof.core.defended import Defended
from bitproof.data import Data
from bitproof.data.base import spread
from bitproof.errors import InputError
from bitproof.pictures.pixels import digests

COUNT = 50
"""Images that are looked at, spread over the data."""

SHARED = 0.01
"""Part of the images that may be among those that something was tuned on: data sets hold some pictures twice."""


def check_unseen(tuned: Int64[np.ndarray, " n"], data: Data, what: str, remedy: str) -> None:
    """Refuse a test on the images that something was tuned on.

    Args:
        tuned: digests of these images, or of a sample of them.
        data: what is tested on.
        what: was tuned, and how, as the end of "... are among those that".
        remedy: how to tune it on others.

    Raises:
        InputError: more than `SHARED` of the images are among those.
    """
    if not len(tuned):
        return
    own = np.concatenate([digests(images).view(np.int64) for images in data.inputs()])
    shared = int(np.isin(own, tuned).sum())
    if shared > SHARED * min(len(own), len(tuned)):
        raise InputError(
            f"at least {shared} of {len(own)} images of {data.name!r} are among those that {what}",
            rule="no figure is taken on what was tuned for it",
            remedy=remedy,
        )


def look_behind(model: Defended, data: Data, name: str) -> list[str]:
    """What seems to be wrong with a defended model on these data, in sentences.

    Raises:
        InputError: its thresholds were chosen on images that it is to be tested on.
    """
    what = f"the threshold of model {name!r} was chosen on"
    remedy = "Choose it on other images, such as clean=bp.load_data(..., split='train')"
    check_unseen(model.tuned_on.cpu().numpy(), data, what, remedy)
    rows = spread(len(data), COUNT)
    return model.doubts(data.read(rows).images.to(device_of(model)))
