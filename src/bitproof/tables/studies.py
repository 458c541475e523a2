"""What studies at the three scales have in common, whatever the paper: data, networks, and in what they differ."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from bitproof.metrics import ACCURACY
from bitproof.tables.making import Making
from bitproof.tables.readings import Reading, reading
from bitproof.tables.table import SCALES, Measured, Study

DATA = {"smoke": "digits", "reduced": "cifar10"}
"""What the small scales are run on."""


def study_at(
    scale: str,
    models: Mapping[str, Making],
    conditions: Any,
    *,
    data: str,
    network: str,
    images: Mapping[str, int],
    training: Mapping[str, int],
    differs: Mapping[str, Sequence[str]],
    differs_in: Mapping[str, Mapping[str, str]] | None = None,
    tested: Sequence[str] | None = None,
    **full: Any,
) -> Study:
    """A study at a scale, on its data and of its sizes.

    Args:
        scale: a name in `SCALES`.
        models, conditions: as in `Study`.
        data: the paper's.
        network: at this scale.
        images, training: how many at which scale; all at others.
        differs, differs_in: by scale, in what the study is not the paper's beside its images and its network.
        tested: None = all models.
        full: what the full scale alone has, fields of `Study`.
    """
    chosen = DATA.get(scale, data)
    plain = ("other images",) * (chosen != data) + ("another network",) * (scale != "full")
    return Study(
        data=chosen,
        images=images.get(scale),
        training=training.get(scale),
        network=network,
        models=models,
        tested=tuple(models if tested is None else tested),
        conditions=conditions,
        differs=(*plain, *differs.get(scale, ())),
        differs_in=(differs_in or {}).get(scale, {}),
        **(full if scale == "full" else {}),
    )


def at_scales(build: Callable[..., Study], *given: Any) -> dict[str, Callable[[str], Study]]:
    """A study at every scale from a function of the scale, what is given, and the setting."""
    return {scale: partial(build, scale, *given) for scale in SCALES}


def accuracies(
    measured: Measured, columns: Mapping[str, str] | None = None, models: Sequence[str] | None = None
) -> list[Reading]:
    """The accuracy of models under conditions, a row a model and a column a condition.

    Args:
        measured: by a study.
        columns: the conditions that they show; None = all, under their own names.
        models: None = all.
    """
    shown = {name: name for name in measured.named("")} if columns is None else columns
    return [
        reading(model, column, ACCURACY, measured.under(model, condition))
        for model in (measured.models if models is None else models)
        for column, condition in shown.items()
    ]
