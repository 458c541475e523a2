"""A deployed model that can be attacked by its gradients: those of a twin in torch.

An integer model has no gradient. Its twin answers with it, and differentiates through another model: the exact
fake-quantized form, rebuilt from the file's own scales, or its float origin. So whatever an attack finds is judged on
what is deployed. At 4 bits the float origin's gradient leads attacks astray: the file's own form breaks more, and the
simulation that it was exported from most (`benchmarks/twins.py`).
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.core.calling import logits_in, logits_of
from bitproof.core.copying import copied
from bitproof.core.ste import straight_through
from bitproof.deploy.runtime import OnnxModel
from bitproof.errors import InputError
from bitproof.subjects import Subject


class Twin(nn.Module):
    """Answers with a deployed model, bit for bit, and differentiates through another one.

    A step of an attack costs one answer of the deployed model, and one forward and backward of the other.

    Args:
        deployed: a session, or what wraps one, such as its normalisation.
        gradient_from: a differentiable model of the same images and classes; None = read from the deployed file.

    Raises:
        InputError: `gradient_from` has no gradients either, or nothing can be read from the file.

    Example:
        >>> import bitproof as bp
        >>> from bitproof.deploy import Twin
        >>> network = bp.load_model("digits_cnn")
        >>> twin = Twin(bp.freeze(network), gradient_from=network)
        >>> image = torch.rand(1, 1, 20, 20, requires_grad=True)
        >>> twin(image).sum().backward(); bool(image.grad.any())
        True
    """

    differentiable: ClassVar[bool] = True
    gradients_only: ClassVar[tuple[str, ...]] = ("gradient_from",)

    def __init__(self, deployed: nn.Module, *, gradient_from: nn.Module | None = None) -> None:
        super().__init__()
        source = differentiable(deployed) if gradient_from is None else gradient_from
        if not Subject.of(source).gradients:
            raise InputError(
                f"a {type(source).__name__} as the source of gradients",
                rule="a session of a runtime has none",
                remedy="Pass the model in torch that the file came from, or leave gradient_from out",
            )
        self.deployed = deployed
        self.gradient_from = source
        self.training = source.training

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        answer = logits_in(self.deployed(images.detach()), len(images))
        if not (torch.is_grad_enabled() and images.requires_grad):
            return answer
        through = logits_of(self.gradient_from, images)
        if through.shape != answer.shape:
            raise InputError(
                f"the deployed model gives {answer.shape[1]} logits, its twin {through.shape[1]}",
                rule="a twin has the same classes in the same order",
                remedy="Pass the model that the deployed one came from",
            )
        return straight_through(through, answer)


def differentiable(model: nn.Module) -> nn.Module:
    """A copy of a model in which what its ONNX files say stands in the place of their sessions.

    Raises:
        InputError: there is none in it, or one with an operator that has no gradient here.

    Example:
        >>> differentiable(nn.Flatten())  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        bitproof.errors.InputError: no ONNX file in this Flatten: gradients are read from ONNX files. Pass ...
    """
    if isinstance(model, OnnxModel):
        return model.graph()
    made = copied(model)
    found = [name for name, part in made.named_modules() if isinstance(part, OnnxModel)]
    if not found:
        raise InputError(
            f"no ONNX file in this {type(model).__name__}",
            rule="gradients are read from ONNX files",
            remedy="Pass gradient_from=, the model in torch that it came from (--twin model, or --twin NAME)",
        )
    for name in found:
        made.set_submodule(name, made.get_submodule(name).graph())  # pyright: ignore
    return made
