"""Adam's step, for searches that keep their own state.

Source: Kingma & Ba 2015 (arXiv 1412.6980), Algorithm 1, with its beta_1 = 0.9 and beta_2 = 0.999.
"""

from jaxtyping import Float
from torch import Tensor

BETA1, BETA2 = 0.9, 0.999


def adam(
    gradient: Float[Tensor, "..."],
    first: Float[Tensor, "..."],
    second: Float[Tensor, "..."],
    age: int | Tensor,
    *,
    tiny: float = 1e-8,
) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."], Float[Tensor, "..."]]:
    """The direction to go along (a rate times it is the step), and the moments with `gradient` in them.

    Args:
        gradient: at the current point.
        first, second: moments of the gradients before it; zeros at the start.
        age: how many gradients that are, this one included; one number, or one for each value.
        tiny: what keeps the division finite.
    """
    first = first.lerp(gradient, 1 - BETA1)
    second = second.lerp(gradient.square(), 1 - BETA2)
    direction = first / (1 - BETA1**age) / ((second / (1 - BETA2**age)).sqrt() + tiny)
    return direction, first, second
