"""How many images go through a model at once: fewer, where the memory of its device does not hold them."""

import gc
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from bitproof.errors import InputError

T = TypeVar("T")


@dataclass
class Room:
    """Images a pass. It becomes less where memory runs out, and stays so: the results of models do not depend on it.

    Attributes:
        images: how many there is room for, as far as is known.
    """

    images: int

    def fit(self, work: Callable[[int], T]) -> T:
        """What `work(images)` gives. It is called again with half as many images a pass each time a device has no
        memory left, and a warning says so.

        Raises:
            InputError: there is no room for a single image.
        """
        while True:
            tried = self.images
            try:
                return work(tried)
            except torch.OutOfMemoryError as error:
                if tried == 1:
                    raise InputError(
                        f"one image does not fit into the memory of the device ({str(error).splitlines()[0]})",
                        rule="a model, an image and what lies between its layers are there at once",
                        remedy="End what else uses the device, or compute on the CPU (device='cpu')",
                    ) from error
                self.images = min(self.images, tried // 2)
            gc.collect()  # what the failed pass held, which its exception kept alive until here
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            warnings.warn(
                f"the device has no memory for {tried} images a pass: {self.images} from here on", stacklevel=2
            )
