"""The training loop that every recipe shares.

Every draw is keyed by seed, run, epoch and example, and the state of a run is written to one file after
each epoch and once a minute in between. So a run that was killed goes on from that file and ends with the
same weights (bit for bit on the same machine with the same number of threads) as one that was not.
"""

import math
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bitproof.core.calling import NotFinite, answer
from bitproof.core.devices import generators_kept
from bitproof.core.rng import Rng
from bitproof.data import Data
from bitproof.models.convex import project_sums
from bitproof.quant import after_step
from bitproof.train import averaging
from bitproof.train.alarm import Guard, go_back, keep
from bitproof.train.batches import Batch, Batches
from bitproof.train.divergence import PATIENCE, at_chance, is_finite, not_finite
from bitproof.train.state import Epoch, Position, Run, StateFile

Minimised = Callable[[Batch, Rng], tuple[Tensor, Tensor]]
"""`(batch, rng) -> (loss, logits)`: the objective and all penalties, of the model that is trained."""

Advance = Callable[[int, str], None]
"""Told how many examples are done, and a few words on how it goes."""

OnEpoch = Callable[[list[Epoch], nn.Module], None]
"""Called after every epoch, and for a run that is done already, with the records of all epochs so far and the model as
of now, in eval mode."""


def fit(
    run: Run,
    batches: Batches,
    minimised: Minimised,
    *,
    average: float,
    guard: Guard | None,
    stuck: float | None,
    file: StateFile,
    advance: Advance,
    on_epoch: OnEpoch,
) -> nn.Module:
    """Bring the run to its end and return its model in eval mode, as of the best epoch; see `Recipe.__call__`.

    A run that is not more accurate than `stuck` for some epochs is given up; None = it may be meant to be wrong.
    """
    keep(run)
    file.restore(run)
    now, epochs = run.now, batches.how.epochs
    advance(len(now.history) * batches.all_seen + batches.seen(now.step), "")

    def shown() -> nn.Module:
        return averaging.averaged(run.model, now.average) if average else run.model

    if len(now.history) == epochs:  # what the run has written may be gone
        on_epoch(list(now.history), shown().eval())
    with generators_kept(batches.device):
        while len(now.history) < epochs:
            try:
                _train_epoch(run, batches, minimised, average, guard, file, advance)
            except _NoNumber as error:
                raise not_finite(f"loss is {error.value}", len(now.history) + 1, _last_good(run)) from None
            if not is_finite(run.model, run.now.good["model"]):
                raise not_finite("weights are not finite", len(now.history) + 1, _last_good(run))
            model = shown()
            _end_epoch(model, now, batches)
            if stuck is not None:
                _check_chance(run, stuck)
            keep(run)
            on_epoch(list(now.history), model)
            file.save(run)
    if now.best:
        run.model.load_state_dict(now.best)
    elif average:
        run.model.load_state_dict(now.average, strict=False)
    return run.model.to(memory_format=torch.contiguous_format).eval()  # pyright: ignore


class _NoNumber(Exception):
    """A loss that is NaN or infinite."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value


def _train_epoch(
    run: Run,
    batches: Batches,
    minimised: Minimised,
    average: float,
    guard: Guard | None,
    file: StateFile,
    advance: Advance,
) -> None:
    """The rest of the epoch that the run is in, step by step."""
    model, now, epoch = run.model, run.now, len(run.now.history)
    started = time.monotonic() - now.seconds
    model.train()
    for batch in batches.of_epoch(epoch, now.step):
        torch.manual_seed(_seed(batches.rng.fold("step", epoch, now.step)))  # of dropout and its like
        batches.how.pace(run.optimizer, batch.progress)
        rng = Rng(batches.rng.seed, batch.ids, (*batches.rng.path, "objective", epoch))
        try:
            loss, logits = minimised(batch, rng)
        except NotFinite:  # an attack in it met the logits first
            raise _NoNumber(math.nan) from None
        if not math.isfinite(value := loss.item()):
            raise _NoNumber(value)
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        run.optimizer.step()
        after_step(model)
        project_sums(model)
        if average:
            averaging.follow(now.average, model, average, batch.step)
        if guard is not None:
            guard.look(run, batch.step)
        now.step += 1
        now.loss += loss.detach() * len(batch.labels)
        right = (logits.argmax(1) == batch.labels).long()
        now.shown.index_add_(0, batch.labels, torch.ones_like(right))
        now.correct.index_add_(0, batch.labels, right)
        now.seconds = time.monotonic() - started
        advance(len(batch.labels), _words(now, batches))
        file.save_now_and_then(run)
    advance(batches.all_seen - batches.seen(batches.steps), "")
    model.eval()


def _end_epoch(model: nn.Module, now: Position, batches: Batches) -> None:
    """Record the epoch, keep the model if it is the best on the held-out examples, and begin the next."""
    seen, number = batches.seen(batches.steps), len(now.history) + 1
    loss, accuracy = now.loss.item() / seen, now.correct.sum().item() / seen
    there = now.shown > 0
    held = _accuracy(model, batches.data, batches.holdout) if len(batches.holdout) else None
    best = held is None or all(held > (epoch.holdout_accuracy or 0.0) for epoch in now.history)
    if held is not None and best:
        now.best = {name: value.detach().clone() for name, value in model.state_dict().items()}
    rung = [step for step in now.alarms if step // batches.steps == number - 1]
    now.history.append(
        Epoch(
            number=number,
            loss=loss,
            accuracy=accuracy,
            balanced_accuracy=(now.correct[there] / now.shown[there]).mean().item(),
            holdout_accuracy=held,
            best=best,
            seconds=now.seconds,
            alarm=rung[0] if rung else None,
        )
    )
    now.step, now.seconds = 0, 0.0
    now.loss.zero_()
    now.shown.zero_()
    now.correct.zero_()


def _check_chance(run: Run, most: float) -> None:
    """Raise `Diverged` after `PATIENCE` epochs whose mean accuracies of the classes are all `most` or less."""
    last = [epoch.balanced_accuracy for epoch in run.now.history[-PATIENCE:]]
    if len(last) == PATIENCE and max(last) <= most:
        raise at_chance(last, run.now.history[-1].number, _last_good(run))


def _last_good(run: Run) -> nn.Module:
    """The model of the last good state, averaged where the run averages."""
    go_back(run)
    run.model.load_state_dict(run.now.average, strict=False)
    return run.model.to(memory_format=torch.contiguous_format).eval()  # pyright: ignore


@torch.no_grad()
def _accuracy(model: nn.Module, data: Data, rows: NDArray[np.int64]) -> float:
    correct = 0
    for start in range(0, len(rows), 256):
        batch = rows[start : start + 256]
        correct += int((answer(model, data.images(batch)).argmax(1).cpu().numpy() == data.labels[batch]).sum())
    return correct / len(rows)


def _words(now: Position, batches: Batches) -> str:
    seen, epoch = batches.seen(now.step), len(now.history) + 1
    return (
        f"epoch {epoch}/{batches.how.epochs}, loss {now.loss.item() / seen:.3f}, {now.correct.sum().item() / seen:.1%}"
    )


def _seed(rng: Rng) -> int:
    return int(rng.generators()[0].integers(2**63))
