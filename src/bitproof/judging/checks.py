"""What is checked before anything is believed: images, budgets, logits, and that a model answers the same twice."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.attacks import Attack
from bitproof.core.balls import BALLS
from bitproof.core.calling import ROUNDING, answering, check_logits, device_of, module_of
from bitproof.core.defended import Examined, examined
from bitproof.core.devices import sent
from bitproof.core.room import Room
from bitproof.data import Data
from bitproof.errors import InputError
from bitproof.subjects import Probe, Subject
from bitproof.subjects.reach import parts

_SHOWN = 10
"""Class names in a message."""

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
            remedy='Use AutoAttack(version="rand"), or wrap the attack: EOT(attack=PGD(), draws=20); as text '
            "autoattack:version=rand or eot:attack=pgd,draws=20",
        )


@torch.no_grad()
def examine(model: Callable[[Tensor], Tensor], inputs: Tensor, data: Data, name: str) -> Examined:
    """All that a model says, checked: logits in float32, one row an image, a column for every class and no others,
    finite."""
    found = answering(model, name, inputs, examined)
    check_logits(found.logits, inputs, f"model {name!r}")
    check_outputs(found.logits.shape[1], data, name)
    check_no_probabilities(found.logits, name)
    return found


def examine_in(room: Room | None, model: Callable[[Tensor], Tensor], images: Tensor, data: Data, name: str) -> Examined:
    """`examine` of a model for images from anywhere, on its device, in as many passes as it has room for.

    Without a room, where the batch decides what is answered, they go through it together.
    """
    device = device_of(module_of(model))

    def ask(size: int) -> Examined:
        return Examined.joined([examine(model, sent(part, device), data, name) for part in images.split(size)])

    return ask(len(images)) if room is None else room.fit(ask)


def predict_in(
    room: Room | None, model: Callable[[Tensor], Tensor], images: Tensor, data: Data, name: str
) -> Float[Tensor, "n k"]:
    """The logits alone."""
    return examine_in(room, model, images, data, name).logits


def check_hidden(model: nn.Module, name: str) -> None:
    """Refuse a function or module that works with a network in train mode which is not registered in it: no copy of
    the model holds it, so nothing here puts it into eval mode.

    Raises:
        InputError: such a model.
    """
    own = set(model.modules())
    for _, part in parts(model):
        if part not in own and part.training and any(True for _ in part.parameters()):
            raise InputError(
                f"model {name!r} works with a {type(part).__name__} in train mode",
                rule="what is tested is in eval mode, and what a function or a list holds is not put into it",
                remedy="Call its .eval(), or register it in a module (nn.ModuleList for a list)",
            )


def check_class_names(subject: Subject, data: Data, name: str) -> None:
    """Refuse data whose classes are those of the model's checkpoint in another order: each label would be another's.

    Names that have nothing in common (WordNet numbers and words) say nothing.

    Raises:
        InputError: such data.
    """
    known, here = subject.class_names, data.classes
    if known is None or data.open or known == here or not set(known) & set(here):
        return
    wrong = next(
        (i for i, pair in enumerate(zip(known, here, strict=False)) if pair[0] != pair[1]), min(len(known), len(here))
    )
    of_model, of_data = ((repr(names[wrong]) if wrong < len(names) else "none") for names in (known, here))
    raise InputError(
        f"class {wrong} of model {name!r} is {of_model}, of data set {data.name!r} it is {of_data}",
        rule="label k belongs to output k, and the model's checkpoint says what its outputs are",
        remedy="Name the classes in the model's order (classes=model.class_names, on the command line "
        f"folder:ROOT,classes=FILE): {', '.join(known[:_SHOWN])}{', ...' * (len(known) > _SHOWN)}",
    )


def check_outputs(outputs: int, data: Data, name: str) -> None:
    """Refuse a model of other classes than the data have.

    Raises:
        InputError: another number of outputs than classes; a larger one is allowed where labels are plain numbers.
    """
    if outputs < len(data.classes) or (outputs > len(data.classes) and not data.open):
        raise InputError(
            f"model {name!r} has {outputs:,} outputs, data set {data.name!r} has {len(data.classes):,} classes",
            rule="label k belongs to output k, so each class has an output, and each output a class",
            remedy="Use a model made for these data; where classes are missing, name all in the order of the outputs "
            "(classes=, on the command line folder:ROOT,classes=FILE), and read ImageNet's by imagenet:ROOT",
        )


def check_no_probabilities(logits: Float[Tensor, "n k"], name: str) -> None:
    """Refuse outputs that are a softmax's: another softmax on top makes all confidences small, and gradients poor.

    Raises:
        InputError: no output is negative, and those of each image add up to 1.
    """
    if len(logits) and bool((logits >= 0).all()) and bool(((logits.sum(1) - 1).abs() < 1e-4).all()):
        raise InputError(
            f"the outputs of model {name!r} are probabilities: none is negative, and each image's add up to 1",
            rule="a model gives logits, of which confidences and losses take the softmax",
            remedy="Leave out its last softmax, or return torch.log(outputs.clamp(min=1e-12))",
        )
