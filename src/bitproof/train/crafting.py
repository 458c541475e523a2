"""Making adversarial images in the middle of training, which leaves the model exactly as it was.

BatchNorm and dropout are in eval mode and quantizers hold still while images are made, and no weight gets a gradient:
the statistics and ranges of the result are those of the images that it was trained on, not of half-made ones.

A quantized model can be attacked along three gradients:

    ste     through its quantizers, as training itself goes
    twin    that of its float weights without any quantizer
    both    the sum of the two, at the quantized model's answers
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bitproof.core.calling import Model, logits_of
from bitproof.errors import lookup
from bitproof.quant import unquantized


def crafted(
    model: nn.Module, make: Callable[[Model], Float[Tensor, "n c h w"]], gradient: str = "ste"
) -> Float[Tensor, "n c h w"]:
    """What `make` makes of the model, or of a function whose gradient is the named one."""
    with held_still(model):
        return GRADIENTS[gradient](model, make).detach()


def check_gradient(gradient: str) -> None:
    """Raise `InputError` for a name that is none of `GRADIENTS`."""
    lookup(GRADIENTS, gradient, "gradient")


@contextmanager
def held_still(model: nn.Module) -> Iterator[None]:
    """The model in eval mode and without weight gradients; every part gets its own mode back."""
    modes = [(module, module.training) for module in model.modules()]
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        model.eval()
        for parameter in learned:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in learned:
            parameter.requires_grad_(True)
        for module, mode in modes:
            module.training = mode


def _ste(model: nn.Module, make: Callable[[Model], Tensor]) -> Tensor:
    with parametrize.cached():  # weights do not change meanwhile: they are rounded once, whatever the number of passes
        return make(model)


def _twin(model: nn.Module, make: Callable[[Model], Tensor]) -> Tensor:
    with unquantized(model):
        return make(model)


def _both(model: nn.Module, make: Callable[[Model], Tensor]) -> Tensor:
    def answers(images: Tensor) -> Tensor:
        logits = logits_of(model, images)
        with unquantized(model):
            twin = logits_of(model, images)
        return logits + twin - twin.detach()

    return make(answers)


GRADIENTS: dict[str, Callable[[nn.Module, Callable[[Model], Tensor]], Tensor]] = {
    "ste": _ste,
    "twin": _twin,
    "both": _both,
}
