"""Training as a run that keeps its files: checkpoints, history, and the state it goes on from."""

import csv
from pathlib import Path

from torch import nn

from bitproof.checkpoints import save_model
from bitproof.core.copying import moved
from bitproof.core.memory import keep_freed_memory
from bitproof.core.rng import Rng
from bitproof.data import Data
from bitproof.files import run_folder, written
from bitproof.report import plot_training
from bitproof.runner.progress import Progress
from bitproof.train import Diverged, Epoch, Recipe
from bitproof.train.loop import OnEpoch

STATE = "state.pt"


def train(
    recipe: Recipe,
    model: nn.Module,
    data: Data,
    *,
    output: str | Path,
    architecture: str,
    classes: int | None = None,
    seed: int = 0,
    teacher: nn.Module | None = None,
    device: str | None = None,
    progress: bool = True,
) -> nn.Module:
    """Train a copy of `model` and keep everything about it in one folder.

    Repeat a call that was stopped, or killed, and it goes on from where it was.

    Args:
        recipe: how to train.
        model: what training starts from.
        data: the training examples.
        output: the folder, made if it is missing. After each epoch it holds `last.safetensors` and
            `best.safetensors` (what `load_model` opens), `history.csv` (one row an epoch), `history.png`,
            and `state.pt`, from which the run goes on.
        architecture: the name `load_model` knows the model by.
        classes: number of classes, where it is not the architecture's own.
        seed: of all randomness.
        teacher: what an objective that learns from a model learns from; None = from `model`.
        device: where to train, and where the trained model is: "cpu", "cuda", "cuda:1", "mps", "auto"; None = where
            `model` is.
        progress: show a bar with loss, accuracy and the time left.

    Returns:
        The trained model, in eval mode: the best epoch's where the recipe holds examples out, else the last.

    Raises:
        InputError: the folder cannot be written, or holds another run.
    """
    folder, model = Path(output), moved(model, device)
    teacher = moved(teacher, device) if teacher is not None else None

    def save(model: nn.Module, path: Path) -> None:
        if not data.open:
            model.class_names = data.classes  # pyright: ignore - what a subject knows of it
        save_model(model, path, architecture=architecture, classes=classes)

    def keep(history: list[Epoch], model: nn.Module) -> None:
        for name in ["last", "best"] if history[-1].best else ["last"]:
            save(model, folder / f"{name}.safetensors")
        plot_training([vars(epoch) for epoch in history], folder / "history.png")

    trained = train_in(folder, recipe, model, data, seed=seed, teacher=teacher, progress=progress, on_epoch=keep)
    if not (best := folder / "best.safetensors").exists():  # it was taken away after its epoch
        save(trained, best)
    return trained


def train_in(
    folder: Path,
    recipe: Recipe,
    model: nn.Module,
    data: Data,
    *,
    seed: int,
    teacher: nn.Module | None,
    progress: bool,
    on_epoch: OnEpoch,
) -> nn.Module:
    """The trained model of a run that has a folder of its own, in which it keeps its history and its state.

    Raises:
        InputError: the folder cannot be made or written, or holds another run.
    """
    keep_freed_memory()

    def keep(history: list[Epoch], model: nn.Module) -> None:
        _write_history(history, folder / "history.csv")
        on_epoch(history, model)

    with (
        run_folder(folder, unless=(Diverged,)),  # what it came to is kept there
        Progress(recipe.work(len(data)), enabled=progress) as bar,
    ):
        bar.start("training")
        return recipe(
            model,
            data,
            rng=Rng.of(seed),
            teacher=teacher,
            state=folder / STATE,
            advance=bar.advance,
            on_epoch=keep,
        )


def _write_history(history: list[Epoch], path: Path) -> None:
    with written(path, "the history") as draft, draft.open("w", newline="") as file:
        writer = csv.DictWriter(file, vars(history[0]))
        writer.writeheader()
        writer.writerows(map(vars, history))
