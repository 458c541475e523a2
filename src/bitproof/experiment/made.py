"""Models that are made once and found again: what a recipe makes of a start, data and a seed has an address.

A folder beside the store, `runs.db.made`, has one folder a model, named by the hash of everything the model follows
from. While it is being made it keeps the state of the run, from which a killed one goes on; once it is there,
`record.json`, which is written last, holds the hash of its weights.
"""

import datetime
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bitproof.checkpoints import noted_roles, save_model
from bitproof.core.calling import device_of
from bitproof.core.copying import copied
from bitproof.data import Data
from bitproof.errors import InputError
from bitproof.experiment.environment import environment
from bitproof.experiment.training import STATE, train_in
from bitproof.files import written
from bitproof.models.weights import fill, read_weights
from bitproof.quant import prepare
from bitproof.records import unpack
from bitproof.settings import describe, digest
from bitproof.subjects.fingerprint import fingerprint
from bitproof.train import Diverged, Epoch, Recipe

SCHEMA = 2
"""Version of the layout of a model's folder; part of every key."""

_RECORD, _MODEL = "record.json", "model.safetensors"


@dataclass(frozen=True, kw_only=True)
class Made:
    """A model that was made, or is being made.

    Attributes:
        key: the content address, and the name of its folder.
        architecture, classes: what `load_model` opens it by; classes only where they are not the architecture's own.
        recipe: how it was trained, for people.
        setting: the recipe as plain data; `bitproof.settings.build(Recipe, setting)` is the recipe.
        start, teacher: fingerprints of the models it started from and learned from; no teacher: from its start.
        data, split, examples: what it was trained on.
        data_fingerprint: hash of that.
        seed: of all randomness.
        epochs, done: how many the recipe has, and how many are done.
        accuracy: of the epoch that is the result, as its examples were trained on, in [0, 1]; None before the first.
        holdout_accuracy: the same on held-out examples in eval mode; None without any.
        written: when the record was, ISO 8601 in UTC.
        alarms: the steps after which training went back from catastrophic overfitting (`bitproof.train.alarm`).
        diverged: the epoch in which training led nowhere, from 1 ("NC" in tables), and `why`; None = it did not. The
            model is the last sound one then.
        environment: what the model was made on.
        weights: hash of its tensors; None while it is being made.
    """

    key: str
    architecture: str
    classes: int | None
    recipe: str
    setting: dict[str, Any]
    start: str
    teacher: str | None
    data: str
    split: str
    examples: int
    data_fingerprint: str
    seed: int
    epochs: int
    done: int = 0
    accuracy: float | None = None
    holdout_accuracy: float | None = None
    alarms: tuple[int, ...] = ()
    diverged: int | None = None
    why: str | None = None
    written: str = ""
    environment: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    schema: int = SCHEMA

    @property
    def finished(self) -> bool:
        """Whether the model is there."""
        return self.weights is not None


def made_beside(store: str | Path) -> Path:
    """The folder of the models that were made for a store: `runs.db.made` beside `runs.db`."""
    return Path(f"{store}.made")


def made_in(folder: str | Path) -> list[Made]:
    """The models in a folder, finished or not, the oldest first; none where there is no folder.

    Raises:
        InputError: a record is damaged.
    """
    records = (_read_record(place) for place in sorted(Path(folder).glob("*/")))
    return sorted((record for record in records if record is not None), key=lambda made: made.written)


def make(
    recipe: Recipe,
    start: nn.Module,
    data: Data,
    *,
    architecture: str,
    classes: int | None = None,
    seed: int = 0,
    teacher: nn.Module | None = None,
    folder: str | Path,
    progress: bool = True,
) -> nn.Module:
    """What `recipe` makes of `start`: trained now, or found where it was made before.

    A call that was stopped, even killed, goes on where it was when it is repeated.

    Args:
        recipe: how to train.
        start: what training starts from; it is not changed.
        data: the training examples.
        architecture: the name `load_model` knows the start by; the model's file says it.
        classes: number of classes, where it is not the architecture's own.
        seed: of all randomness.
        teacher: what an objective that learns from a model learns from; None = from `start`.
        folder: where made models are kept, such as `made_beside(store)`.
        progress: show a bar while it is being made.

    Returns:
        The model, in eval mode, on the device of `start`.

    Raises:
        InputError: what the recipe refuses, a folder that cannot be written, or a file in it that is damaged.
    """
    wanted = _planned(recipe, start, data, architecture, classes, seed, teacher)
    place = Path(folder) / wanted.key
    found = _read_record(place)
    if found is None or not found.finished:
        if found is not None:
            wanted = replace(wanted, done=found.done, accuracy=found.accuracy, holdout_accuracy=found.holdout_accuracy)
        _make(recipe, start, data, place, wanted, teacher, progress)
    model, made = _open(recipe, start, place), _read_record(place)
    if made is not None and made.diverged is not None and made.why is not None:
        raise Diverged(
            made.why,
            epoch=made.diverged,
            model=model,
            rule="a model that did not converge is kept as NC",
            remedy="Change the recipe",
        )
    return model


