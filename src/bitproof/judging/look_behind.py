"""A look at a defence before hours are spent on it: what its thresholds were chosen on, and what clean images show."""

import numpy as np

from bitproof.core.calling import device_of
from bitproof.core.defended import Defended
from bitproof.data import Data
from bitproof.errors import InputError
from bitproof.pictures.pixels import digests

COUNT = 50
"""Images that are looked at, spread over the data."""

SHARED = 0.01
"""Part of the images that may be among those that thresholds were chosen on: data sets hold some pictures twice."""


def look_behind(model: Defended, data: Data, name: str) -> list[str]:
    """What seems to be wrong with a defended model on these data, in sentences.

    Raises:
        InputError: its thresholds were chosen on images that it is to be tested on.
    """
    tuned = model.tuned_on.cpu().numpy()
    if len(tuned):
        own = np.concatenate([digests(images).view(np.int64) for images in data.inputs()])
        shared = int(np.isin(own, tuned).sum())
        if shared > SHARED * len(own):
            raise InputError(
                f"{shared} of {len(own)} images of {data.name!r} are among those that the threshold of model {name!r} "
                "was chosen on",
                rule="no figure is taken on what was tuned for it",
                remedy="Choose it on other images, such as clean=bp.load_data(..., split='train')",
            )
    rows = np.unique(np.linspace(0, len(data) - 1, min(COUNT, len(data))).astype(np.int64))
    return model.doubts(data.read(rows).images.to(device_of(model)))
