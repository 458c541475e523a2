"""The one place where a model is judged.

Methods never judge themselves. The evaluator freezes the model, hands it to the attack wrapped in a
pass counter, checks what comes back (shape, finite, inside [0, 1], inside the budget), predicts again
on the exact model, and only then believes it.
"""

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from bitproof.attacks import Attack
from bitproof.core.balls import BALLS
from bitproof.core.calling import check_logits, device_of, forward
from bitproof.core.lanes import in_lanes, lane_count
from bitproof.core.passes import Counted
from bitproof.core.rng import Rng
from bitproof.data import Data
from bitproof.errors import InputError
from bitproof.experiment.conditions import Condition, Transfer, record
from bitproof.experiment.making import FRAMES, MOVING, Maker, Shift, check_images, chunks, keyed, measured
from bitproof.records import Cell, DataRecord, ModelRecord, Pictures
from bitproof.shifts import Inference

PICTURES = 8
"""How many of the first examples each cell keeps as pictures for the gallery."""

POOL_BYTES = 2**27
"""How much of the images an attack that fills its own batches is given at once."""

Advance = Callable[[int], None]
"""Told how many examples (times passes) are done, for progress bars."""


@dataclass
class _Draft:
    """A cell while it is filled, batch by batch."""

    read: NDArray[np.bool_]
    predictions: NDArray[np.int64]
    confidences: NDArray[np.float32]
    linf: NDArray[np.float32]
    l2: NDArray[np.float32]
    l1: NDArray[np.float32]
    images: NDArray[np.float16]
    frames: NDArray[np.int64] | None = None
    forwards: int = 0
    backwards: int = 0
    seconds: float = 0.0

    @staticmethod
    def empty(data: Data) -> "_Draft":
        n, k = len(data), min(PICTURES, len(data))
        floats: dict[str, Any] = {name: np.zeros(n, np.float32) for name in ("confidences", *BALLS)}
        return _Draft(
            read=np.zeros(n, bool),
            predictions=np.full(n, -1),
            **floats,
            images=np.zeros((k, *data.shape), np.float16),
        )

    @staticmethod
    def like(cell: Cell, data: Data) -> "_Draft":
        """What the cell holds, at no cost."""
        draft = _Draft.empty(data)
        draft.read = np.isin(data.ids, cell.ids)
        for name in ("predictions", "confidences", *BALLS):
            getattr(draft, name)[draft.read] = getattr(cell, name)
        draft.images[draft.read[: len(draft.images)]] = cell.pictures.images
        return draft

    def fill(
        self, rows: NDArray[np.int64], distances: Mapping[str, NDArray[np.float32]], tested: Tensor, logits: Tensor
    ) -> None:
        for norm, values in distances.items():
            getattr(self, norm)[rows] = values
        confidence, prediction = logits.softmax(1).max(1)
        self.predictions[rows] = prediction.cpu().numpy()
        self.confidences[rows] = confidence.cpu().numpy()
        shown = rows < len(self.images)
        self.images[rows[shown]] = tested[torch.from_numpy(shown)].cpu().numpy().astype(np.float16)

    def film(self, rows: NDArray[np.int64], predictions: NDArray[np.int64]) -> None:
        if self.frames is None:
            self.frames = np.full((len(self.predictions), predictions.shape[1]), -1)
        self.frames[rows] = predictions

    def cell(self, model: ModelRecord, condition: Condition, data: Data, seed: int, used: DataRecord) -> Cell:
        shown = self.read[: len(self.images)]
        return Cell(
            model=model,
            condition=record(condition),
            data=used,
            seed=seed,
            ids=data.ids[self.read],
            labels=data.labels[self.read],
            predictions=self.predictions[self.read],
            confidences=self.confidences[self.read],
            linf=self.linf[self.read],
            l2=self.l2[self.read],
            l1=self.l1[self.read],
            frames=None if self.frames is None else self.frames[self.read],
            forwards=self.forwards,
            backwards=self.backwards,
            seconds=self.seconds,
            pictures=Pictures(rows=np.arange(shown.sum()), images=self.images[shown]),
        )


