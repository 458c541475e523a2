"""Do two models belong together: do their answers to the same images rise and fall together, and if not, why not?

Two logits of an image mean little by themselves, as a class may be favoured by both models alike. So each class's mean
over the images is taken off, and each image's mean over the classes; what is left of both models is correlated. It is
1 for models that differ by a factor, near 1 for a model and its quantized copy, and near 0 for models that have nothing
to do with each other. Where images in another layout or scale raise it, that is named.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.core.calling import answer, plain_context
from bitproof.core.copying import copied
from bitproof.deploy.twin import Twin
from bitproof.errors import InputError
from bitproof.models.forms import Form, forms, undone, usual_normalisations
from bitproof.quant.calibration import Calibration, batches_of

UNRELATED, ALIKE = 0.3, 0.9
"""Correlations of logits below which two models have nothing to do with each other, and above which nothing is said."""

_GAIN = 0.1
"""By how much another way to give images has to raise the correlation to be named."""


@dataclass(frozen=True, kw_only=True)
class Kinship:
    """How two models' answers to the same images go together.

    Attributes:
        count: images.
        same: images with the same prediction.
        correlation: of the centred logits, in [-1, 1].
        mistake: how the second model should be given images instead, in words; None where nothing better was found.
    """

    count: int
    same: int
    correlation: float
    mistake: str | None = None

    @property
    def finding(self) -> str:
        """What is to be said of them."""
        text = f"{self.same} of {self.count} predictions agree, the logits correlate by {self.correlation:.2f}"
        if self.correlation < UNRELATED:
            text += ": the two models are not related"
        elif self.correlation < ALIKE:
            text += ": the two models differ by much"
        return text + (f"; {self.mistake}" if self.mistake else "")


def correlation(one: Float[Tensor, "n k"], other: Float[Tensor, "n k"]) -> float:
    """Of logits less the mean of each class and of each image; 1 where both are constant, and 0 where one of them is.

    Example:
        >>> logits = torch.tensor([[0.0, 1.0, 5.0], [2.0, 0.0, 1.0], [1.0, 4.0, 0.0]])
        >>> round(correlation(logits, 3 * logits + 7), 3), round(correlation(logits, -logits), 3)
        (1.0, -1.0)
    """
    a, b = (x.detach().double() - x.detach().double().mean(0) for x in (one, other))
    a, b = (x - x.mean(1, keepdim=True) for x in (a, b))
    size = (a.square().sum() * b.square().sum()).sqrt()
    return float((a * b).sum() / size) if size > 0 else float(not (a.any() or b.any()))


@plain_context()
@torch.no_grad()
def kinship(model: nn.Module, deployed: nn.Module, images: Calibration) -> Kinship:
    """Compare the answers of a deployed model with those of the one that it came from, and look for mistakes.

    Args:
        model, deployed: of the same images in [0, 1] and the same classes; both are left as they are.
        images: a hundred or so, in any form that `quantize` takes.

    Raises:
        InputError: other classes, or a model that does not take the images.
    """
    model, deployed = copied(model).eval(), copied(deployed).eval()
    batches = list(batches_of(images)())
    expected = torch.cat([answer(model, batch).cpu() for batch in batches])
    found = torch.cat([answer(deployed, batch).cpu() for batch in batches])
    if found.shape != expected.shape:
        raise InputError(
            f"the deployed model gives {found.shape[1]} logits, the other one {expected.shape[1]}",
            rule="two models of the same classes, in the same order, are compared",
            remedy="Pass the model that the deployed one came from",
        )
    related = correlation(expected, found)
    mistake = None
    if related < ALIKE:
        tried = []
        for form in _forms(deployed, batches[0].shape[1]):
            answers = answer(deployed, form.change(batches[0])).cpu()
            if bool(answers.isfinite().all()):
                tried.append((correlation(expected[: len(answers)], answers), form))
        best, form = max(tried, key=lambda pair: pair[0], default=(-1.0, None))
        if form is not None and best > max(related + _GAIN, UNRELATED):
            mistake = f"given {form.text} they correlate by {best:.2f}: {form.remedy}"
    same = int((expected.argmax(1) == found.argmax(1)).sum())
    return Kinship(count=len(found), same=same, correlation=related, mistake=mistake)


def check_twin(twin: Twin, images: Calibration) -> Kinship:
    """Refuse a twin whose source of gradients has nothing to do with the model that it answers with.

    Raises:
        InputError: such a twin, with the layout or scale that would mend it.
    """
    found = kinship(twin.gradient_from, twin.deployed, images)
    if found.correlation < UNRELATED:
        raise InputError(
            f"a twin whose two models do not belong together ({found.finding})",
            rule=f"the logits of a deployed model and of its source of gradients correlate by {UNRELATED} or more",
            remedy="Pass the model that the deployed one came from, with its weights and preprocessing",
        )
    return found


def _forms(model: nn.Module, channels: int) -> list[Form]:
    """Other ways to give images that a deployed model may expect: the usual ones, and what a converter adds."""
    remedy = "convert it for images [n, c, h, w] in [0, 1], or wrap it so that it gets them"
    return [
        *forms(model, channels),
        *(
            undone(f"images of which a normalisation by {text} is undone", mean, std)
            for text, (mean, std) in usual_normalisations(channels).items()
        ),
        Form(text="images with height and width exchanged", remedy=remedy, change=lambda x: x.transpose(2, 3)),
        Form(
            text="images that are channels-last in memory",
            remedy=remedy,
            change=lambda x: x.permute(0, 2, 3, 1).reshape(x.shape),
        ),
    ]