def _planned(
    recipe: Recipe,
    start: nn.Module,
    data: Data,
    architecture: str,
    classes: int | None,
    seed: int,
    teacher: nn.Module | None,
) -> Made:
    setting, origin = describe(recipe, sources=True), fingerprint(start)
    taught = fingerprint(teacher) if teacher is not None else None
    return Made(
        key=digest(SCHEMA, setting, origin, taught, data.fingerprint, seed),
        architecture=architecture,
        classes=classes,
        recipe=recipe.label,
        setting=setting,
        start=origin,
        teacher=taught,
        data=data.name,
        split=data.split,
        examples=len(data),
        data_fingerprint=data.fingerprint,
        seed=seed,
        epochs=recipe.optimisation.epochs,
    )


def _make(
    recipe: Recipe, start: nn.Module, data: Data, place: Path, made: Made, teacher: nn.Module | None, progress: bool
) -> None:
    """Train from where the folder has it, and leave the finished model there."""

    def keep(history: list[Epoch], _: nn.Module) -> None:
        nonlocal made
        result = [epoch for epoch in history if epoch.best][-1]
        made = replace(
            made,
            done=len(history),
            accuracy=result.accuracy,
            holdout_accuracy=result.holdout_accuracy,
            alarms=tuple(epoch.alarm for epoch in history if epoch.alarm is not None),
        )
        _write_record(place, made)

    try:
        model = train_in(place, recipe, start, data, seed=made.seed, teacher=teacher, progress=progress, on_epoch=keep)
    except Diverged as nc:
        model, made = nc.model, replace(made, diverged=nc.epoch, why=nc.what)
    save_model(model, place / _MODEL, architecture=made.architecture, classes=made.classes)
    _write_record(place, replace(made, environment=environment([device_of(start)]), weights=_hash(model.state_dict())))
    (place / STATE).unlink(missing_ok=True)


def _open(recipe: Recipe, start: nn.Module, place: Path) -> nn.Module:
    """The finished model of a folder, its weights compared with those that were written."""
    path, record = place / _MODEL, _read_record(place)
    assert record is not None
    try:
        weights = read_weights(path)
    except InputError as error:
        raise _damaged(path, error.what) from error
    if _hash(weights) != record.weights:
        raise _damaged(path, "other weights than were written")
    if recipe.quantization:
        model = prepare(start, recipe.quantization.scheme, noted_roles(path))
    else:
        model = copied(start).eval()
    fill(model, weights, str(path))
    model.origin = origin_of(record)  # pyright: ignore - what a subject knows of it
    return model


def origin_of(made: Made) -> dict[str, Any]:
    """Where a made model came from, as results name it."""
    return {
        "key": made.key,
        "recipe": made.recipe,
        "start": made.start,
        "teacher": made.teacher,
        "data": made.data_fingerprint,
        "seed": made.seed,
    }


def _hash(weights: Mapping[str, Tensor]) -> str:
    hasher = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(weights.items()):
        hasher.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        hasher.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return hasher.hexdigest()


def _write_record(place: Path, made: Made) -> None:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    text = json.dumps(asdict(replace(made, written=now)), indent=1)
    with written(place / _RECORD, "a made model's record") as draft:
        draft.write_text(text)


def _read_record(place: Path) -> Made | None:
    """The record in a model's folder; None where there is none yet."""
    path = place / _RECORD
    if not path.exists():
        return None
    try:
        record = unpack(Made, path.read_text(), None)
    except (OSError, ValueError) as error:
        raise _damaged(path, error.what if isinstance(error, InputError) else str(error)) from error
    if record.key != place.name or record.schema != SCHEMA:
        raise _damaged(path, f"it is the record of {record.key}, layout {record.schema}")
    return record


def _damaged(path: Path, what: str) -> InputError:
    return InputError(
        f"{str(path)!r} is damaged ({what})",
        rule="a made model is used only as it was written",
        remedy=f"Delete the folder {str(path.parent)!r} and repeat the command, which makes it anew",
    )
