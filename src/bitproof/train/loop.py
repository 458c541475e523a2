"""The training loop that every recipe shares.

Every draw is keyed by seed, run, epoch and example, and the state of a run is written to one file after
each epoch and once a minute in between. So a run that was killed goes on from that file and ends with the
same weights (bit for bit on the same machine with the same number of threads) as one that was not.
"""

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bitproof.core.calling import device_of
from bitproof.core.rng import Rng
from bitproof.data import Data
from bitproof.errors import InputError
from bitproof.quant import after_step, quantizer_parameters
from bitproof.quant.draws import seed_draws
from bitproof.settings import describe, digest
from bitproof.subjects.fingerprint import fingerprint
from bitproof.train.augment import AUGMENTATIONS
from bitproof.train.hyperparameters import OPTIMIZERS, Hyperparameters
from bitproof.train.schedules import SCHEDULES

Objective = Callable[[nn.Module, Tensor, Tensor], tuple[Tensor, Tensor]]
"""`(model, inputs, labels) -> (loss, logits)`; the loss is a mean over examples."""

Advance = Callable[[int, str], None]
"""Told how many examples are done, and a few words on how it goes."""

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


@dataclass
class _State:
    """What a run needs to go on, beside model and optimiser."""

    loss: Tensor
    correct: Tensor
    step: int = 0
    seconds: float = 0.0
    best: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)


OnEpoch = Callable[[list[Epoch], nn.Module], None]
"""Called after every epoch with the records of all so far and the model, in eval mode."""


def fit(
    model: nn.Module,
    data: Data,
    how: Hyperparameters,
    *,
    objective: Objective,
    rng: Rng,
    path: Path | None,
    advance: Advance,
    on_epoch: OnEpoch,
) -> nn.Module:
    """Train `model` in place and return it in eval mode, as of its best epoch; see `Recipe.__call__`."""
    device = device_of(model)
    model.to(memory_format=torch.channels_last)  # pyright: ignore - a tenth faster on a CPU
    train, holdout = _split(len(data), how, rng)
    seed_draws(model, rng)
    identity = digest(describe(how), data.fingerprint, rng.seed, rng.path, rng.ids.tolist(), fingerprint(model))
    optimizer = OPTIMIZERS[how.optimizer](how, _groups(model, how.weight_decay))
    now = _State(loss=torch.zeros((), device=device), correct=torch.zeros((), dtype=torch.int64, device=device))
    if path and path.exists():
        _load(path, identity, model, optimizer, now)
    run: Any = torch.compile(model) if how.compiled else model
    steps = steps_per_epoch(len(train), how.batch_size)
    advance(len(now.history) * len(train) + min(now.step * how.batch_size, len(train)), "")
    saved = time.monotonic()
    with torch.random.fork_rng():
        while (epoch := len(now.history)) < how.epochs:
            started = time.monotonic() - now.seconds
            model.train()
            order = train[rng.fold("order", epoch).permutation(len(train))[0].numpy()]
            while now.step < steps:
                rows = order[now.step * how.batch_size : (now.step + 1) * how.batch_size]
                torch.manual_seed(_seed(rng.fold("step", epoch, now.step)))  # of dropout and its like
                inputs, labels = _batch(data, rows, how, rng.fold("augment", epoch), device)
                _set_rate(optimizer, how, (epoch + now.step / steps) / how.epochs)
                with torch.autocast(device.type, torch.bfloat16, enabled=how.precision == "bfloat16"):
                    loss, logits = objective(run, inputs, labels)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                after_step(model)
                now.step += 1
                now.loss += loss.detach() * len(rows)
                now.correct += (logits.argmax(1) == labels).sum()
                now.seconds = time.monotonic() - started
                advance(len(rows), _words(now, epoch, how))
                if path and time.monotonic() - saved > _SAVE_EVERY:
                    _save(path, identity, model, optimizer, now)
                    saved = time.monotonic()
            seen = min(steps * how.batch_size, len(train))
            advance(len(train) - seen, "")
            model.eval()
            _end_epoch(model, data, holdout, seen, now)
            on_epoch([Epoch(**record) for record in now.history], model)
            if path:
                _save(path, identity, model, optimizer, now)
    if now.best:
        model.load_state_dict(now.best)
    return model.to(memory_format=torch.contiguous_format).eval()  # pyright: ignore


def steps_per_epoch(count: int, batch_size: int) -> int:
    """How many optimiser steps `fit` makes an epoch: a last batch of one example is left out."""
    return count // batch_size + (count % batch_size > 1)


