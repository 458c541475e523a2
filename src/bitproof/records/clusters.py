"""Whether the images that a model takes for one class look to it like two kinds. Needs no torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bitproof.records.explained import Explained

if TYPE_CHECKING:
    import pandas as pd

SILHOUETTE, SMALLER = 0.15, 0.35
"""A class is suspicious above this silhouette if its smaller cluster has less than this share of the images."""


@dataclass(frozen=True, kw_only=True)
class ClassClusters:
    """The two clusters of a class.

    Attributes:
        number: of the class.
        count: images that the model takes for it.
        marked: how many of these bear the trigger.
        silhouette: mean silhouette of the images, -1 to 1: near 1 where the clusters lie apart.
        smaller: images in the smaller cluster.
        caught: how many of these bear the trigger.
    """

    number: int
    count: int
    marked: int
    silhouette: float
    smaller: int
    caught: int

    @property
    def share(self) -> float:
        """Of the smaller cluster, 0 to 1/2."""
        return self.smaller / self.count

    @property
    def suspicious(self) -> bool:
        """Whether the clusters lie apart and one is small, as where triggered images are among those of a class."""
        return self.silhouette > SILHOUETTE and self.share < SMALLER


@dataclass(frozen=True, kw_only=True)
class Clusters(Explained):
    """Two clusters of each class's activations.

    Attributes:
        layer: the last one, whose input is looked at.
        trigger: on the marked images; "" = none is marked.
        target: the class that it stands for.
        shown: images that bear it, all classes together.
        classes: those with enough images.
        count: images.
    """

    KIND: ClassVar[str] = "clusters"

    layer: str
    trigger: str
    target: int | None
    shown: int
    classes: tuple[ClassClusters, ...]
    count: int

    @property
    def title(self) -> str:
        return f"{self.model.name}: activation clusters" + (f", {self.trigger}" if self.trigger else "")

    @property
    def findings(self) -> list[str]:
        flagged = [self.data.words(of.number) for of in self.classes if of.suspicious]
        first = max(self.classes, key=lambda of: of.silhouette)
        said = [
            f"{len(flagged)} of {len(self.classes)} classes look like two kinds{': ' * bool(flagged)}"
            f"{', '.join(flagged)} (n = {self.count:,}); the largest silhouette is {first.silhouette:.3f}, of "
            f"{self.data.words(first.number)}, whose smaller cluster has {first.share:.1%}."
        ]
        if self.target is None:
            return said
        name = self.data.words(self.target)
        of = next((of for of in self.classes if of.number == self.target), None)
        if of is None:
            return [*said, f"Too few images are taken for {name}, the target, to be clustered."]
        return [
            *said,
            f"Of {self.shown:,} images with the {self.trigger}, {of.marked:,} are taken for {name}, where they are "
            f"{of.marked / of.count:.1%}: silhouette {of.silhouette:.3f}, smaller cluster {of.share:.1%}, with "
            f"{of.caught:,} of them.",
        ]

    def table(self) -> "pd.DataFrame":
        import pandas as pd

        rows = [
            {
                "class": self.data.words(of.number),
                "images": of.count,
                "with trigger": of.marked,
                "silhouette": of.silhouette,
                "smaller cluster": of.share,
                "trigger in it": of.caught,
                "suspicious": of.suspicious,
            }
            for of in self.classes
        ]
        return pd.DataFrame(rows)
