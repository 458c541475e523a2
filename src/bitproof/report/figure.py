"""For a paper: a figure with the numbers that it shows, and names as LaTeX has them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bitproof import metrics
from bitproof.errors import InputError
from bitproof.records import Cell

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_ESCAPED = str.maketrans({c: rf"\{c}" for c in "&%$#_{}"} | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"})


def latex(text: str) -> str:
    """A name as LaTeX prints it.

    Example:
        >>> print(latex("50% of w4_a4"))
        50\\% of w4\\_a4
    """
    return text.replace("\\", "/").translate(_ESCAPED)


def accuracies(cells: Sequence[Cell], reference: str, group: str | None = None) -> "tuple[Figure, pd.DataFrame]":
    """Accuracy with its 95% interval, models side by side, and the numbers that are shown.

    Args:
        cells: of one data set and seed.
        reference: the model that is drawn first.
        group: show the conditions of this group alone.

    Raises:
        InputError: no condition of this group.
    """
    import pandas as pd
    from matplotlib.figure import Figure

    rows = [row for row in metrics.compare(cells, reference) if group is None or row["group"] == group]
    if not rows:
        raise InputError(
            f"no condition of the group {group!r}",
            rule=f"there are {', '.join(dict.fromkeys(cell.condition.group for cell in cells))}",
            remedy="Pick one of these, or leave group out",
        )
    shown = pd.DataFrame(rows).loc[:, ["model", "condition", "group", "n", "accuracy", "low", "high"]]
    conditions = list(dict.fromkeys(shown["condition"]))
    models = sorted(dict.fromkeys(shown["model"]), key=lambda name: name != reference)
    figure = Figure(figsize=(max(3.5, 0.6 * len(conditions) + 1.5), 2.8), layout="constrained")
    axes = figure.subplots()
    for place, model in enumerate(models):
        own = shown[shown["model"] == model].set_index("condition")
        there = [c for c in conditions if c in own.index]
        at = [conditions.index(c) + (place - (len(models) - 1) / 2) * 0.6 / len(models) for c in there]
        value, low, high = (100 * own.loc[there, name].to_numpy(float) for name in ("accuracy", "low", "high"))
        axes.errorbar(at, value, yerr=[value - low, high - value], fmt="o", markersize=3.5, capsize=2, label=model)
    axes.set_xticks(range(len(conditions)), conditions, rotation=30, ha="right", parse_math=False)
    axes.set_ylim(0, 100)
    axes.set_ylabel("accuracy in %")
    axes.legend(frameon=False, fontsize="small")
    return figure, shown
