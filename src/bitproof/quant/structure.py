"""What was done to an architecture before it was quantized, as settings, so that a checkpoint can do it again.

A structural step is a frozen dataclass that is called with a model and returns a copy with other layers, the
same for every set of weights. Each model carries the steps that made it, in order.
"""

from typing import Any, Protocol, runtime_checkable

from torch import nn


@runtime_checkable
class Step(Protocol):
    """A change of layers, whatever their weights."""

    def __call__(self, model: nn.Module) -> nn.Module: ...


def steps_of(model: nn.Module) -> tuple[Any, ...]:
    """The steps that made this model from its architecture, in order."""
    return getattr(model, "structure", ())


def note_step(model: nn.Module, step: Step) -> nn.Module:
    """The model itself, which from now on says that `step` made it."""
    model.structure = (*steps_of(model), step)  # pyright: ignore
    return model
