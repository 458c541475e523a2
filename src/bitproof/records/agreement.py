"""How often models answer alike, err together, and would vote for a wrong class. Needs no torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Int64

from bitproof.records.explained import Explained

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Agreement(Explained):
    """Numbers of images; the first axis is where these come from: clean, then made on each model by an attack.

    Attributes:
        attack: what made them; every model is given the images made on each.
        same: how many both of two models answer alike.
        wrong: how many both get wrong; how many one gets wrong, where it is paired with itself.
        alike: how many both take for the same wrong class.
        majorities: the numbers m of models that may have to agree for an answer, more than half of them.
        answered: to how many m or more give the same answer.
        fooled: how many of these it is wrong for.
        count: images.
    """

    KIND: ClassVar[str] = "agreement"

    attack: str
    same: Int64[np.ndarray, "images models models"]
    wrong: Int64[np.ndarray, "images models models"]
    alike: Int64[np.ndarray, "images models models"]
    majorities: tuple[int, ...]
    answered: Int64[np.ndarray, "images majorities"]
    fooled: Int64[np.ndarray, "images majorities"]
    count: int

    @property
    def title(self) -> str:
        return "agreement of members"

    @property
    def images(self) -> tuple[str, ...]:
        """Where the images come from, in the order of the first axis."""
        return ("clean", *(f"{self.attack} on {model.name}" for model in (self.model, *self.others)))

    @property
    def findings(self) -> list[str]:
        names = [model.name for model in (self.model, *self.others)]
        pairs = [(i, j) for i in range(len(names)) for j in range(i)]
        i, j = min(pairs, key=lambda pair: self.same[0][pair])
        said = [
            f"On clean images {names[j]} and {names[i]} agree least: on {self.same[0, i, j] / self.count:.1%} "
            f"(n = {self.count:,}); both are wrong on {self.wrong[0, i, j] / self.count:.1%}."
        ]
        most = int(self.majorities[-1])
        for k, m in enumerate(self.majorities):
            source = int(self.fooled[1:, k].argmax())
            worst = int(self.fooled[1 + source, k])
            said.append(
                f"Where {'all' if m == most else f'{m} or more'} of {len(names)} have to agree, "
                f"{self.answered[0, k] / self.count:.1%} of the clean images are answered, "
                f"{self.fooled[0, k] / self.count:.1%} of them wrongly, and of those that {self.attack} makes on "
                f"{names[source]}, the worst, {worst / self.count:.1%} are answered wrongly."
            )
        return said

    def table(self) -> "pd.DataFrame":
        import pandas as pd

        names = [model.name for model in (self.model, *self.others)]
        rows = [
            {
                "images": images,
                "model": names[j],
                "other": names[i],
                "same": self.same[k, i, j] / self.count,
                "both wrong": self.wrong[k, i, j] / self.count,
                "same wrong class": self.alike[k, i, j] / self.count,
            }
            for k, images in enumerate(self.images)
            for i in range(len(names))
            for j in range(i)
        ]
        return pd.DataFrame(rows)
