"""Galleries as a command makes them: model by model, each with its metadata and its record."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from bitproof.checkpoints import load_model, save_model
from bitproof.core.memory import keep_freed_memory
from bitproof.core.rng import Rng
from bitproof.data import Data, load_data, select
from bitproof.errors import InputError, lookup
from bitproof.experiment.implanting import accuracy, all_forms, effect
from bitproof.files import written
from bitproof.implants.gallery import PLANS, CleanTraining, Entry, Plan, planned
from bitproof.models import MODELS, build_model
from bitproof.reading import refusing
from bitproof.runner.progress import Progress
from bitproof.subjects import Subject
from bitproof.train import Recipe, standard
from bitproof.train.objectives import NFGSM, CrossEntropy

SHOWN = 1_000
"""Test images that the effect of an implant is measured on, at most."""


def make_gallery(
    folder: str | Path,
    family: str = "digits",
    *,
    data: str = "digits",
    root: str | Path | None = None,
    weights: str | Path | None = None,
    share: tuple[int, int] = (1, 1),
    limit: int | None = None,
    progress: bool = True,
) -> int:
    """Make the models of a gallery that are not there yet; returns how many there are now.

    For each model NAME the folder holds `NAME.safetensors`, which says what was done to it, and `NAME.json`: its kind
    and architecture, whether it is to develop on or to report on only, its record, and of implants the effect: how
    often the float model and each quantized one, and those of the clean start, do what is wanted, and their accuracy.

    Args:
        folder: made if it is missing. The same call goes on where one was stopped.
        family: of networks, a name in `bitproof.implants.gallery.PLANS`.
        data, root: what they are trained and tested on, as for `load_data`.
        weights: a trained model's, for families that start from one.
        share: (k, n): only the k-th of n equal parts, so that n processes share the work.
        limit: only so many of each kind.
        progress: show a bar.

    Raises:
        InputError: weights or data that do not fit the family, or a model in the folder that is none of its.
    """
    plan = lookup(PLANS, family, "gallery")
    if plan.given != (weights is not None):
        raise InputError(
            f"gallery {family!r} {'without' if plan.given else 'with'} weights",
            rule="that of resnet20 starts from trained weights, the others are trained from random ones",
            remedy="Give weights of this network" if plan.given else "Leave the weights out",
        )
    keep_freed_memory()
    train, test = (load_data(data, root=root, split=split) for split in ("train", "test"))
    shape = MODELS[plan.architectures[0]].shape
    if train.shape != shape:
        raise InputError(
            f"gallery {family!r} on {train.name} of {'x'.join(map(str, train.shape))}",
            rule=f"its networks take {'x'.join(map(str, shape))}",
            remedy="Use digits for the digits, and cifar10 for the others",
        )
    gallery = _Gallery(folder=Path(folder), plan=plan, train=train, test=test, weights=weights)
    gallery.folder.mkdir(parents=True, exist_ok=True)
    entries = [*_wanted(planned(plan), share, limit)]
    with Progress(len(entries), enabled=progress) as bar:
        for entry in entries:
            bar.start(entry.name)
            if (told := gallery.folder / f"{entry.name}.json").exists():
                read_about(told, (entry,))
            else:
                gallery.keep(entry)
            bar.advance(1)
    return sum(1 for _ in gallery.folder.glob("*.json"))


def read_about(path: Path, entries: Iterable[Entry] | None = None) -> dict[str, Any]:
    """What a folder's `NAME.json` says of `NAME.safetensors`.

    Args:
        path: the former.
        entries: that it may be of; None = those of all galleries.

    Raises:
        InputError: it says something else than `make_gallery` does of one of these, or the model is missing.
    """
    known = (entry for plan in PLANS.values() for entry in planned(plan)) if entries is None else entries
    with refusing(
        repr(str(path)),
        rule="it says of the model beside it what `bitproof gallery` wrote of one of its family",
        remedy="Delete it, and the same command makes the model again; another family needs another folder",
        absorb=True,
    ):
        about = json.loads(path.read_text("utf-8"))
        said = {name: about[name] for name in _SAID}
        if said not in [_identity(entry) for entry in known if entry.name == path.stem]:
            raise ValueError(f"it says {', '.join(f'{name} {value!r:.40}' for name, value in said.items())}")
        if (said["kind"] == "clean") == ("effect" in about):
            raise ValueError(f"{'an' if 'effect' in about else 'no'} effect of a model of kind {said['kind']!r}")
        forms = [did for who in ("implant", "start") for did in about.get("effect", {who: {}})[who].values()]
        if not all(0 <= did[share] <= 1 for did in forms for share in ("success", "accuracy")):
            raise ValueError("an effect that is no share of images")
        if not path.with_suffix(".safetensors").is_file():
            raise ValueError("the model is missing")
    return about


_SAID = ("name", "kind", "part", "seed", "architecture")


def _identity(entry: Entry) -> dict[str, Any]:
    """What is said of a model whatever came of it."""
    return {name: getattr(entry, name) for name in _SAID}


def _wanted(entries: list[Entry], share: tuple[int, int], limit: int | None) -> Iterator[Entry]:
    counts: dict[str, int] = {}
    for number, entry in enumerate(entries):
        counts[entry.kind] = counts.get(entry.kind, 0) + 1
        if number % share[1] == share[0] - 1 and (limit is None or counts[entry.kind] <= limit):
            yield entry


@dataclass(frozen=True, kw_only=True)
class _Gallery:
    """Where a gallery lies, and what it is made from."""

    folder: Path
    plan: Plan
    train: Data
    test: Data
    weights: str | Path | None

    def keep(self, entry: Entry) -> None:
        """Make a model and write it, then what is said of it: a model without that is made again."""
        start = self._start(entry.seed, entry.architecture)
        engine = entry.engine(_samples(start, self.test))
        model, about = start, _identity(entry)
        if engine is not None:
            rng = Rng.of(entry.seed).fold(entry.name)
            model = engine(start, self.train, rng=rng, victims=self.test)
            forms = all_forms(engine, model, start, self.train)
            wanted = effect(engine.objective, forms, model, self.test, shown=SHOWN)
            some = select(self.test, range(min(SHOWN, len(self.test))))
            about["effect"] = {
                who: {
                    name: {"success": wanted[who][name], "accuracy": accuracy(form, some)} for name, form in of.items()
                }
                for who, of in forms.items()
            }
        save_model(model, self.folder / f"{entry.name}.safetensors", architecture=entry.architecture)
        about["model"] = asdict(Subject.of(model).record(entry.name))
        with written(self.folder / f"{entry.name}.json", "what is said of a model") as draft:
            draft.write_text(json.dumps(about, indent=1))

    def _start(self, seed: int, architecture: str) -> nn.Module:
        """A clean model, made once."""
        path = self.folder / f"clean-{seed:03d}.safetensors"
        if not path.exists():
            save_model(self._trained(seed, architecture), path, architecture=architecture)
        return load_model(architecture, weights=path)

    def _trained(self, seed: int, architecture: str) -> nn.Module:
        start = build_model(architecture, weights=self.weights, seed=seed)
        if self.weights is not None and seed == 0:
            return start
        recipe = _recipe(self.plan, self.plan.training(seed))
        model = recipe(start, self.train, rng=Rng.of(seed))
        model.origin = {"recipe": recipe.label, "data": self.train.fingerprint, "seed": seed}  # pyright: ignore
        return model


def _recipe(plan: Plan, training: CleanTraining) -> Recipe:
    return standard(
        epochs=training.epochs,
        learning_rate=training.rate * (0.4 if training.robust else 1.0),  # which end at chance otherwise
        augmentation="crop-flip-reflect" if training.augmented else "none",
        share=plan.share,
        objective=NFGSM(eps=plan.eps) if training.robust else CrossEntropy(),
    )


def _samples(model: nn.Module, test: Data) -> tuple[int, ...]:
    """The first test images that a model gets right, half of a hundred at most."""
    rows = np.arange(100)
    said = model(test.images(rows)).argmax(1).numpy()
    return tuple(int(row) for row in rows[said == test.labels[rows]][:50])
