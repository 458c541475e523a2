"""Training on Gaussian noise (Cohen, Rosenfeld & Kolter 2019, arXiv 1902.02918, Section 3.3).

    x' = x + sigma n,  n ~ N(0, 1) a pixel, drawn anew for every image and epoch, and not clipped

The certificate of a smoothed model (`defences.Smoothing`) is about its answers under such noise; one that never saw any
has little to certify. Noise is added in pixels, before the model's normalisation, as smoothing adds it.
"""

from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from bitproof.attacks.checks import check_positive
from bitproof.core.rng import Rng
from bitproof.train.batches import Batch
from bitproof.train.objectives.base import Loss, Objective
from bitproof.train.objectives.cross_entropy import CrossEntropy


@dataclass(frozen=True, kw_only=True)
class GaussianNoise(Objective):
    """Another objective, on images under Gaussian noise (Cohen et al. 2019).

    Attributes:
        sigma: standard deviation in [0, 1] pixel units, that of the smoothing to come.
        objective: what is minimised on them.
    """

    sigma: float = 0.25
    objective: Objective = field(default_factory=CrossEntropy)

    def __post_init__(self) -> None:
        check_positive(sigma=self.sigma)

    @property
    def label(self) -> str:
        return f"{self.objective.label} under noise of {self.sigma:g}"

    def start(self, teacher: nn.Module) -> Loss:
        own = self.objective.start(teacher)

        def loss(model: nn.Module, batch: Batch, rng: Rng) -> tuple[Tensor, Tensor]:
            noise = rng.fold("noise").normal(tuple(batch.inputs.shape[1:])).to(batch.inputs)
            return own(model, replace(batch, inputs=batch.inputs + self.sigma * noise), rng)

        return loss
