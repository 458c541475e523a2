"""What every attack is: a frozen setting that can be called."""

import abc
from collections.abc import Callable

from jaxtyping import Float, Int
from torch import Tensor

from bitproof.core.rng import Rng

Model = Callable[[Tensor], Tensor]


class Attack(abc.ABC):
    """Looks for images near the given ones that the model gets wrong (or takes for the targets).

    Attributes:
        norm, eps: the budget, in [0, 1] pixel units. The evaluator checks it; the attack is not believed.
    """

    norm: str
    eps: float

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """Short form for people, e.g. "pgd-20 linf 8/255"."""

    @property
    @abc.abstractmethod
    def passes(self) -> int:
        """Most forward and backward passes an example can cost, for progress bars."""

    @abc.abstractmethod
    def __call__(
        self,
        model: Model,
        inputs: Float[Tensor, "n c h w"],
        labels: Int[Tensor, " n"],
        *,
        targets: Int[Tensor, " n"] | None = None,
        rng: Rng,
    ) -> Float[Tensor, "n c h w"]:
        """Adversarial images in [0, 1] within the budget; where none is found, the strongest try.

        Args:
            model: maps images in [0, 1] to logits, in eval mode.
            inputs: clean images in [0, 1].
            labels: true classes.
            targets: classes to reach; None = any class but the label.
            rng: keyed randomness for these examples.
        """


def format_eps(eps: float, norm: str) -> str:
    """linf budgets in grey levels ("8/255"), the others as they are."""
    return f"{eps * 255:.4g}/255" if norm == "linf" else f"{eps:.4g}"
