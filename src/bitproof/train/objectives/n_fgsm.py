"""N-FGSM (de Jorge et al. 2022, arXiv 2202.01181): one step from a noisy image, never cut to the ball.

    x~ = clip_[0,1]( x + u ),  u uniform in [-k eps, k eps];    x' = clip_[0,1]( x~ + eps sign(grad L(x~)) )

(Algorithm 1). Stronger noise and no cut are what keeps a single step from catastrophic overfitting, up to 16/255 on
CIFAR-10. So images lie up to (k + 1) eps away: this is a way to train, not an attack within a budget.
"""

from dataclasses import dataclass, field, replace

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from bitproof.attacks.goal import input_gradient
from bitproof.core.balls import check_eps
from bitproof.core.calling import Model, logits_of
from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.train.batches import Batch
from bitproof.train.crafting import check_gradient, crafted
from bitproof.train.objectives.adversarial import adversarial_label
from bitproof.train.objectives.base import Loss, Objective, OneStep
from bitproof.train.objectives.cross_entropy import CrossEntropy


@dataclass(frozen=True, kw_only=True)
class NFGSM(Objective):
    """Another objective, on images one step away from noisy ones (de Jorge et al. 2022).

    Attributes:
        eps: length of the step, under linf in [0, 1] pixel units.
        noise: k, the largest noise in eps.
        gradient: what a quantized model is attacked along, see `Adversarial`.
        objective: what is minimised on them.
    """

    eps: float = 8 / 255
    noise: float = 2.0
    gradient: str = "ste"
    objective: Objective = field(default_factory=CrossEntropy)

    def __post_init__(self) -> None:
        check_eps(self.eps, "linf")
        check_gradient(self.gradient)
        if not 0 <= self.noise < float("inf"):
            raise InputError(
                f"noise is {self.noise}", rule="it is the largest noise in eps, 0 at least", remedy="Use 2"
            )

    @property
    def label(self) -> str:
        attack = f"n-fgsm linf {self.eps * 255:.4g}/255" + f" k={self.noise:g}" * (self.noise != 2)
        return f"{self.objective.label} on {adversarial_label(attack, self.gradient)}"

    @property
    def one_step(self) -> OneStep | None:
        return OneStep(eps=self.eps, gradient=self.gradient, objective=self.objective)

    def start(self, teacher: nn.Module) -> Loss:
        own = self.objective.start(teacher)

        def loss(model: nn.Module, batch: Batch, rng: Rng) -> tuple[Tensor, Tensor]:
            images = crafted(model, lambda attacked: self._images(attacked, batch, rng), self.gradient)
            return own(model, replace(batch, inputs=images), rng)

        return loss

    def _images(self, model: Model, batch: Batch, rng: Rng) -> Float[Tensor, "n c h w"]:
        draws = rng.fold("noise").uniform(tuple(batch.inputs.shape[1:])).to(batch.inputs)
        noisy = (batch.inputs + self.noise * self.eps * (2 * draws - 1)).clamp_(0, 1).requires_grad_()
        gradient = input_gradient(F.cross_entropy(logits_of(model, noisy), batch.labels, reduction="sum"), noisy)
        return (noisy.detach() + self.eps * gradient.sign()).clamp_(0, 1)
