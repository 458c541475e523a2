"""Whether a model can be trained on data at all, seen before the first step."""

import torch
from torch import nn

from bitproof.core.calling import answer, check_classes
from bitproof.core.copying import copied
from bitproof.data import Data
from bitproof.errors import InputError

HALF = (torch.float16, torch.bfloat16)


def check_trainable(model: nn.Module, data: Data) -> None:
    """Refuse a model that nothing can be learned in, or not these data; it is asked about two images.

    Raises:
        InputError: no parameter that learns, one in half precision (most steps of training are too small for it, and
            Adam divides by a root that is zero there) or that holds NaN, fewer outputs than classes among the labels,
            or a model that cannot take the images.
    """
    learned = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if not learned:
        raise InputError(
            f"a {type(model).__name__} without parameters that learn",
            rule="training changes the parameters that require gradients",
            remedy="Call model.requires_grad_(True)",
        )
    for name, parameter in learned:
        if parameter.dtype in HALF:
            raise InputError(
                f"{name!r} is of type {parameter.dtype}",
                rule="training adds up small steps, which half precision rounds away",
                remedy="Pass model.float(); precision='bfloat16' computes in half precision and learns in float32",
            )
        if parameter.isnan().any():
            raise InputError(
                f"{name!r} of the model that training starts from holds NaN",
                rule="no step of training makes a number of it",
                remedy="Check the checkpoint that it was loaded from",
            )
    with torch.no_grad():
        logits = answer(copied(model).eval(), data.images(range(2)))
    if logits.dim() == 2:
        check_classes(logits.shape[1], int(data.labels.max()))
