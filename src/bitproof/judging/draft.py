"""A cell while it is filled, batch by batch."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitproof.core.balls import BALLS
from bitproof.core.defended import Examined
from bitproof.data import Data
from bitproof.records import REFUSED, Cell, ConditionRecord, ModelRecord, Pictures

PICTURES = 8
"""How many of the first examples each cell keeps as pictures for the gallery."""

FILLED = ("predictions", "confidences", "losses", "ranks", "squares", *BALLS)


@dataclass
class Draft:
    """A cell that is being filled; arrays are over all examples of the data, `read` says which of them count."""

    data: Data
    read: NDArray[np.bool_]
    predictions: NDArray[np.int64]
    confidences: NDArray[np.float32]
    losses: NDArray[np.float32]
    ranks: NDArray[np.int32]
    squares: NDArray[np.float32]
    linf: NDArray[np.float32]
    l2: NDArray[np.float32]
    l1: NDArray[np.float32]
    images: NDArray[np.float16]
    frames: NDArray[np.int64] | None = None
    digests: NDArray[np.uint64] | None = None
    targets: NDArray[np.int64] | None = None
    values: dict[str, NDArray[Any]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    forwards: int = 0
    backwards: int = 0
    seconds: float = 0.0

    @staticmethod
    def empty(data: Data) -> "Draft":
        """Nothing known of any example."""
        n, k = len(data), min(PICTURES, len(data))
        floats: dict[str, Any] = {name: np.zeros(n, np.float32) for name in ("confidences", "squares", *BALLS)}
        return Draft(
            data=data,
            read=np.zeros(n, bool),
            predictions=np.full(n, -1),
            losses=np.full(n, np.inf, np.float32),
            ranks=np.full(n, -1, np.int32),
            **floats,
            images=np.zeros((k, *data.shape), np.float16),
            left_out=dict(data.left_out),
        )

    @staticmethod
    def like(cell: Cell, data: Data) -> "Draft":
        """What the cell holds, at no cost."""
        draft = Draft.empty(data)
        draft.read = np.isin(data.ids, cell.ids)
        for name in FILLED:
            getattr(draft, name)[draft.read] = getattr(cell, name)
        for name, values in cell.values.items():
            draft._value(name, values.dtype)[draft.read] = values
        draft.images[draft.read[: len(draft.images)]] = cell.pictures.images
        draft.left_out = dict(cell.data.left_out)
        return draft

    def fill(
        self, rows: NDArray[np.int64], distances: Mapping[str, NDArray[np.float32]], tested: Tensor, found: Examined
    ) -> None:
        """Note what a model says to the images `tested` of the examples at `rows`."""
        logits = found.logits
        for norm, values in distances.items():
            getattr(self, norm)[rows] = values
        probabilities, labels = logits.softmax(1), torch.from_numpy(self.data.labels[rows]).to(logits.device)
        confidence, prediction = probabilities.max(1)
        own = probabilities.gather(1, labels[:, None])
        before = (probabilities > own).sum(1).clamp(min=1)  # of two of one probability either may be the prediction
        self.predictions[rows] = prediction.cpu().numpy()
        self.confidences[rows] = confidence.cpu().numpy()
        self.losses[rows] = torch.nn.functional.cross_entropy(logits, labels, reduction="none").cpu().numpy()
        self.ranks[rows] = torch.where(prediction == labels, 0, before).cpu().numpy()
        self.squares[rows] = probabilities.square().sum(1).cpu().numpy()
        refused = {} if found.refused is None else {REFUSED: found.refused}
        for name, values in {**refused, **found.values}.items():
            numbers = values.cpu().numpy()
            self._value(name, numbers.dtype)[rows] = numbers
        shown = rows < len(self.images)
        self.images[rows[shown]] = tested[torch.from_numpy(shown)].cpu().numpy().astype(np.float16)

    def _value(self, name: str, kind: np.dtype[Any]) -> NDArray[Any]:
        """The further numbers of all examples under this name."""
        return self.values.setdefault(name, np.zeros(len(self.predictions), kind))

    def film(self, rows: NDArray[np.int64], predictions: NDArray[np.int64]) -> None:
        """Note the predictions [m, f] in the frames of the examples at `rows`."""
        if self.frames is None:
            self.frames = np.full((len(self.predictions), predictions.shape[1]), -1)
        self.frames[rows] = predictions

    def cell(self, model: ModelRecord, condition: ConditionRecord, seed: int, device: torch.device) -> Cell:
        """The finished cell, and where it was made."""
        shown, data = self.read[: len(self.images)], self.data
        arrays: dict[str, Any] = {name: getattr(self, name)[self.read] for name in FILLED}
        for name in ("frames", "digests", "targets"):
            arrays[name] = None if getattr(self, name) is None else getattr(self, name)[self.read]
        return Cell(
            model=model,
            condition=condition,
            data=replace(data.record, left_out=self.left_out),
            seed=seed,
            ids=data.ids[self.read],
            labels=data.labels[self.read],
            **arrays,
            values={name: array[self.read] for name, array in self.values.items()},
            forwards=self.forwards,
            backwards=self.backwards,
            seconds=self.seconds,
            pictures=Pictures(rows=np.arange(shown.sum()), images=self.images[shown]),
            device=str(device),
        )
