"""Conditions that are one condition by other names: they showed the models the same pixels."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt64

from bitproof.metrics.pairing import condition_identity, same_examples
from bitproof.records import Cell


def same_pixels(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Conditions under which models saw pixels that an earlier condition had shown them already, and how often.

    Two libraries that decode alike are one condition, not two, whatever they are called.

    Args:
        cells: of one data set and seed; those without a record of their pixels are passed over.

    Returns:
        Rows with condition (its label), like (the label of the earlier condition that agrees on most images), equal
        (on how many), n; one for each condition that agrees with any on an image.

    Raises:
        InputError: different examples.
    """
    rows = list[dict[str, Any]]()
    for label, _, agree in _agreements(cells):
        equal, like = max(agree, key=lambda found: found[0], default=(0, ""))
        if equal:
            rows.append({"condition": label, "like": like, "equal": equal, "n": len(cells[0].ids)})
    return rows


def repeated(cells: Sequence[Cell]) -> set[str]:
    """The identities of the conditions that showed the models all the pixels of an earlier one."""
    return {key for _, key, agree in _agreements(cells) if len(cells[0].ids) in (equal for equal, _ in agree)}


def _agreements(cells: Sequence[Cell]) -> Iterator[tuple[str, str, list[tuple[int, str]]]]:
    """Label and identity of each condition, and on how many images it agrees with each earlier one."""
    shown: dict[str, tuple[str, UInt64[np.ndarray, " n"]]] = {}
    for cell in same_examples(cells):
        if cell.digests is not None:
            shown.setdefault(condition_identity(cell.condition), (cell.condition.label, cell.digests))
    entries = [(key, label, pixels) for key, (label, pixels) in shown.items()]
    for i, (key, label, pixels) in enumerate(entries):
        yield label, key, [(int(((pixels == other) & (pixels > 0)).sum()), like) for _, like, other in entries[:i]]
