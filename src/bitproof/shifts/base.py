"""What every shift is: a frozen setting that can be called."""

import abc
from collections.abc import Mapping, Sequence

from jaxtyping import Float
from torch import Tensor

from bitproof.core.rng import Rng
from bitproof.errors import InputError, lookup

PROFILES = ("hendrycks-32", "hendrycks-224")
"""Parameter tables of CIFAR-10-C (32x32) and ImageNet-C (224x224), Hendrycks & Dietterich 2019."""


class Corruption(abc.ABC):
    """A natural corruption at a severity 1 (mild) to 5 (strong)."""

    severity: int
    profile: str

    def __post_init__(self) -> None:
        lookup(dict.fromkeys(PROFILES), self.profile, "corruption profile")
        if self.severity not in range(1, 6):
            raise InputError(
                f"severity is {self.severity}", rule="corruptions have severities 1 to 5", remedy="Pick one of them"
            )

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """The corruption without its severity, e.g. "gaussian noise"."""

    @property
    def label(self) -> str:
        """Name and severity, e.g. "gaussian noise 3"."""
        return f"{self.name} {self.severity}"

    @abc.abstractmethod
    def __call__(self, images: Float[Tensor, "n c h w"], *, rng: Rng) -> Float[Tensor, "n c h w"]:
        """Corrupted copies of `images`, both in [0, 1]."""


def at_severity(table: Mapping[str, Sequence[float]], corruption: Corruption) -> float:
    """The parameter of this corruption's profile and severity."""
    return table[corruption.profile][corruption.severity - 1]