def judge_shift(
    models: Mapping[str, tuple[ModelRecord, nn.Module]],
    condition: Shift,
    maker: Maker,
    *,
    batch_size: int,
    advance: Advance,
) -> list[Cell]:
    """One cell a model under a condition that does not look at the model: the images are made once for all.

    Under a sequence, the cell holds the prediction in every frame. Where a data set's pictures are cut to the
    model's input, they are moved before that, as in ImageNet-P.

    Args:
        models: frozen models, with the records of what they are.
        condition: the images as they are, a corruption, a sequence or a systematic shift, which may be one of the
            models.
        maker: of the images of the examples.
        batch_size: images a pass; the result does not depend on it.
        advance: called with the number of examples done, once a model and batch.

    Raises:
        InputError: images outside [0, 1], a label the model has no output for, NaN logits, or no example
            whose picture can be read.
    """
    if isinstance(condition, Inference):
        models = {name: (about, condition(model)) for name, (about, model) in models.items()}
    data = maker.data
    drafts = {name: _Draft.empty(data) for name in models}
    pixels = np.zeros(len(data), np.uint64)
    moving = isinstance(condition, MOVING)
    for batch in maker.batches(condition, max(1, batch_size // FRAMES) if moving else batch_size):
        pixels[batch.rows] = batch.digests
        for name, (_, model) in models.items():
            start, draft = time.perf_counter(), drafts[name]
            draft.read[batch.read] = True
            counted = Counted(model)
            if len(batch.rows):
                logits = predict(counted, batch.frames.flatten(0, 1).to(device_of(model)), data, name)
                logits = logits.unflatten(0, batch.frames.shape[:2])
                draft.fill(batch.rows, batch.distances, batch.frames[:, 0], logits[:, 0])
                if moving:
                    draft.film(batch.rows, logits.argmax(2).cpu().numpy())
            draft.forwards += counted.forwards
            draft.seconds += time.perf_counter() - start
            advance(len(batch.read))
    for draft in drafts.values():
        advance(int((~draft.read).sum()))
    cells = [drafts[name].cell(models[name][0], condition, data, maker.seed, data.record) for name in models]
    return cells if isinstance(condition, Inference) else [replace(c, digests=pixels[c.ids]) for c in cells]


def judge_attack(
    model_record: ModelRecord,
    model: nn.Module,
    attack: Attack,
    data: Data,
    *,
    after: Cell,
    crafted_on: nn.Module,
    seed: int,
    batch_size: int,
    advance: Advance,
) -> Cell:
    """The cell of one model under one attack.

    Only examples that the model gets right in `after` are attacked: the others are lost already, keep what that
    cell says of them, and cost nothing.

    Args:
        model_record: what the model is.
        model: the frozen model.
        attack: whose result is checked and predicted again.
        data: the examples.
        after: the same model's cell on the clean images, or under the same attack with a smaller budget.
        crafted_on: what the attack sees: the model itself, or a faster one. What only that one gets wrong is
            attacked again on the model itself.
        seed: of the experiment.
        batch_size: images a pass.
        advance: called with every batch's passes, and at the end with those that were spared.

    Raises:
        InputError: the attack returned something else than images in [0, 1] within its budget, or the model
            is randomised and the attack does not expect that.
    """
    draft = _Draft.like(after, data)
    device = device_of(model)
    rng = keyed(attack, data, seed)
    attacked = np.flatnonzero(draft.read)[after.correct]
    advance((len(data) - len(attacked)) * (attack.passes + 1))
    _check_determinism(attack, crafted_on, data.images(attacked[:PICTURES]).to(device), data, model_record.name)
    lanes = min(lane_count(crafted_on, batch_size), max(len(attacked), 1)) if attack.averaged == 1 else 1
    batch_size //= lanes

    def judge(models: _Models, rows: NDArray[np.int64], advance: Advance) -> None:
        counted, crafting = Counted(models.exact, advance), Counted(models.crafting, advance)
        inputs = data.images(rows).to(device)
        adversarial = _craft(attack, crafting, inputs, data, rows, rng, batch_size)
        for part in chunks(np.arange(len(rows)), batch_size):
            logits = predict(counted, adversarial[part], data, model_record.name)
            draft.fill(rows[part], measured(inputs[part], adversarial[part]), adversarial[part], logits)
        if models.crafting is not models.exact:
            standing = np.flatnonzero(draft.predictions[rows] == data.labels[rows])
            for part in chunks(standing, batch_size):
                seen = predict(crafting, adversarial[part], data, model_record.name).argmax(1).cpu().numpy()
                part = part[seen != data.labels[rows[part]]]
                if len(part):
                    again = _craft(attack, counted, inputs[part], data, rows[part], rng, batch_size)
                    logits = predict(counted, again, data, model_record.name)
                    draft.fill(rows[part], measured(inputs[part], again), again, logits)
        models.forwards += counted.forwards + crafting.forwards
        models.backwards += counted.backwards + crafting.backwards
        advance(len(rows) * (attack.passes + 1) - _passes(counted) - _passes(crafting))

    start = time.perf_counter()
    tools = [_Models.of(model, crafted_on, copied=lanes > 1) for _ in range(lanes)]
    in_lanes(judge, tools, chunks(attacked, _part_size(attack, data, batch_size, len(attacked), lanes)), advance)
    draft.seconds = time.perf_counter() - start
    draft.forwards = sum(models.forwards for models in tools)
    draft.backwards = sum(models.backwards for models in tools)
    return draft.cell(model_record, attack, data, seed, after.data)


@dataclass
class _Models:
    """What a lane has for itself: an attack may hang hooks on the model."""

    exact: nn.Module
    crafting: nn.Module
    forwards: int = 0
    backwards: int = 0

    @staticmethod
    def of(exact: nn.Module, crafting: nn.Module, *, copied: bool) -> "_Models":
        return _Models(*(copy.deepcopy((exact, crafting)) if copied else (exact, crafting)))


def judge_transfer(
    source: nn.Module,
    models: Mapping[str, tuple[ModelRecord, nn.Module]],
    transfer: Transfer,
    data: Data,
    *,
    clean: Cell,
    seed: int,
    batch_size: int,
    advance: Advance,
) -> list[Cell]:
    """One cell a model under the images that an attack made on `source`; they are made once for all.

    Each cell counts the passes that it would take alone: those of the attack, and one forward an example.

    Args:
        source: the frozen model that is attacked.
        models: frozen models that are given the images, with the records of what they are.
        transfer: the attack, and the source's name.
        data: the examples.
        clean: the source's cell on the clean images; what it gets wrong there is not attacked.
        seed, batch_size: as in `judge_attack`.
        advance: called with every batch's passes, and at the end with those that were spared.

    Raises:
        InputError: as `judge_attack`.
    """
    attack, device = transfer.attack, device_of(source)
    crafting = Counted(source, lambda passes: advance(passes * len(models)))
    drafts = {name: _Draft.empty(data) for name in models}
    rng = keyed(attack, data, seed)
    right = _Draft.like(clean, data).predictions == data.labels
    read = np.isin(data.ids, clean.ids)
    attacked = np.flatnonzero(right)
    _check_determinism(attack, source, data.images(attacked[:PICTURES]).to(device), data, transfer.source)
    advance(int((~read).sum()) * (attack.passes + 1) * len(models))
    for rows in chunks(np.flatnonzero(read), _part_size(attack, data, batch_size, int(read.sum()), 1)):
        before, start = _passes(crafting), time.perf_counter()
        inputs, hit = data.images(rows).to(device), right[rows]
        adversarial = inputs.clone()
        if hit.any():
            some = torch.from_numpy(hit).to(device)
            adversarial[some] = _craft(attack, crafting, inputs[some], data, rows[hit], rng, batch_size)
        crafted = time.perf_counter() - start
        for name, (_, model) in models.items():
            start, draft = time.perf_counter(), drafts[name]
            counted, there = Counted(model), device_of(model)
            for part in chunks(np.arange(len(rows)), batch_size):
                tested = adversarial[part].to(there)
                distances = measured(inputs[part].to(there), tested)
                draft.fill(rows[part], distances, tested, predict(counted, tested, data, name))
            draft.forwards += counted.forwards
            draft.seconds += time.perf_counter() - start + crafted
            advance(counted.forwards)
        spared = len(rows) * attack.passes - (_passes(crafting) - before)
        advance(spared * len(models))
    for draft in drafts.values():
        draft.read = read
        draft.forwards += crafting.forwards
        draft.backwards += crafting.backwards
    return [drafts[name].cell(models[name][0], transfer, data, seed, clean.data) for name in models]


def _craft(
    attack: Attack,
    model: Counted,
    inputs: Tensor,
    data: Data,
    rows: NDArray[np.int64],
    rng: Rng,
    batch_size: int,
) -> Tensor:
    """What the attack returns for the examples at `rows`, checked."""
    labels = torch.from_numpy(data.labels[rows]).to(inputs.device)
    options: dict[str, Any] = {"batch_size": batch_size} if attack.pooled else {}
    adversarial = attack(model, inputs, labels, rng=rng.select(rows), **options).detach()
    check_images(adversarial, data.shape, f"attack {attack.label!r}")
    _check_budget(attack, inputs, adversarial)
    return adversarial


@torch.no_grad()
def predict(model: Callable[[Tensor], Tensor], inputs: Tensor, data: Data, name: str) -> Float[Tensor, "n k"]:
    """Logits in float32, checked: one row an image, a column for every label, finite."""
    logits = forward(model, inputs, name).float()
    check_logits(logits, inputs, f"model {name!r}")
    if logits.shape[1] < len(data.classes):
        raise InputError(
            f"model {name!r} has {logits.shape[1]} outputs, data set {data.name!r} has {len(data.classes)} classes",
            rule="every label needs an output",
            remedy="Use a model made for this data set",
        )
    return logits


def _passes(counted: Counted) -> int:
    return counted.forwards + counted.backwards


def _part_size(attack: Attack, data: Data, batch_size: int, attacked: int, lanes: int) -> int:
    """Examples that the attack is given at once: a batch, or as many as fill its batches for long.

    All lanes get some; such long parts come in two a lane, as one may take longer than another.
    """
    most = batch_size
    if attack.pooled:
        fair = math.ceil(attacked / (2 * lanes)) if lanes > 1 else attacked
        most = max(batch_size, min(fair, POOL_BYTES // (4 * math.prod(data.shape))))
    return max(1, min(most, math.ceil(attacked / lanes)))


def _check_determinism(attack: Attack, model: nn.Module, inputs: Tensor, data: Data, name: str) -> None:
    if attack.averaged > 1 or not len(inputs):
        return
    if not torch.equal(predict(model, inputs, data, name), predict(model, inputs, data, name)):
        raise InputError(
            f"model {name!r} answers the same images differently each time",
            rule="an attack on a randomised model has to follow its expectation",
            remedy='Use AutoAttack(version="rand"), or wrap the attack: EOT(attack=PGD(), draws=20)',
        )


def _check_budget(attack: Attack, inputs: Tensor, adversarial: Tensor) -> None:
    ball = BALLS[attack.norm]
    largest = ball.norm(adversarial - inputs).max().item()
    rounding = 2**-23 * ball.diameter(inputs[0].numel())  # one unit in the last place of each value
    if largest > attack.eps * (1 + 1e-6) + rounding:
        raise InputError(
            f"attack {attack.label!r} moved an image by {largest:.6g}",
            rule=f"its budget is eps = {attack.eps:.6g} under {attack.norm}",
            remedy="Project the result onto the ball",
        )
