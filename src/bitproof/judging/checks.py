"""What is checked before anything is believed: images, budgets, logits, and that a model answers the same twice."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from bitproof.attacks import Attack
from bitproof.core.balls import BALLS
from bitproof.core.calling import check_logits, forward
from bitproof.data import Data
from bitproof.errors import InputError

BUDGET_SLACK = 1e-6
"""Part of eps by which a result may exceed it: the rounding of one projection."""


def check_images(images: Tensor, shape: tuple[int, int, int], source: str) -> None:
    """Refuse what no model is tested on.

    Raises:
        InputError: another shape than [n, *shape], or values outside [0, 1].
    """
    if tuple(images.shape[1:]) != shape:
        raise InputError(
            f"{source} gave images of shape {tuple(images.shape[1:])}",
            rule=f"images of this data set have shape {shape}",
            remedy="Check its size setting",
        )
    if not len(images):
        return
    low, high = (v.item() for v in torch.aminmax(images))
    if not (low >= 0 and high <= 1):  # catches NaN too
        raise InputError(
            f"{source} gave values from {low:.4g} to {high:.4g}",
            rule="images lie in [0, 1]; normalisation is the model's first layer",
            remedy="Divide 8-bit images by 255 and clip what a method returns",
        )


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


def check_steady(attack: Attack, random: bool, name: str) -> None:
    """Refuse an attack on a model that answers at random, unless it averages over its answers.

    Raises:
        InputError: such a model, and an attack that asks once.
    """
    if random and attack.averaged == 1:
        raise InputError(
            f"model {name!r} answers the same images differently each time",
            rule="an attack on a randomised model has to follow its expectation",
            remedy='Use AutoAttack(version="rand"), or wrap the attack: EOT(attack=PGD(), draws=20); as text '
            "autoattack:version=rand or eot:attack=pgd,draws=20",
        )


@torch.no_grad()
def predict(model: Callable[[Tensor], Tensor], inputs: Tensor, data: Data, name: str) -> Float[Tensor, "n k"]:
    """Logits in float32, checked: one row an image, a column for every label, finite."""
    logits = forward(model, inputs, name).float()
    check_logits(logits, inputs, f"model {name!r}")
    if logits.shape[1] < len(data.classes):
        raise InputError(
            f"model {name!r} has {logits.shape[1]} outputs, data set {data.name!r} has {len(data.classes)} classes",
            rule="every label needs an output",
            remedy="Use a model made for this data set",
        )
    return logits
