"""Somebody's own loss: any function of logits and labels."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from bitproof.train.objectives.base import Loss, Objective, of_logits


@dataclass(frozen=True, kw_only=True)
class Criterion(Objective):
    """A function as an objective.

    Attributes:
        function: of logits [n, k] and labels [n]; gives the mean over the batch. Its code, and all of its own that it
            uses, is part of what a run is.
    """

    function: Callable[..., Any]

    @property
    def label(self) -> str:
        named = self.function
        while isinstance(named, partial):
            named = named.func
        return getattr(named, "__name__", type(named).__name__)

    def start(self, teacher: nn.Module) -> Loss:
        return of_logits(self.function)