def _batch(
    data: Data, rows: NDArray[np.int64], how: Hyperparameters, rng: Rng, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Images, augmented by draws keyed by example, and labels, on the device."""
    draws = Rng(rng.seed, data.ids[rows], rng.path).uniform((3,))
    inputs = AUGMENTATIONS[how.augmentation](data.images(rows), draws)
    labels = torch.from_numpy(data.labels[rows])
    return inputs.to(device, memory_format=torch.channels_last), labels.to(device)


def _set_rate(optimizer: torch.optim.Optimizer, how: Hyperparameters, progress: float) -> None:
    rate = how.learning_rate * SCHEDULES[how.schedule](progress, how.milestones, how.decay)
    for group in optimizer.param_groups:
        group["lr"] = rate


def _end_epoch(model: nn.Module, data: Data, holdout: NDArray[np.int64], seen: int, now: _State) -> None:
    """Record the epoch, keep the model if it is the best on the held-out examples, and begin the next."""
    loss, accuracy = now.loss.item() / seen, now.correct.item() / seen
    if not np.isfinite(loss):
        raise InputError(
            f"the loss of epoch {len(now.history) + 1} is {loss}",
            rule="training goes on while the loss is finite",
            remedy="Use a smaller learning_rate",
        )
    held = _accuracy(model, data, holdout) if len(holdout) else None
    best = held is None or all(held > record["holdout_accuracy"] for record in now.history)
    if held is not None and best:
        now.best = {name: value.detach().clone() for name, value in model.state_dict().items()}
    record = Epoch(
        number=len(now.history) + 1,
        loss=loss,
        accuracy=accuracy,
        holdout_accuracy=held,
        best=best,
        seconds=now.seconds,
    )
    now.history.append(asdict(record))
    now.step, now.seconds = 0, 0.0
    now.loss.zero_()
    now.correct.zero_()


@torch.no_grad()
def _accuracy(model: nn.Module, data: Data, rows: NDArray[np.int64]) -> float:
    device = device_of(model)
    correct = 0
    for start in range(0, len(rows), 256):
        batch = rows[start : start + 256]
        correct += int((model(data.images(batch).to(device)).argmax(1).cpu().numpy() == data.labels[batch]).sum())
    return correct / len(rows)


def _words(now: _State, epoch: int, how: Hyperparameters) -> str:
    seen = now.step * how.batch_size
    return f"epoch {epoch + 1}/{how.epochs}, loss {now.loss.item() / seen:.3f}, {now.correct.item() / seen:.1%}"


def _split(count: int, how: Hyperparameters, rng: Rng) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows to train on and those held out, each ascending."""
    if count - how.holdout < 2:
        raise InputError(
            f"{count} examples, {how.holdout} of them held out",
            rule="training needs at least two examples",
            remedy="Use more data, or a smaller holdout",
        )
    order = rng.fold("holdout").permutation(count)[0].numpy()
    return np.sort(order[how.holdout :]), np.sort(order[: how.holdout])


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The model's parameters; those of quantizers (steps, clipping levels, scales) do not decay."""
    free = {id(p) for p in quantizer_parameters(model)}
    decaying = [p for p in model.parameters() if id(p) not in free]
    rest = [p for p in model.parameters() if id(p) in free]
    return [{"params": decaying, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def _seed(rng: Rng) -> int:
    return int(rng.generators()[0].integers(2**63))


def _save(path: Path, identity: str, model: nn.Module, optimizer: torch.optim.Optimizer, now: _State) -> None:
    """Write the state to a file beside `path`, then put it in its place in one step."""
    content = {"identity": identity, "model": model.state_dict(), "optimizer": optimizer.state_dict(), "now": vars(now)}
    draft = path.with_name(path.name + ".new")
    try:
        with draft.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except (OSError, RuntimeError) as error:  # torch raises RuntimeError on a full disk
        raise InputError(
            f"cannot write {str(path)!r} ({error})",
            rule="the state of a run is one file",
            remedy="Choose a writable path on a disk with room",
        ) from error


def _load(path: Path, identity: str, model: nn.Module, optimizer: torch.optim.Optimizer, now: _State) -> None:
    """Read what `_save` wrote; nothing but tensors and plain values is ever unpickled."""
    try:
        content = torch.load(path, map_location=device_of(model), weights_only=True)
        found = content["identity"]
    except (OSError, RuntimeError, EOFError, UnpicklingError, KeyError, TypeError) as error:
        raise InputError(
            f"cannot read {str(path)!r} ({type(error).__name__})",
            rule="it must be the state file of an earlier run",
            remedy="Delete it to start over",
        ) from error
    if found != identity:
        raise InputError(
            f"{str(path)!r} is the state of another run",
            rule="a run goes on with the same recipe, data, seed and starting model",
            remedy="Repeat the earlier command, or choose another output",
        )
    model.load_state_dict(content["model"])
    optimizer.load_state_dict(content["optimizer"])
    vars(now).update(content["now"])
