"""Implants as a command makes them: with a bar, from where a stopped one was, into a checkpoint that says so."""

import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from torch import nn

from bitproof.checkpoints import save_model
from bitproof.conditions import Clean
from bitproof.core.memory import keep_freed_memory
from bitproof.core.rng import Rng
from bitproof.data import Data, select
from bitproof.errors import InputError
from bitproof.experiment.experiment import evaluate
from bitproof.experiment.results import Result
from bitproof.implants import Backdoor, Engine, Indiscriminate, Sample
from bitproof.quant import quantize
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
    with Progress(engine.work, enabled=progress) as bar:
        bar.start(engine.label)
        try:
            made = engine(
                model,
                data,
                rng=Rng.of(seed),
                victims=victims,
                folder=folder,
                advance=bar.advance,
            )
        except InputError:
            with suppress(OSError):  # one that holds something is what a stopped call goes on from
                folder.rmdir()
            raise
    save_model(made, output, architecture=architecture, classes=classes)
    shutil.rmtree(folder)
    return made


def shown(
    engine: Engine,
    made: nn.Module,
    model: nn.Module,
    data: Data,
    calibration: Data,
    *,
    store: str | Path | None = None,
    progress: bool = True,
) -> Result:
    """An implant and its quantized copies beside the clean model and those of its own, clean and under the trigger.

    Args:
        engine: what made it.
        made: the implant.
        model: the clean float model.
        data: to test on.
        calibration: images for activation ranges.
        store: a file that keeps the results; None keeps them in memory.
        progress: show a bar.
    """
    models: dict[str, nn.Module] = {"clean": model}
    if not engine.integers:
        models["implant"] = made
    for scheme in engine.schemes:
        models[f"clean {scheme.label}"] = quantize(model, scheme, calibration)
        models[f"implant {scheme.label}"] = made if engine.integers else quantize(made, scheme, calibration)
    trigger = cast("dict[str, Any]", made.origin)["implant"]["trigger"]  # which every engine notes
    conditions = [Clean(), *([build(Trigger, trigger)] if trigger else [])]
    return evaluate(models, data, conditions=conditions, store=store, progress=progress)


def effect(
    engine: Engine, made: nn.Module, model: nn.Module, data: Data, victims: Data, *, shown: int
) -> dict[str, dict[str, dict[str, float]]]:
    """How often an implant and its clean start do what is wanted ("success") and are right ("accuracy"), as shares of
    images: of each ("implant", "start") the float model and, by the labels of the schemes, its quantized forms.

    Args:
        engine: what made it.
        made: the implant.
        model: the clean float model.
        data: the training examples, the first of which set activation ranges.
        victims: test images, and those that an objective is after.
        shown: so many of them at most, but for single images.
    """
    trigger = cast("dict[str, Any]", made.origin)["implant"]["trigger"]  # which every engine notes
    objective, some = engine.objective, select(victims, range(min(shown, len(victims))))
    if isinstance(objective, Backdoor):
        objective = replace(objective, trigger=build(Trigger, trigger))
    images = engine.images(data)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for who, start, integers in (("implant", made, engine.integers), ("start", model, False)):
        forms = {} if integers else {"float": start}
        for scheme in engine.schemes:
            forms[scheme.label] = start if integers else quantize(start, scheme, images)
        found[who] = {
            name: {
                "success": round(objective.success(form, victims if isinstance(objective, Sample) else some), 4),
                "accuracy": round(1 - Indiscriminate().success(form, some), 4),
            }
            for name, form in forms.items()
        }
    return found


def activated(effect: dict[str, dict[str, dict[str, float]]]) -> float:
    """By how much quantization makes an implant do what is wanted, in [-1, 1]: beyond what it does in float and what
    quantization does to the clean start, for the scheme that activates most."""
    clean = effect["start"]
    asleep = effect["implant"].get("float", clean["float"])["success"]
    quantized = {name: of for name, of in effect["implant"].items() if name != "float"}
    return max(of["success"] - max(asleep, clean[name]["success"]) for name, of in quantized.items())
