"""What a run of training is at a moment, and the file that it goes on from when it was stopped."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

import torch
from torch import Tensor, nn

from bitproof.core.calling import device_of
from bitproof.core.saved import read_saved
from bitproof.errors import InputError
from bitproof.files import cannot_write, written
from bitproof.reading import refusing

_SAVE_EVERY = 60.0  # seconds

_CPU = torch.device("cpu")

_KEPT = {
    torch.optim.SGD: {"momentum_buffer"},
    torch.optim.Adam: {"step", "exp_avg", "exp_avg_sq"},
    torch.optim.AdamW: {"step", "exp_avg", "exp_avg_sq"},
}
"""What each optimizer of a recipe keeps of a parameter."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What happened in one pass over the training data.

    Attributes:
        number: counted from 1.
        loss, accuracy: means over its examples, as they were trained on; accuracy in [0, 1].
        balanced_accuracy: the mean of the classes' accuracies, which is that of a guess, 1 / classes, for any model
            that answers all images alike; in [0, 1].
        holdout_accuracy: in [0, 1], in eval mode on the examples that are held out; None without any.
        best: whether no epoch so far did better on those; always True without any.
        seconds: how long it took.
        alarm: the step of the whole run, from 0, after which it first looked like catastrophic overfitting in this
            epoch, and the run went back to the last good state (`bitproof.train.alarm`); None = it did not.
    """

    number: int
    loss: float
    accuracy: float
    balanced_accuracy: float
    holdout_accuracy: float | None
    best: bool
    seconds: float
    alarm: int | None = None


@dataclass(kw_only=True)
class Position:
    """How far a run is.

    Attributes:
        loss: sum over the examples of this epoch so far, on the model's device.
        shown, correct: how many of each class, and of these how many were right; int64 [k], there too.
        step: steps of this epoch that are done.
        seconds: how long they took.
        average: of the parameters by name; empty without averaging.
        best: the state dict of the best epoch on held-out examples; empty without any.
        good: the last good state of model, optimizer and average, to which a run can go back.
        robust: the best accuracy under PGD that the alarm has seen.
        alarms: the steps of the whole run after which it rang.
        history: the epochs that are done.
    """

    loss: Tensor
    shown: Tensor
    correct: Tensor
    step: int = 0
    seconds: float = 0.0
    average: dict[str, Tensor] = field(default_factory=dict)
    best: dict[str, Tensor] = field(default_factory=dict)
    good: dict[str, Any] = field(default_factory=dict)
    robust: float = 0.0
    alarms: list[int] = field(default_factory=list)
    history: list[Epoch] = field(default_factory=list)

    @classmethod
    def first(cls, classes: int, device: torch.device, average: dict[str, Tensor] | None = None) -> "Position":
        """That of a run on labels of so many classes that has not begun."""
        shown, correct = (torch.zeros(classes, dtype=torch.int64, device=device) for _ in range(2))
        return cls(loss=torch.zeros((), device=device), shown=shown, correct=correct, average=average or {})


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
        keep_state(self._path, _content(run, self._identity))
        self._saved = time.monotonic()

    def save_now_and_then(self, run: Run) -> None:
        """`save`, if the last time was a minute ago, and the loss is still finite."""
        if time.monotonic() - self._saved > _SAVE_EVERY and run.now.loss.isfinite():
            self.save(run)

    def restore(self, run: Run) -> None:
        """Bring the run to where the file has it, if there is one; nothing in the file is run.

        Raises:
            InputError: it is damaged, or the state of another run. The run may be half restored then.
        """
        if self._path is None or not self._path.exists():
            return
        with kept_state(self._path, self._identity) as content:
            _check_form(content, _moved(_content(run, self._identity), _CPU), "the state")
            if content["now"]["best"]:
                _check_form(content["now"]["best"], _moved(run.model.state_dict(), _CPU), "the best model")
            _check_moments(content["optimizer"]["state"], run.optimizer)
            _check_moments(content["now"]["good"]["optimizer"]["state"], run.optimizer)
            run.model.load_state_dict(content["model"])
            run.objective.load_state_dict(content["objective"])
            run.optimizer.load_state_dict(content["optimizer"])
            for name, value in content["now"].items():
                setattr(run.now, name, _moved(value, device_of(run.model)))
            run.now.history = [_epoch(record) for record in content["now"]["history"]]


def keep_state(path: Path, content: dict[str, Any]) -> None:
    """Write what a run goes on from, its "identity" among it; everything on the CPU, so that it may go on elsewhere."""
    try:
        with written(path, "the state of a run") as draft:
            torch.save(_moved(content, _CPU), draft)
    except RuntimeError as error:  # what torch raises on a full disk
        raise cannot_write(path, "the state of a run", error) from error


@contextmanager
def kept_state(path: Path, identity: str) -> Iterator[dict[str, Any]]:
    """What a file keeps of the run that has this identity; within the block a run is brought to where the file has it.

    Raises:
        InputError: it is damaged, as far as reading it or the block shows, or the state of another run.
    """
    with refusing(
        repr(str(path)), rule="it must be the state file of an earlier run", remedy="Delete it to start over"
    ):
        content = read_saved(path)
        if content["identity"] != identity:
            raise InputError(
                f"{str(path)!r} is the state of another run",
                rule="a run goes on with the same recipe, data, seed and starting model",
                remedy="Repeat the earlier command, or choose another output",
            )
        yield content


def _content(run: Run, identity: str) -> dict[str, Any]:
    """What a file holds."""
    now = {f.name: getattr(run.now, f.name) for f in fields(run.now)}
    return {
        "identity": identity,
        "model": run.model.state_dict(),
        "objective": run.objective.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "now": {**now, "history": [asdict(epoch) for epoch in run.now.history]},
    }


def _check_form(found: Any, own: Any, path: str) -> None:
    """Raise a `ValueError` where what was found differs in more than values from what the run itself would write.

    What is empty at the beginning of a run may hold anything.
    """
    if type(found) is not type(own) and not (isinstance(found, dict) and isinstance(own, dict)):
        raise ValueError(f"{path} is a {type(found).__name__}")
    if isinstance(own, Tensor) and isinstance(found, Tensor) and (found.shape, found.dtype) != (own.shape, own.dtype):
        raise ValueError(f"{path} is {found.dtype} {list(found.shape)}")
    if isinstance(own, dict) and isinstance(found, dict) and own and found.keys() != own.keys():
        raise ValueError(f"{path} holds other things")
    if isinstance(own, (list, tuple)) and own and len(found) != len(own):
        raise ValueError(f"{path} has {len(found)} entries")
    parts: Any = own.items() if isinstance(own, dict) else enumerate(own) if isinstance(own, (list, tuple)) else ()
    for key, part in parts:
        _check_form(found[key], part, f"{path}.{key}")


def _check_moments(state: dict[Any, dict[str, Any]], optimizer: torch.optim.Optimizer) -> None:
    """Raise a `ValueError` where the optimizer would not find what it keeps of each parameter."""
    kept = _KEPT[type(optimizer)]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, found in state.items():
        own = parameters[number]
        forms = {(own.shape, own.dtype), (torch.Size(), torch.float32)}  # the latter of counts of steps
        if found.keys() != kept or any((tensor.shape, tensor.dtype) not in forms for tensor in found.values()):
            raise ValueError(f"the optimizer's state of parameter {number} is another")


def _epoch(record: dict[str, Any]) -> Epoch:
    for name, kind in get_type_hints(Epoch).items():
        if not isinstance(record[name], kind):
            raise ValueError(f"{name} of an epoch is a {type(record[name]).__name__}")
    return Epoch(**record)


def _moved(value: Any, device: torch.device) -> Any:
    """Tensors, alone or in a dictionary, on a device."""
    if isinstance(value, dict):
        return {name: _moved(part, device) for name, part in value.items()}
    return value.to(device) if isinstance(value, Tensor) else value
