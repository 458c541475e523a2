"""What a penalty is: a setting that is called with the model, whatever the images."""

import abc

from jaxtyping import Float
from torch import Tensor, nn


class Penalty(abc.ABC):
    """A term of the loss that depends on the model alone."""

    @abc.abstractmethod
    def __call__(self, model: nn.Module) -> Float[Tensor, ""]:
        """What is added to the loss of a step, in float32, its weight included.

        Its gradient may come from autograd, or in closed form from an `autograd.Function`.
        """
