"""What a run of training is at a moment, and the file that it goes on from when it was stopped."""

import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from bitproof.core.calling import device_of
from bitproof.errors import InputError
from bitproof.files import cannot_write, written

_SAVE_EVERY = 60.0  # seconds


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What happened in one pass over the training data.

    Attributes:
        number: counted from 1.
        loss, accuracy: means over its examples, as they were trained on; accuracy in [0, 1].
        holdout_accuracy: in [0, 1], in eval mode on the examples that are held out; None without any.
        best: whether no epoch so far did better on those; always True without any.
        seconds: how long it took.
    """

    number: int
    loss: float
    accuracy: float
    holdout_accuracy: float | None
    best: bool
    seconds: float


@dataclass(kw_only=True)
class Position:
    """How far a run is.

    Attributes:
        loss, correct: sums over the examples of this epoch so far, on the model's device.
        step: steps of this epoch that are done.
        seconds: how long they took.
        average: of the parameters by name; empty without averaging.
        best: the state dict of the best epoch on held-out examples; empty without any.
        history: the epochs that are done.
    """

    loss: Tensor
    correct: Tensor
    step: int = 0
    seconds: float = 0.0
    average: dict[str, Tensor] = field(default_factory=dict)
    best: dict[str, Tensor] = field(default_factory=dict)
    history: list[Epoch] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Run:
    """All that changes while a run goes on.

    Attributes:
        model: what is trained.
        objective: what the objective learns or remembers; a module without anything where it does neither.
        optimizer: of both.
        now: how far it is.
    """

    model: nn.Module
    objective: nn.Module
    optimizer: torch.optim.Optimizer
    now: Position


class StateFile:
    """The file that keeps the state of a run.

    Args:
        path: the file; None keeps nothing.
        identity: hash of everything that the run follows from. The state of another run is refused.
    """

    def __init__(self, path: Path | None, identity: str) -> None:
        self._path = path
        self._identity = identity
        self._saved = time.monotonic()

    def save(self, run: Run) -> None:
        """Write the state to a file beside `path`, then put it in its place in one step."""
        if self._path is None:
            return
        now = {f.name: getattr(run.now, f.name) for f in fields(run.now)}
        content = {
            "identity": self._identity,
            "model": run.model.state_dict(),
            "objective": run.objective.state_dict(),
            "optimizer": run.optimizer.state_dict(),
            "now": {**now, "history": [asdict(epoch) for epoch in run.now.history]},
        }
        try:
            with written(self._path, "the state of a run") as draft:
                torch.save(content, draft)
        except RuntimeError as error:  # what torch raises on a full disk
            raise cannot_write(self._path, "the state of a run", error) from error
        self._saved = time.monotonic()

    def save_now_and_then(self, run: Run) -> None:
        """`save`, if the last time was a minute ago."""
        if time.monotonic() - self._saved > _SAVE_EVERY:
            self.save(run)

    def restore(self, run: Run) -> None:
        """Bring the run to where the file has it, if there is one; only tensors and plain values are unpickled."""
        if self._path is None or not self._path.exists():
            return
        content = self._read(self._path, device_of(run.model))
        run.model.load_state_dict(content["model"])
        run.objective.load_state_dict(content["objective"])
        run.optimizer.load_state_dict(content["optimizer"])
        for name, value in content["now"].items():
            setattr(run.now, name, value)
        run.now.history = [Epoch(**record) for record in content["now"]["history"]]

    def _read(self, path: Path, device: torch.device) -> dict[str, Any]:
        try:
            content = torch.load(path, map_location=device, weights_only=True)
            found = content["identity"]
        except (OSError, RuntimeError, EOFError, UnpicklingError, KeyError, TypeError) as error:
            raise InputError(
                f"cannot read {str(path)!r} ({type(error).__name__})",
                rule="it must be the state file of an earlier run",
                remedy="Delete it to start over",
            ) from error
        if found != self._identity:
            raise InputError(
                f"{str(path)!r} is the state of another run",
                rule="a run goes on with the same recipe, data, seed and starting model",
                remedy="Repeat the earlier command, or choose another output",
            )
        return content
