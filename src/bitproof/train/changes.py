"""What is usually set otherwise in a recipe, by flat names, for all recipes alike."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, TypedDict, Unpack

from bitproof.errors import InputError, lookup
from bitproof.quant import Scheme, as_scheme
from bitproof.train.alarm import Alarm
from bitproof.train.objectives import Distillation, Objective, as_objective
from bitproof.train.optimisation import Optimisation
from bitproof.train.penalties import ClippingLevels, Orthogonality
from bitproof.train.quantization import Quantization
from bitproof.train.recipe import Recipe

PENALTY_OF = {"penalty": ClippingLevels, "orthogonality": Orthogonality}
"""Whose weight a change is."""


class Changes(TypedDict, total=False):
    """Keywords of every recipe, and its fields on the command line; what is left out is as the recipe has it.

    Those that do not stand here are fields of `Optimisation`, `Quantization` and `Recipe`, and explained there.

    Attributes:
        distillation: weight of a teacher, by default the float model that training starts from, against
            1 - distillation for the objective; 0 = no teacher. `temperature` divides both models' logits.
        penalty: weight of the penalty on clipping levels; 0 = none.
        scheme, objective: settings or their text; the objective may also be a function of logits and labels.
        orthogonality: weight of that on matrices whose rows are not orthonormal; 0 = none.
    """

    scheme: Scheme | str
    calibration: int
    noise: float
    initial: str
    objective: Objective | Callable[..., Any] | str
    distillation: float
    temperature: float
    penalty: float
    orthogonality: float
    epochs: int
    replays: int
    batch_size: int
    optimizer: str
    learning_rate: float
    momentum: float
    nesterov: bool
    eps: float
    weight_decay: float
    schedule: str
    milestones: tuple[float, ...]
    decay: float
    scaled: bool
    averaging: float
    augmentation: str
    share: float
    holdout: int
    precision: str
    compiled: bool
    alarm: Alarm | None


def changed(recipe: Recipe, **to: Unpack[Changes]) -> Recipe:
    """The recipe with other values for what is named.

    Raises:
        InputError: a name that is none, a value out of range, or a scheme for a recipe that does not quantize.

    Example:
        >>> changed(Recipe(), epochs=3, distillation=0.5).label
        'cross-entropy + distillation 0.5, 3 epochs of adamw'
    """
    given: dict[str, Any] = dict(to)
    for name in given:
        lookup(Changes.__annotations__, name, "setting of a recipe")
    if "scheme" in given:
        given["scheme"] = as_scheme(given["scheme"])
    if "objective" in given:
        given["objective"] = as_objective(given["objective"])
    quantization, of_quantization = recipe.quantization, _of(Quantization, given)
    if quantization is None and of_quantization:
        raise InputError(
            f"{', '.join(of_quantization)} of a recipe that trains a float model",
            rule="only quantization-aware recipes have a scheme",
            remedy="Use qat, lsq, pact or another one of them",
        )
    new = replace(
        recipe,
        **_of(Recipe, given),
        optimisation=replace(recipe.optimisation, **_of(Optimisation, given)),
        quantization=quantization and replace(quantization, **of_quantization),
    )
    temperature = {name: given[name] for name in ("temperature",) if name in given}
    if weight := given.get("distillation"):
        new = replace(new, objective=Distillation(objective=new.objective, weight=weight, **temperature))
    elif temperature and isinstance(new.objective, Distillation):
        new = replace(new, objective=replace(new.objective, **temperature))
    elif temperature:
        raise InputError(
            f"temperature is {given['temperature']} and nothing is distilled",
            rule="it divides the logits of a teacher and its student",
            remedy="Add distillation=0.5, or leave it out",
        )
    for name, kind in PENALTY_OF.items():
        if name in given:
            others = tuple(penalty for penalty in new.penalties if not isinstance(penalty, kind))
            new = replace(new, penalties=(*others, kind(weight=given[name])) if given[name] else others)
    return new


def _of(kind: type, given: dict[str, Any]) -> dict[str, Any]:
    """What is given for the fields of one part."""
    return {field.name: given[field.name] for field in fields(kind) if field.name in given}
