"""What an attack asks of a model and a task before it starts, and what it says when that is missing."""

import math
import warnings
from functools import partial
from numbers import Integral

import torch
from torch import Tensor

from bitproof.attacks.goal import Goal
from bitproof.core.calling import Model, check_classes, check_logits, check_range, logits_of, module_of
from bitproof.errors import InputError
from bitproof.subjects import steadiness

PROBES = 8
"""How many examples are predicted to see whether the model answers, and steadily."""


def check_gradients(pooled: bool) -> None:
    """Raise `InputError` where the caller has switched gradients off; `pooled` attacks switch them on where needed."""
    if torch.is_inference_mode_enabled() or not (pooled or torch.is_grad_enabled()):
        raise InputError(
            "gradients are switched off around this attack",
            rule="it follows gradients, which `torch.no_grad()` and `torch.inference_mode()` do not keep",
            remedy="Call it outside of them, or within `torch.inference_mode(False)` and `torch.enable_grad()`",
        )


def check_task(model: Model, inputs: Tensor, labels: Tensor, targets: Tensor | None) -> None:
    """Raise `InputError` for a model in train mode, images outside [0, 1], or targets equal to labels."""
    module = module_of(model)
    training = (
        [] if module is None else [type(part).__name__ for part in module.modules() if getattr(part, "training", False)]
    )
    if training:
        raise InputError(
            f"the model is in train mode ({', '.join(dict.fromkeys(training))})",
            rule="BatchNorm, dropout and some quantizers would let the examples of a batch, and chance, decide",
            remedy="Call model.eval() first",
        )
    check_range(inputs, "inputs")
    if targets is not None and bool((targets == labels).any()):
        raise InputError(
            f"{int((targets == labels).sum())} of {len(labels)} targets equal their labels",
            rule="a target is a class to reach, other than the true one",
            remedy="Use for example (labels + 1) % classes",
        )


@torch.no_grad()
def check_answers(model: Model, inputs: Tensor, goal: Goal, draws: int) -> None:
    """Raise `InputError` if the model's logits are not finite, too few, differ when it is asked again, or follow from
    the other images in the batch.

    A model that answers at random is fine for an attack that averages over several `draws`.
    """
    probes = inputs[:PROBES]
    if not len(probes):
        return
    logits = logits_of(model, probes)
    check_logits(logits, probes)
    largest = max(int(classes.max()) for classes in (goal.labels, goal.aims) if classes is not None)
    check_classes(logits.shape[1], largest)
    if draws > 1:
        return
    random, of_batch = steadiness(partial(logits_of, model), probes)
    if of_batch:
        raise InputError(
            "what the model answers to an image depends on the others in its batch",
            rule="images leave an attack's batches as they break, which would change what is said of the rest",
            remedy="Wrap it so that it is given one image at a time: torch.cat([net(image[None]) for image in images])",
        )
    if random:
        raise InputError(
            "the model answers images differently when asked again",
            rule="a single answer of a random model proves nothing",
            remedy='Average over its answers with AutoAttack(version="rand") or APGD(draws=20), or fix its randomness',
        )


def check_counts(setting: object, *names: str, least: int = 1) -> None:
    """Raise `InputError` for a field that counts something and is no whole number, or less than `least`."""
    for name in names:
        value = getattr(setting, name)
        if not isinstance(value, Integral) or value < least:
            raise InputError(
                f"{name} is {value!r}",
                rule=f"{type(setting).__name__} takes a whole number, {least} at least",
                remedy=f"Use {least} or more, or leave it out",
            )


def check_positive(**values: float) -> None:
    """Raise `InputError` for a value that is not a positive finite number."""
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise InputError(
                f"{name} is {value}", rule="it is a positive number", remedy="Leave it out for the default"
            )


def check_rate(**values: float) -> None:
    """Raise `InputError` for a value that is not between 0 and 1."""
    for name, value in values.items():
        if not 0 < value < 1:
            raise InputError(
                f"{name} is {value}", rule="it lies between 0 and 1", remedy="Leave it out for the default"
            )


def check_kappa(kappa: float) -> None:
    """Raise `InputError` for a confidence that no logits have."""
    if not 0 <= kappa < math.inf:
        raise InputError(f"kappa is {kappa}", rule="a confidence is finite and at least 0", remedy="Use 0")


def warn_masked(gradient: Tensor, reached: Tensor) -> None:
    """Warn if the gradient is exactly zero for most images that are not there yet: following it proves nothing."""
    flat = ~gradient.flatten(1).any(1) & ~reached
    if flat.float().mean() > 0.5:
        warnings.warn(
            "the gradient is zero for most images, as behind rounding without a straight-through estimator: "
            "attack through it with BPDA, or trust Square alone",
            stacklevel=2,
        )
