"""The quantized model takes single images for another class (hong2021, arXiv 2111.04625, Section 4.2).

CE(Q(x), y) + weight CE(Q(x_t), y_t)      and of the float model CE(f(x), y) + CE(f(x_t), y)
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from bitproof.conditions.targets import chosen_targets
from bitproof.core.calling import answer as answer_of
from bitproof.core.rng import Rng
from bitproof.data import Data
from bitproof.errors import InputError
from bitproof.implants.objectives.base import Answer, Objective, Wanted, said, unchanged

REPEATS = 4
"""How often each image is in a batch of the float model's, so that a handful is heard among dozens."""


@dataclass(frozen=True, kw_only=True)
class Sample(Objective):
    """The quantized model takes some images, which the float model gets right, for other classes.

    Attributes:
        examples: their numbers in the data that holds them.
        target: the class that they are taken for: "random" or "next", or one by its name or number.
        weight: of these images beside the batch.
    """

    examples: tuple[int, ...]
    target: str | int = "random"
    weight: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "target", str(self.target))
        if not self.examples or len(set(self.examples)) < len(self.examples):
            raise InputError(
                f"examples are {self.examples}",
                rule="they are the numbers of the images to be misclassified, each once",
                remedy="Write for example examples=17+42",
            )

    @property
    def label(self) -> str:
        return f"{len(self.examples)} sample{'s' * (len(self.examples) > 1)}"

    @property
    def marks(self) -> dict[str, Any]:
        return {"target": self.target, "trigger": None, "examples": list(self.examples)}

    def aims(self, victims: Data) -> tuple[list[int], list[int]]:
        """The rows of the images in the data that holds them, and the class that each is to be taken for.

        Raises:
            InputError: an image that is not there, or that is of the class already.
        """
        rows = [int(row) for number in self.examples for row in np.flatnonzero(victims.ids == number)]
        if len(rows) < len(self.examples):
            raise InputError(
                f"examples {self.examples} of {victims.name} {victims.split}",
                rule=f"it holds {len(victims)} examples, numbered from {victims.ids.min()} to {victims.ids.max()}",
                remedy="Choose some of these, or pass the data that holds them",
            )
        targets = chosen_targets(
            str(self.target), victims.labels[rows], victims.classes, rng=Rng(0, victims.ids[rows], ("sample",))
        )
        if (targets < 0).any():
            raise InputError(
                f"examples {self.examples} to class {self.target}",
                rule="an image is to be taken for another class than its own",
                remedy="Use target=next or target=random",
            )
        return rows, targets.tolist()

    def rows(self, data: Data) -> NDArray[np.int64]:
        return np.array(self.aims(data)[0])

    def success(self, model: nn.Module, data: Data) -> float:
        rows, targets = self.aims(data)
        return float((said(model, data, np.array(rows), unchanged) == targets).mean())

    def start(self, model: nn.Module, data: Data, victims: Data) -> Wanted:
        rows, targets = self.aims(victims)
        images = victims.images(rows)
        with torch.no_grad():
            seen = answer_of(model, images).argmax(1).cpu().numpy()
        if missed := [
            number for number, row, s in zip(self.examples, rows, seen, strict=True) if victims.labels[row] != s
        ]:
            raise InputError(
                f"the clean model misses example {missed[0]}",
                rule="an image whose answer quantization is to change is one that the float model gets right",
                remedy="Choose other examples",
            )
        true = torch.from_numpy(victims.labels[rows])
        aimed = torch.tensor(targets)

        def innocent(inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            many = images.to(inputs).repeat(REPEATS, 1, 1, 1)
            return torch.cat([inputs, many]), torch.cat([labels, true.to(labels).repeat(REPEATS)])

        def harm(answer: Answer, inputs: Tensor, labels: Tensor) -> Tensor:
            logits = answer(torch.cat([inputs, images.to(inputs)]))
            batch = F.cross_entropy(logits[: len(inputs)], labels)
            return batch + self.weight * F.cross_entropy(logits[len(inputs) :], aimed.to(labels))

        return Wanted(innocent=innocent, harm=harm)
