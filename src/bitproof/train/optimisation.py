"""The optimiser, its schedule, and how long it runs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bitproof.attacks.checks import check_counts
from bitproof.errors import InputError, lookup
from bitproof.quant import limited_weights, quantizer_parameters
from bitproof.quant.binaryconnect import glorot_coefficient
from bitproof.train.schedules import SCHEDULES

OPTIMIZERS: dict[str, Callable[["Optimisation", list[dict[str, Any]]], torch.optim.Optimizer]] = {
    "sgd": lambda how, groups: torch.optim.SGD(groups, how.learning_rate, momentum=how.momentum, nesterov=how.nesterov),
    "adam": lambda how, groups: torch.optim.Adam(groups, how.learning_rate, eps=how.eps),
    "adamw": lambda how, groups: torch.optim.AdamW(groups, how.learning_rate, eps=how.eps),
}

LARGEST_RATE = 1000.0
"""Steps beyond it are no mistakes of judgement but of typing, and weights overflow without the loss saying so."""


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """How a loss is minimised, whatever it is.

    Attributes:
        epochs: passes over the data.
        replays: steps that are taken on each batch in a row; 1 but in free adversarial training.
        batch_size: examples a step; a last batch of one, which BatchNorm cannot use, is left out.
        optimizer: "sgd", "adam" (both with an l2 penalty as weight decay) or "adamw" (decoupled).
        learning_rate: the schedule's peak.
        momentum, nesterov: of SGD, and whether it looks ahead (Nesterov's).
        eps: of Adam, what is added to the root of the second moment.
        weight_decay: of everything but the parameters of quantizers.
        schedule: a name in `bitproof.train.schedules.SCHEDULES`, followed step by step.
        milestones: where "steps" multiplies the rate by `decay`, as parts of the whole run, ascending in (0, 1).
        decay: factor of "steps" at each milestone; of "exponential" over the whole run.
        scaled: whether weights that their quantizer keeps within limits (binary ones) have a rate of their own: the
            rate over Glorot's coefficient of the layer (`bitproof.quant.binaryconnect.glorot_coefficient`), 39 times
            as much for 3x3 convolutions from 128 to 128 channels.

    Example:
        >>> Optimisation(learning_rate=0.1, schedule="steps", milestones=(0.3, 0.6), decay=0.5).rate(0.7)
        0.025
    """

    epochs: int = 20
    replays: int = 1
    batch_size: int = 64
    optimizer: str = "adamw"
    learning_rate: float = 1e-2
    momentum: float = 0.9
    nesterov: bool = False
    eps: float = 1e-8
    weight_decay: float = 1e-4
    schedule: str = "one-cycle"
    milestones: tuple[float, ...] = ()
    decay: float = 0.1
    scaled: bool = False

    def __post_init__(self) -> None:
        lookup(OPTIMIZERS, self.optimizer, "optimizer")
        lookup(SCHEDULES, self.schedule, "schedule")
        check_counts(self, "epochs", "replays")
        check_counts(self, "batch_size", least=2)
        for name in ("learning_rate", "decay", "eps"):
            if not 0 < getattr(self, name) <= LARGEST_RATE:
                raise InputError(
                    f"{name} is {getattr(self, name)}",
                    rule=f"it is positive, and at most {LARGEST_RATE:g}, beyond which nothing is learned",
                    remedy="Try 0.1 or 0.01",
                )
        for name, most in (("momentum", 1.0), ("weight_decay", 1e6)):
            if not 0 <= getattr(self, name) < most:
                raise InputError(
                    f"{name} is {getattr(self, name)}", rule=f"it lies in [0, {most:g})", remedy="Use 0 for none"
                )
        if self.nesterov and not (self.optimizer == "sgd" and self.momentum > 0):
            raise InputError(
                f"nesterov with {self.optimizer} and momentum {self.momentum:g}",
                rule="it is a way to use the momentum of SGD",
                remedy="Use optimizer 'sgd' and a momentum above 0, or leave it out",
            )
        if list(self.milestones) != sorted(self.milestones) or not all(0 < m < 1 for m in self.milestones):
            raise InputError(
                f"milestones are {self.milestones}",
                rule="they are parts of the whole run, ascending between 0 and 1",
                remedy="For epochs 60 and 120 of 200, write (0.3, 0.6)",
            )

    def rate(self, progress: float) -> float:
        """The learning rate when so much of the whole run is done, from 0 to 1."""
        return self.learning_rate * SCHEDULES[self.schedule](progress, self.milestones, self.decay)

    def start(self, model: nn.Module, further: Iterable[nn.Parameter] = ()) -> torch.optim.Optimizer:
        """The optimiser of the model's parameters and `further` ones.

        What quantizers learn (steps, clipping levels, scales) does not decay.
        """
        free = {id(p) for p in quantizer_parameters(model)}
        scales = {id(p): 1 / glorot_coefficient(p) for p, _ in limited_weights(model)} if self.scaled else {}
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for parameter in (*model.parameters(), *further):
            weight_decay = 0.0 if id(parameter) in free else self.weight_decay
            groups.setdefault((weight_decay, scales.get(id(parameter), 1.0)), []).append(parameter)
        return OPTIMIZERS[self.optimizer](
            self,
            [
                {"params": parameters, "weight_decay": weight_decay, "scale": scale}
                for (weight_decay, scale), parameters in groups.items()
            ],
        )

    def pace(self, optimizer: torch.optim.Optimizer, progress: float) -> None:
        """Give each group of the optimiser its learning rate when so much of the whole run is done, from 0 to 1."""
        for group in optimizer.param_groups:
            group["lr"] = group["scale"] * self.rate(progress)
