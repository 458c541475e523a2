"""What is checked before anything is believed: images, budgets, logits, and that a model answers the same twice."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from bitproof.attacks import Attack
from bitproof.core.balls import BALLS
from bitproof.core.calling import ROUNDING, check_logits, forward
from bitproof.data import Data
from bitproof.errors import InputError
from bitproof.subjects import Probe

BUDGET_SLACK = 1e-6
"""Part of eps by which a result may exceed it: the rounding of one projection."""


def check_images(images: Tensor, shape: tuple[int, int, int], source: str) -> Tensor:
    """The images, cut to [0, 1] where rounding left it.

    Raises:
        InputError: another shape than [n, *shape], or values outside [0, 1] by more than `ROUNDING`.
    """
    if tuple(images.shape[1:]) != shape:
        raise InputError(
            f"{source} gave images of shape {tuple(images.shape[1:])}",
            rule=f"images of this data set have shape {shape}",
            remedy="Check its size setting",
        )
    if not len(images):
        return images
    low, high = (v.item() for v in torch.aminmax(images))
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):  # catches NaN too
        raise InputError(
            f"{source} gave values from {low:.4g} to {high:.4g}",
            rule="images lie in [0, 1]; normalisation is the model's first layer",
            remedy="Divide 8-bit images by 255 and clip what a method returns",
        )
    return images if low >= 0 and high <= 1 else images.clamp(0, 1)


def check_budget(attack: Attack, inputs: Tensor, adversarial: Tensor) -> None:
    """Refuse images farther from the clean ones than the attack's eps, but for float32's rounding.

    Raises:
        InputError: an image outside the ball.
    """
    ball = BALLS[attack.norm]
    largest = ball.norm(adversarial - inputs).max().item()
    rounding = 2**-23 * ball.diameter(inputs[0].numel())  # one unit in the last place of each value
    if largest > attack.eps * (1 + BUDGET_SLACK) + rounding:
        raise InputError(
            f"attack {attack.label!r} moved an image by {largest:.6g}",
            rule=f"its budget is eps = {attack.eps:.6g} under {attack.norm}",
            remedy="Project the result onto the ball",
        )


def check_steady(attack: Attack, probe: Probe, name: str) -> None:
    """Refuse an attack on a model that answers by its batch, or at random unless the attack averages over its answers.

    Raises:
        InputError: such a model.
    """
    if probe.of_batch:
        raise InputError(
            f"what model {name!r} answers to an image depends on the others in its batch",
            rule="attacked images are judged in other batches than they were made in",
            remedy="Use BatchNorm with running statistics and activations quantized with fixed ranges, or wrap the "
            "model so that it is given one image at a time: torch.cat([net(image[None]) for image in images])",
        )
    if probe.random and attack.averaged == 1:
        raise InputError(
            f"model {name!r} answers the same images differently each time",
            rule="an attack on a randomised model has to follow its expectation",
            remedy='Use AutoAttack(version="rand"), or wrap the attack: EOT(attack=PGD(), draws=20)',
        )


@torch.no_grad()
def predict(model: Callable[[Tensor], Tensor], inputs: Tensor, data: Data, name: str) -> Float[Tensor, "n k"]:
    """Logits in float32, checked: one row an image, a column for every label, finite."""
    logits = forward(model, inputs, name)
    check_logits(logits, inputs, f"model {name!r}")
    if logits.shape[1] < len(data.classes):
        raise InputError(
            f"model {name!r} has {logits.shape[1]} outputs, data set {data.name!r} has {len(data.classes)} classes",
            rule="every label needs an output",
            remedy="Use a model made for this data set",
        )
    return logits
