"""A worker's share of the examples of a task, where there are more workers than tasks.

Shares end where batches do, so that each image meets the same others in a batch as it would without them.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64


@dataclass(frozen=True, kw_only=True)
class Share:
    """One of several equal parts.

    Attributes:
        number: which one, from 0.
        of: how many there are.
    """

    number: int = 0
    of: int = 1

    @property
    def whole(self) -> bool:
        """Whether it is all there is."""
        return self.of == 1

    def mask(self, wanted: Int64[np.ndarray, " m"], n: int, size: int) -> Bool[np.ndarray, " n"]:
        """Which of n examples are its own, where those at the ascending positions `wanted` are worked on, `size` at a
        time.

        Each example is one share's, those of a share follow each other, and none parts a batch.
        """
        starts = wanted[::size]

        def cut(number: int) -> int:
            batch = len(starts) * number // self.of
            return 0 if number == 0 else n if batch == len(starts) else int(starts[batch])

        own = np.zeros(n, bool)
        own[cut(self.number) : cut(self.number + 1)] = True
        return own


WHOLE = Share()
"""All examples."""
