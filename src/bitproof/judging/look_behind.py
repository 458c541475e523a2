"""A look at what was made for a test before hours are spent on it: on which images, and what clean ones show."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int64

from bitproof.core.calling import device_of
from bitproof.core.defended import Defended
from bitproof.data import Data
from bitproof.data.base import spread
from bitproof.errors import InputError
from bitproof.pictures.pixels import ids

COUNT = 50
"""Images that are looked at, spread over the data."""

SHARED = 0.01
"""Part of the images that may be among those that something was tuned on: data sets hold some pictures twice."""


@dataclass(frozen=True, eq=False)
class Unseen:
    """Refuses tests on the images that something was tuned on; all images are read for it once, when it first matters.

    Attributes:
        data: what is tested on.
    """

    data: Data

    @cached_property
    def own(self) -> Int64[np.ndarray, " n"]:
        """What tells the images apart."""
        return np.concatenate([ids(images) for images in self.data.inputs()])

    def check(self, tuned: Int64[np.ndarray, " k"], what: str, remedy: str) -> None:
        """Refuse data of which too much was seen.

        Args:
            tuned: the `ids` of the images that something was tuned on, or of a sample of them; none where it was not.
            what: was tuned, and how, as the end of "... are among those that".
            remedy: how to tune it on others.

        Raises:
            InputError: more than `SHARED` of the images are among those.
        """
        if not len(tuned):
            return
        shared = int(np.isin(self.own, tuned).sum())
        if shared > SHARED * min(len(self.own), len(tuned)):
            raise InputError(
                f"at least {shared} of {len(self.own)} images of {self.data.name!r} are among those that {what}",
                rule="no figure is taken on what was tuned for it",
                remedy=remedy,
            )


def look_behind(model: Defended, unseen: Unseen, name: str) -> list[str]:
    """What seems to be wrong with a defended model on the data of a test, in sentences.

    Raises:
        InputError: its thresholds were chosen on images that it is to be tested on.
    """
    what = f"the threshold of model {name!r} was chosen on"
    remedy = "Choose it on other images, such as clean=bp.load_data(..., split='train')"
    unseen.check(model.tuned_on.cpu().numpy(), what, remedy)
    rows = spread(len(unseen.data), COUNT)
    return model.doubts(unseen.data.read(rows).images.to(device_of(model)))
