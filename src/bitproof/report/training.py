"""The picture of a training run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bitproof.files import written


def plot_training(history: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Write loss and accuracy over the epochs as a PNG.

    Args:
        history: one record an epoch with number, loss, accuracy and holdout_accuracy (None without any).
        path: the file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [record["number"] for record in history]
    left.plot(epochs, [record["loss"] for record in history], marker=".")
    left.set(xlabel="epoch", ylabel="training loss")
    right.plot(epochs, [100 * record["accuracy"] for record in history], marker=".", label="as trained on")
    if history[0]["holdout_accuracy"] is not None:
        held = [100 * record["holdout_accuracy"] for record in history]
        right.plot(epochs, held, marker=".", label="held out")
    right.set(xlabel="epoch", ylabel="accuracy, %")
    right.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.get_major_locator().set_params(integer=True)
    with written(path, "the picture of a run") as draft:
        figure.savefig(draft)
