"""What asks a model one question: a frozen setting that is called with a case and returns an evidence."""

import abc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.audit.case import Case
from bitproof.core.calling import answer, check_logits, plain_context
from bitproof.core.rng import Rng
from bitproof.records import Evidence, Finding, evidence_key
from bitproof.settings import describe

Advance = Callable[[int], None]


def ignore(_: int) -> None:
    """Nobody watches."""


@dataclass
class Meter:
    """Counts the passes of an inquiry.

    Attributes:
        batch_size: images a pass.
        advance: told of each batch's passes.
        forwards, backwards: so far; one is one image through the model once.
    """

    batch_size: int
    advance: Advance = ignore
    forwards: int = field(default=0, init=False)
    backwards: int = field(default=0, init=False)

    @torch.no_grad()
    def answers(self, model: nn.Module, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """The model's logits, on the CPU."""
        return torch.cat(list(self._parts(model, images)))

    def _parts(self, model: nn.Module, images: Tensor) -> Iterator[Tensor]:
        for part in images.split(self.batch_size):
            logits = answer(model, part)
            check_logits(logits, part)
            self.count(forwards=len(part))
            yield logits.float().cpu()

    def count(self, *, forwards: int = 0, backwards: int = 0) -> None:
        """Note passes that were made elsewhere."""
        self.forwards += forwards
        self.backwards += backwards
        self.advance(forwards + backwards)


@dataclass(frozen=True, kw_only=True)
class Inquiry(abc.ABC):
    """A question to a model, answered by one evidence; nothing changes the model."""

    name: ClassVar[str]
    revision: ClassVar[int] = 1
    """Raised when what it computes changes, so that no stored evidence of before is taken for it."""

    @abc.abstractmethod
    def look(self, case: Case, rng: Rng, meter: Meter) -> Finding:
        """Look for the evidence. Randomness comes from `rng` alone (one id), passes are counted by `meter`."""

    @abc.abstractmethod
    def passes(self, case: Case) -> int:
        """How many passes it takes at most, about, for progress bars."""

    def asks(self, case: Case) -> bool:
        """Whether the case has what the question is about."""
        return True

    @final
    def setting(self, case: Case) -> dict[str, Any]:
        """What the evidence follows from beside model, images and seed."""
        return {"inquiry": describe(self), "revision": self.revision, **case.basis}

    @final
    def key(self, case: Case, *, seed: int) -> str:
        """Where a store keeps its evidence."""
        return evidence_key(self.name, *case.records, seed, self.setting(case))

    @final
    @plain_context()
    def __call__(self, case: Case, *, rng: Rng, advance: Advance = ignore) -> Evidence:
        """The evidence.

        Args:
            case: the model and what it is examined with.
            rng: keyed by one id; each inquiry folds its own path from it.
            advance: told of passes as they are made.

        Raises:
            InputError: what the schemes, the model or the images do not allow.
        """
        start, meter = time.perf_counter(), Meter(case.batch_size, advance)
        found = self.look(case, rng.fold(self.name), meter)
        model, deployed, data = case.records
        return Evidence(
            **vars(found),
            name=self.name,
            model=model,
            deployed=deployed,
            data=data,
            seed=rng.seed,
            setting=self.setting(case),
            forwards=meter.forwards,
            backwards=meter.backwards,
            seconds=time.perf_counter() - start,
        )
