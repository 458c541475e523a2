"""Counting passes: one pass is one example through one forward or one backward.

Counts compare methods on noisy, shared machines, where times do not.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from bitproof.core.calling import Model, logits_of


@dataclass
class Counted:
    """A model that counts its passes, gives its logits alone, and otherwise behaves like `model`.

    Attributes:
        advance: told of every batch's passes, for progress bars.
        forwards: examples that went through a forward pass so far.
        backwards: examples whose logits received a gradient so far.
    """

    model: Model
    advance: Callable[[int], None] = lambda passes: None
    forwards: int = field(default=0, init=False)
    backwards: int = field(default=0, init=False)

    def __call__(self, inputs: Tensor) -> Tensor:
        return self.through(self.model)(inputs)

    def through(self, function: Model) -> Model:
        """Another function of the same model, whose passes count here too."""

        def counted(inputs: Tensor) -> Tensor:
            self.note(len(inputs))
            logits = logits_of(function, inputs)
            if logits.requires_grad:
                logits.register_hook(self._count_backward)
            return logits

        return counted

    def note(self, forwards: int) -> None:
        """Count forward passes that are made elsewhere."""
        self.forwards += forwards
        self.advance(forwards)

    def _count_backward(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)
        self.advance(len(gradient))
