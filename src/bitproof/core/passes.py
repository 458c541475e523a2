"""Counting passes: one pass is one example through one forward or one backward.

Counts compare methods on noisy, shared machines, where times do not.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from bitproof.core.calling import logits_of


@dataclass
class Counted:
    """A model that counts its passes, gives its logits alone, and otherwise behaves like `model`.

    Attributes:
        advance: told of every batch's passes, for progress bars.
        forwards: examples that went through a forward pass so far.
        backwards: examples whose logits received a gradient so far.
    """

    model: Callable[[Tensor], Tensor]
    advance: Callable[[int], None] = lambda passes: None
    forwards: int = field(default=0, init=False)
    backwards: int = field(default=0, init=False)

    def __call__(self, inputs: Tensor) -> Tensor:
        self.forwards += len(inputs)
        self.advance(len(inputs))
        logits = logits_of(self.model, inputs)
        if logits.requires_grad:
            logits.register_hook(self._count_backward)
        return logits

    def _count_backward(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)
        self.advance(len(gradient))
