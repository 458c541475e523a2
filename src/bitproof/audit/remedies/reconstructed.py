"""EFRAP as a remedy (arXiv 2405.12725): see `bitproof.ptq.efrap`."""

from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor, nn

from bitproof.audit.remedies.base import Remedy
from bitproof.core.rng import Rng
from bitproof.ptq.pipeline import ROUNDINGS


@dataclass(frozen=True, kw_only=True)
class Efrap(Remedy):
    """Roundings learned layer by layer, away from the nearest level.

    Attributes:
        iterations: steps a layer; the paper has 10,000 of a tenth of the rate.
    """

    iterations: int = 500

    def __post_init__(self) -> None:
        replace(self._learn, iterations=self.iterations)  # which checks them

    @property
    def label(self) -> str:
        return f"EFRAP, {self.iterations} steps a layer"

    @property
    def _learn(self):
        learn = ROUNDINGS["efrap"]
        assert learn is not None
        return learn

    def __call__(
        self, quantized: nn.Module, model: nn.Module, images: Float[Tensor, "n c h w"], *, rng: Rng
    ) -> nn.Module:
        return replace(self._learn, iterations=self.iterations)(quantized, model, images, rng=rng)
