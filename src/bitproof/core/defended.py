"""A model behind a defence: what it says beside its logits, and how it looks to an attacker who knows of it."""

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from bitproof.core.calling import Model, device_of, logits_of, module_of
from bitproof.core.passes import Counted
from bitproof.records import KEPT


@dataclass(frozen=True, kw_only=True)
class Examined:
    """All that a model says of some images.

    Attributes:
        logits: [n, k], the largest is the answer; as the model gives them, which `judging.checks` looks at.
        refused: whose answer the defence takes back; None = it never does.
        possible: the classes that may be answered, where chance decides which; None = the answer alone.
        values: further numbers, one an image, by name, which results keep.
    """

    logits: Tensor
    refused: Bool[Tensor, " n"] | None = None
    possible: Int[Tensor, "n a"] | None = None
    values: Mapping[str, Shaped[Tensor, " n"]] = field(default_factory=dict)

    @staticmethod
    def joined(parts: Sequence["Examined"]) -> "Examined":
        """What the same model says of several batches, as of one."""

        def together(of: Callable[[Examined], Tensor | None]) -> Tensor | None:
            found = [tensor for tensor in map(of, parts) if tensor is not None]
            return torch.cat(found) if found else None

        logits = torch.cat([part.logits for part in parts])
        values = {name: torch.cat([part.values[name] for part in parts]) for name in parts[0].values}
        refused, possible = together(lambda part: part.refused), together(lambda part: part.possible)
        return Examined(logits=logits, refused=refused, possible=possible, values=values)

    def __getitem__(self, rows: slice) -> "Examined":
        """What is said of some of the images."""
        return Examined(
            logits=self.logits[rows],
            refused=None if self.refused is None else self.refused[rows],
            possible=None if self.possible is None else self.possible[rows],
            values={name: value[rows] for name, value in self.values.items()},
        )

    def fooled(self, labels: Int[Tensor, " n"], targets: Int[Tensor, " n"] | None = None) -> Float[Tensor, " n"]:
        """How likely an answer is that is wrong (or the target) and is not taken back."""
        answers = self.logits.argmax(1)[:, None] if self.possible is None else self.possible
        wrong = answers != labels[:, None] if targets is None else answers == targets[:, None]
        share = wrong.float().mean(1)
        return share if self.refused is None else share * ~self.refused


@dataclass(frozen=True, kw_only=True)
class View:
    """What an attacker who knows the defence follows instead of the model's logits.

    Attributes:
        logits: of images; differentiable.
        refuses: whether there is a column more, which is the largest unless the defence answers the class of another
            column and stands by it. So only an attack that is sent to a class is at its goal where it should be.
    """

    logits: Callable[[Tensor], Tensor]
    refuses: bool = False


class Defended(nn.Module, abc.ABC):
    """A model behind a defence. It answers the same image alike each time, whatever the batch: what chance decides
    is drawn by the image's pixels and a seed.

    Attributes:
        tuned_on: digests of the images that its thresholds were chosen on, int64 [v]; models are not tested on them.
    """

    tuned_on: Tensor

    @abc.abstractmethod
    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """Logits with a gradient, where the models inside have one."""

    @abc.abstractmethod
    def examine(self, images: Float[Tensor, "n c h w"]) -> Examined:
        """All that it says, which is what is judged."""

    @abc.abstractmethod
    def doubts(self, images: Float[Tensor, "n c h w"]) -> list[str]:
        """What clean images show to be wrong with the defence of this model, in sentences; none where nothing does."""

    @property
    @abc.abstractmethod
    def plain(self) -> bool:
        """Whether its logits are all that it says: it takes nothing back, draws nothing and counts nothing."""

    @property
    @abc.abstractmethod
    def view(self) -> View | None:
        """How to attack it where attacking `forward` is not enough."""


class Beside(nn.Module):
    """A model with another one beside it, whose answers an attack on the first is to leave as they are.

    Args:
        model: answers, and is attacked.
        kept: has the same classes.
    """

    def __init__(self, model: nn.Module, kept: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.kept = kept
        self.training = False  # a pair has no mode of its own

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        return logits_of(self.model, images)

    def other(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """The logits of the model beside it."""
        return logits_of(self.kept, images.to(device_of(self.kept))).to(images.device)

    def examine(self, images: Float[Tensor, "n c h w"]) -> Examined:
        """All that the first says, and the answers of the other."""
        found = examined(self.model, images)
        return replace(found, values={**found.values, KEPT: self.other(images).argmax(1)})


def beside(model: Any) -> Beside | None:
    """The pair that answers behind wrappers; None for a model alone."""
    module = module_of(model)
    return module if isinstance(module, Beside) else None


def defended(model: Any) -> Defended | None:
    """The model behind a defence that answers behind wrappers; None for any other model."""
    module = module_of(model)
    return module if isinstance(module, Defended) else None


def examined(model: Model, images: Float[Tensor, "n c h w"]) -> Examined:
    """All that any model says, counted as a pass where its passes are counted, and as two of a model beside another."""
    module = module_of(model)
    if not isinstance(module, (Defended, Beside)):
        return Examined(logits=logits_of(model, images))
    if isinstance(model, Counted):
        model.note(len(images) * (2 if isinstance(module, Beside) else 1))
    return module.examine(images)


def seen_through(model: Model, logits: Model) -> Model:
    """What an attack follows of a model, such as a view's logits, with its passes counted where the model's are."""
    return model.through(logits) if isinstance(model, Counted) else logits
