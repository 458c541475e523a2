"""What every way to train is: a setting that can be called."""

import abc
import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from bitproof.core.rng import Rng
from bitproof.data import Data
from bitproof.train.hyperparameters import Hyperparameters
from bitproof.train.loop import Advance, Objective, OnEpoch, fit


def _ignore(*_: Any) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Recipe(Hyperparameters, abc.ABC):
    """A way to train: `recipe(model, data, rng=rng)` is a trained copy of `model`."""

    def __call__(
        self,
        model: nn.Module,
        data: Data,
        *,
        rng: Rng,
        state: Path | None = None,
        advance: Advance = _ignore,
        on_epoch: OnEpoch = _ignore,
    ) -> nn.Module:
        """A trained copy of `model`, in eval mode, on the device that `model` is on.

        Args:
            model: what training starts from; it is not changed.
            data: the training examples.
            rng: keyed by one id, the run.
            state: a file that keeps the state of the run. A run that was stopped, even killed, goes on from it
                and ends with the same weights as one that was not.
            advance: called with the number of examples done and a few words on how it goes.
            on_epoch: called after every epoch with the records of all so far and the model, in eval mode.

        Raises:
            InputError: fewer examples than the recipe needs, a loss that is no longer finite, or a state of
                another run.
        """
        trained, objective = self._start(copy.deepcopy(model), data)
        return fit(trained, data, self, objective=objective, rng=rng, path=state, advance=advance, on_epoch=on_epoch)

    @abc.abstractmethod
    def _start(self, model: nn.Module, data: Data) -> tuple[nn.Module, Objective]:
        """The model to be trained, made from the given copy, and what its training minimises."""
