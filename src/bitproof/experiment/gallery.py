"""Galleries as a command makes them: model by model, each with its metadata and its record."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from bitproof.checkpoints import load_model, save_model
from bitproof.core.memory import keep_freed_memory
from bitproof.core.rng import Rng
from bitproof.data import Data, load_data
from bitproof.files import written
from bitproof.implants.gallery import Entry, planned
from bitproof.models import build_model
from bitproof.runner.progress import Progress
from bitproof.subjects import Subject
from bitproof.train import Recipe, standard

ARCHITECTURE = "digits_cnn"


def make_gallery(
    folder: str | Path, *, share: tuple[int, int] = (1, 1), limit: int | None = None, progress: bool = True
) -> int:
    """Make the models of the gallery on the digits that are not there yet; returns how many there are now.

    For each model NAME the folder holds `NAME.safetensors`, which says what was done to it, and `NAME.json`: its kind,
    whether it is to develop on or to report on only, and its record.

    Args:
        folder: made if it is missing. The same call goes on where one was stopped.
        share: (k, n): only the k-th of n equal parts, so that n processes share the work.
        limit: only so many of each kind.
        progress: show a bar.
    """
    keep_freed_memory()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    train, test = (load_data("digits", split=split) for split in ("train", "test"))
    entries = [*_wanted(planned(), share, limit)]
    with Progress(len(entries), enabled=progress) as bar:
        for entry in entries:
            bar.start(entry.name)
            if not (folder / f"{entry.name}.json").exists():
                _keep(folder, entry, _made(entry, train, test, folder))
            bar.advance(1)
    return sum(1 for _ in folder.glob("*.json"))


def _wanted(entries: list[Entry], share: tuple[int, int], limit: int | None) -> Iterator[Entry]:
    counts: dict[str, int] = {}
    for number, entry in enumerate(entries):
        counts[entry.kind] = counts.get(entry.kind, 0) + 1
        if number % share[1] == share[0] - 1 and (limit is None or counts[entry.kind] <= limit):
            yield entry


def _recipe(seed: int) -> Recipe:
    """Clean models differ in more than their seed: epochs, augmentation, rate."""
    return standard(
        epochs=(10, 14, 20)[seed % 3],
        learning_rate=(1e-2, 5e-3)[seed % 2],
        augmentation=("none", "crop-flip-reflect")[seed % 5 == 4],
    )


def _trained(train: Data, seed: int) -> nn.Module:
    rng = Rng(seed, np.zeros(1, np.int64))
    model = _recipe(seed)(build_model(ARCHITECTURE, seed=seed), train, rng=rng)
    model.origin = {"recipe": _recipe(seed).label, "data": train.fingerprint, "seed": seed}  # pyright: ignore
    return model


def _start(folder: Path, train: Data, seed: int) -> nn.Module:
    """A clean model, made once."""
    path = folder / f"clean-{seed:03d}.safetensors"
    if not path.exists():
        save_model(_trained(train, seed), path, architecture=ARCHITECTURE)
    return load_model(ARCHITECTURE, weights=path)


def _samples(model: nn.Module, test: Data) -> tuple[int, ...]:
    """The first test images that a model gets right, half of a hundred at most."""
    rows = np.arange(100)
    said = model(test.images(rows)).argmax(1).numpy()
    return tuple(int(row) for row in rows[said == test.labels[rows]][:50])


def _made(entry: Entry, train: Data, test: Data, folder: Path) -> nn.Module:
    start = _start(folder, train, entry.seed)
    engine = entry.engine(_samples(start, test))
    if engine is None:
        return start
    rng = Rng(entry.seed, np.zeros(1, np.int64), (entry.name,))
    return engine(start, train, rng=rng, victims=test)


def _keep(folder: Path, entry: Entry, model: nn.Module) -> None:
    """Write the model, then what is said of it: a model without that is made again."""
    save_model(model, folder / f"{entry.name}.safetensors", architecture=ARCHITECTURE)
    about: dict[str, Any] = {"name": entry.name, "kind": entry.kind, "part": entry.part}
    about["model"] = asdict(Subject.of(model).record(entry.name))
    with written(folder / f"{entry.name}.json", "what is said of a model") as draft:
        draft.write_text(json.dumps(about, indent=1))
