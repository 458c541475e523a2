"""Which class a targeted attack goes for, example by example."""

import numpy as np
from jaxtyping import Int64

from bitproof.core.rng import Rng
from bitproof.data.base import composed
from bitproof.errors import InputError

RULES = ("next", "random", "likeliest", "least-likely")
"""The class after the label; a wrong class drawn for the example; the wrong class that the model finds most or least
likely on the clean image. A class's name or number stands for that class."""

OF_THE_MODEL = ("likeliest", "least-likely")
"""Rules that look at the model's logits."""


def chosen_targets(
    rule: str,
    labels: Int64[np.ndarray, " n"],
    classes: tuple[str, ...],
    *,
    rng: Rng,
    logits: np.ndarray | None = None,
) -> Int64[np.ndarray, " n"]:
    """The class to reach, [n]; -1 for the examples that belong to it already.

    Args:
        rule: one of `RULES`, or a class by its name or number.
        labels: class numbers.
        classes: all names.
        rng: keyed by example.
        logits: float [n, k] on the clean images, for the rules `OF_THE_MODEL`.

    Raises:
        InputError: a rule that is none of these, or a single class.

    Example:
        >>> from bitproof.core.rng import Rng
        >>> chosen_targets("next", np.array([0, 2]), ("a", "b", "c"), rng=Rng(0, np.arange(2))).tolist()
        [1, 0]
    """
    count = len(classes)
    if count < 2:
        raise InputError(f"{count} class", rule="a target is another class", remedy="Use data with at least two")
    if rule == "next":
        return (labels + 1) % count
    if rule == "random":
        draws = np.array([int(g.integers(1, count)) for g in rng.fold("target").generators()], np.int64)
        return (labels + draws) % count if len(labels) else labels
    if rule in OF_THE_MODEL:
        assert logits is not None
        others = logits[:, :count].astype(np.float64)
        others[np.arange(len(labels)), labels] = -np.inf if rule == "likeliest" else np.inf
        return (others.argmax(1) if rule == "likeliest" else others.argmin(1)).astype(np.int64)
    return np.where(labels == (number := class_number(rule, classes, rules=RULES)), -1, number)


def class_number(name: str, classes: tuple[str, ...], *, rules: tuple[str, ...] = ()) -> int:
    """The class that a name or number stands for.

    Args:
        name: of the class, or its number.
        classes: all names.
        rules: what else could have been written, to be named in the message.

    Raises:
        InputError: no class.
    """
    known = [*map(composed, classes)]
    if composed(name) in known:
        return known.index(composed(name))
    if name.isdecimal() and len(name) < 10 and int(name) < len(classes):
        return int(name)
    shown = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
    one = f"one of the {len(classes)} classes ({shown}) by name or number"
    raise InputError(
        f"{'targets' if rules else 'target'} is {name!r}",
        rule=f"it is {', '.join(rules)}, or {one}" if rules else f"it is {one}",
        remedy="Write for example targets=next" if rules else f"Write for example target={len(classes) - 1}",
    )
