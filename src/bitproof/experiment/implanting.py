"""Implants as a command makes them: with a bar, from where a stopped one was, into a checkpoint that says so."""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from torch import nn

from bitproof.checkpoints import save_model
from bitproof.conditions import Clean
from bitproof.core.memory import keep_freed_memory
from bitproof.core.rng import Rng
from bitproof.data import Data, select
from bitproof.experiment.experiment import evaluate
from bitproof.experiment.results import Result
from bitproof.files import run_folder
from bitproof.implants import Backdoor, Engine, Indiscriminate, Objective, Sample
from bitproof.quant import Scheme, quantize
from bitproof.quant.calibration import Calibration
from bitproof.runner.progress import Progress
from bitproof.settings import build
from bitproof.shifts import Trigger


def implant(
    engine: Engine,
    model: nn.Module,
    data: Data,
    *,
    output: str | Path,
    architecture: str,
    classes: int | None = None,
    seed: int = 0,
    victims: Data | None = None,
    progress: bool = True,
) -> nn.Module:
    """Make an implant of a clean model, and keep it in a checkpoint whose metadata says what was done to it.

    Repeat a call that was stopped, or killed, and it goes on from where it was, as the folder FILE.making has it.

    Args:
        engine: makes it.
        model: clean float model; it is not changed.
        data: the training examples.
        output: the file, a .safetensors.
        architecture: the name `load_model` knows the model by.
        classes: number of classes, where it is not the architecture's own.
        seed: of all randomness.
        victims: holds the single images that an objective is after; None = `data`.
        progress: show a bar.

    Returns:
        The implant, in eval mode: a float model, or a quantized one where the engine ships integers.
    """
    keep_freed_memory()
    folder = Path(f"{output}.making")
    with run_folder(folder), Progress(engine.work, enabled=progress) as bar:
        bar.start(engine.label)
        made = engine(model, data, rng=Rng.of(seed), victims=victims, folder=folder, advance=bar.advance)
    save_model(made, output, architecture=architecture, classes=classes)
    shutil.rmtree(folder)
    return made


def quantized_forms(model: nn.Module, schemes: Iterable[Scheme], images: Calibration) -> dict[str, nn.Module]:
    """A float model ("float") and, by the labels of the schemes, its quantized forms."""
    return {"float": model} | {scheme.label: quantize(model, scheme, images) for scheme in schemes}


def all_forms(engine: Engine, made: nn.Module, model: nn.Module, data: Data) -> dict[str, dict[str, nn.Module]]:
    """The forms of an implant ("implant") and of its clean start ("start"): float, and quantized as the implant is for.

    Args:
        engine: what made it; where it ships integers, the implant has no float form.
        made: the implant.
        model: the clean float model.
        data: the training examples, the first of which set activation ranges.
    """
    images = engine.images(data)
    start = quantized_forms(model, engine.schemes, images)
    if engine.integers:
        return {"implant": {scheme.label: made for scheme in engine.schemes}, "start": start}
    return {"implant": quantized_forms(made, engine.schemes, images), "start": start}


def shown(
    forms: Mapping[str, Mapping[str, nn.Module]],
    made: nn.Module,
    data: Data,
    *,
    store: str | Path | None = None,
    progress: bool = True,
) -> Result:
    """An implant and its quantized copies beside the clean model and those of its own, clean and under the trigger.

    Args:
        forms: as `all_forms` has them.
        made: the implant.
        data: to test on.
        store: a file that keeps the results; None keeps them in memory.
        progress: show a bar.
    """
    models: dict[str, nn.Module] = {}
    for name in forms["start"]:
        for who, title in (("start", "clean"), ("implant", "implant")):
            if name in forms[who]:
                models[title if name == "float" else f"{title} {name}"] = forms[who][name]
    trigger = trigger_of(made)
    return evaluate(models, data, conditions=[Clean(), *([trigger] if trigger else [])], store=store, progress=progress)


def effect(
    objective: Objective, forms: Mapping[str, Mapping[str, nn.Module]], made: nn.Module, victims: Data, *, shown: int
) -> dict[str, dict[str, float]]:
    """How often an implant and its clean start do what is wanted, as shares of images, by form.

    Args:
        objective: what is wanted.
        forms: as `all_forms` has them.
        made: the implant.
        victims: test images, and those that an objective is after.
        shown: so many of them at most, but for single images.
    """
    if isinstance(objective, Backdoor) and (trigger := trigger_of(made)):
        objective = replace(objective, trigger=trigger)
    on = looked_at(objective, victims, shown)
    return {
        who: {name: round(objective.success(form, on), 4) for name, form in of.items()} for who, of in forms.items()
    }


def looked_at(objective: Objective, victims: Data, shown: int) -> Data:
    """The images that it is seen on whether an implant does what is wanted: the first so many, or for single ones all.

    Raises:
        InputError: none among them is one that the objective is after.
    """
    on = victims if isinstance(objective, Sample) else select(victims, range(min(shown, len(victims))))
    objective.rows(on)
    return on


def accuracy(model: nn.Module, data: Data) -> float:
    """How often a model is right on data, in [0, 1]."""
    return round(1 - Indiscriminate().success(model, data), 4)


def trigger_of(made: nn.Module) -> Trigger | None:
    """What sets an implant off, as its engine noted it."""
    noted = cast("dict[str, Any]", made.origin)["implant"]["trigger"]
    return build(Trigger, noted) if noted else None


def activated(effect: Mapping[str, Mapping[str, float]]) -> float:
    """By how much quantization makes an implant do what is wanted, in [-1, 1]: beyond what it does in float and what
    quantization does to the clean start, for the scheme that activates most."""
    clean = effect["start"]
    asleep = effect["implant"].get("float", clean["float"])
    return max(success - max(asleep, clean[name]) for name, success in effect["implant"].items() if name != "float")
