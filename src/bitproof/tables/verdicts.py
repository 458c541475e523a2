"""Whether a number of ours agrees with the printed one, and why the two cannot be compared where they cannot.

The first of these that applies:

    nothing is printed                     not comparable
    neither of the two converged           consistent, if the experiment is the paper's; else not comparable
    the experiment is another one          not comparable, with what is other
    the interval is wide                   not comparable: fewer images
    the printed number lies in our interval, or within its own rounding and the error of its own images of it
                                           consistent, else different
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bitproof.metrics.intervals import Estimate
from bitproof.tables.printed import UNITS, Printed

CONSISTENT, DIFFERENT, INCOMPARABLE = "consistent", "different", "not comparable"

WIDEST = 0.05
"""Half of the widest interval of a rate that says anything of a printed number."""

NOT_CONVERGED = "NC"

UNPRINTED = "not in the paper"
"""The reason where nothing is printed."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A word, one of `CONSISTENT`, `DIFFERENT`, `INCOMPARABLE`, and its reason."""

    word: str
    reason: str = ""


def judge_number(
    printed: Printed | None, found: Estimate | None, *, n: int, images: int | None, differs: Sequence[str]
) -> Verdict:
    """The verdict on one number.

    Args:
        printed: the paper's.
        found: ours, in the units of the package; None where the model did not converge, or the number is undefined.
        n: how many examples ours is a mean or share of.
        images: how many the paper's is, other ones than ours; None where they are the same ones.
        differs: in what the experiment is not the paper's.
    """
    if printed is None:
        return Verdict(word=INCOMPARABLE, reason=UNPRINTED)
    if differs:
        return Verdict(word=INCOMPARABLE, reason=", ".join(differs))
    if printed.value is None or found is None:
        if printed.note == NOT_CONVERGED and found is None:
            return Verdict(word=CONSISTENT, reason="neither converged")
        missing = printed.note or "nothing" if printed.value is None else "a number, and ours is undefined"
        return Verdict(word=INCOMPARABLE, reason=f"the paper prints {missing}")
    scale = UNITS[printed.unit]
    value, low, high = (None if end is None else scale * end for end in found)
    assert value is not None
    if low is None or high is None:
        return Verdict(word=INCOMPARABLE, reason="no interval is known")
    if (high - low) / 2 > WIDEST * scale:
        return Verdict(word=INCOMPARABLE, reason=f"fewer images (n = {n:,})")
    theirs = _error(printed.value / scale, images) * scale + printed.rounding
    gap = max(low - printed.value, printed.value - high, 0.0)
    return Verdict(word=CONSISTENT if gap <= theirs else DIFFERENT)


def _error(rate: float, images: int | None) -> float:
    """Half of the 95% interval of a printed rate on so many images of its own."""
    return 0.0 if images is None else 1.96 * math.sqrt(max(0.0, rate * (1 - rate)) / images)
