"""Recipes of our own, with every usual setting at hand; the papers' are in `bitproof.train.papers`."""

from dataclasses import replace

from bitproof.quant import Scheme
from bitproof.train.objectives import CrossEntropy, Distillation, Objective
from bitproof.train.optimisation import Optimisation
from bitproof.train.penalties import ClippingLevels
from bitproof.train.quantization import Quantization
from bitproof.train.recipe import Recipe

CROSS_ENTROPY = CrossEntropy()
LSQ_W4A4 = Scheme("lsq", weight_bits=4, act_bits=4)


def standard(
    *,
    objective: Objective = CROSS_ENTROPY,
    epochs: int = 20,
    batch_size: int = 64,
    optimizer: str = "adamw",
    learning_rate: float = 1e-2,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    schedule: str = "one-cycle",
    milestones: tuple[float, ...] = (),
    decay: float = 0.1,
    averaging: float = 0.0,
    augmentation: str = "none",
    holdout: int = 0,
    precision: str = "float32",
    compiled: bool = False,
) -> Recipe:
    """Train a model on labelled images, by default with AdamW under a one-cycle schedule.

    The settings are those of `Optimisation` and `Recipe`.
    """
    return Recipe(
        optimisation=Optimisation(
            epochs=epochs,
            batch_size=batch_size,
            optimizer=optimizer,
            learning_rate=learning_rate,
            momentum=momentum,
            weight_decay=weight_decay,
            schedule=schedule,
            milestones=milestones,
            decay=decay,
        ),
        objective=objective,
        averaging=averaging,
        augmentation=augmentation,
        holdout=holdout,
        precision=precision,
        compiled=compiled,
    )


def qat(
    *,
    scheme: Scheme = LSQ_W4A4,
    calibration: int = 512,
    objective: Objective = CROSS_ENTROPY,
    distillation: float = 0.0,
    temperature: float = 4.0,
    penalty: float = 0.0,
    epochs: int = 20,
    batch_size: int = 64,
    optimizer: str = "adamw",
    learning_rate: float = 1e-2,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    schedule: str = "one-cycle",
    milestones: tuple[float, ...] = (),
    decay: float = 0.1,
    averaging: float = 0.0,
    augmentation: str = "none",
    holdout: int = 0,
    precision: str = "float32",
    compiled: bool = False,
) -> Recipe:
    """Train a quantized copy of a float model, be its weights random or those of a checkpoint.

    Args:
        scheme: how the copy is quantized.
        calibration: number of training images that set activation ranges before training.
        objective: what is minimised.
        distillation: weight of the float model that training starts from as a teacher, against 1 - distillation for
            the objective; 0 = no teacher. `temperature` divides both models' logits.
        penalty: weight of the penalty on clipping levels; 0 = none.
        epochs, batch_size, optimizer, learning_rate, momentum, weight_decay, schedule, milestones, decay,
            averaging, augmentation, holdout, precision, compiled: as for `standard`.
    """
    plain = standard(
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        learning_rate=learning_rate,
        momentum=momentum,
        weight_decay=weight_decay,
        schedule=schedule,
        milestones=milestones,
        decay=decay,
        averaging=averaging,
        augmentation=augmentation,
        holdout=holdout,
        precision=precision,
        compiled=compiled,
    )
    return replace(
        plain,
        objective=_taught(objective, distillation, temperature),
        penalties=(ClippingLevels(weight=penalty),) if penalty else (),
        quantization=Quantization(scheme=scheme, calibration=calibration),
    )


def _taught(objective: Objective, weight: float, temperature: float) -> Objective:
    """The objective with the teacher's part beside it; itself for a weight of 0."""
    return Distillation(objective=objective, weight=weight, temperature=temperature) if weight else objective
