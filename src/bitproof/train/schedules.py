"""Learning rate schedules: the factor on the peak rate, as a function of how far training is.

Functions of (progress, milestones, decay), where progress runs from 0 at the first step to 1 after the last,
milestones are such progresses, and decay is a factor. They hold no state, so a resumed run needs none.
"""

import math
from collections.abc import Callable

Schedule = Callable[[float, tuple[float, ...], float], float]

_WARM_UP, _FIRST, _LAST = 0.3, 1 / 25, 1 / 25e4  # PyTorch's OneCycleLR has the same defaults


def constant(progress: float, milestones: tuple[float, ...], decay: float) -> float:
    """The peak rate throughout."""
    return 1.0


def cosine(progress: float, milestones: tuple[float, ...], decay: float) -> float:
    """Half a cosine, from the peak to zero (Loshchilov & Hutter 2017, arXiv 1608.03983, without restarts)."""
    return (1 + math.cos(math.pi * progress)) / 2


def steps(progress: float, milestones: tuple[float, ...], decay: float) -> float:
    """Multiplied by `decay` at each milestone."""
    return decay ** sum(progress >= milestone for milestone in milestones)


def exponential(progress: float, milestones: tuple[float, ...], decay: float) -> float:
    """Falls exponentially, to `decay` times the peak at the end."""
    return decay**progress


def one_cycle(progress: float, milestones: tuple[float, ...], decay: float) -> float:
    """Up to the peak in the first 30%, then down to almost zero (Smith & Topin 2017, arXiv 1708.07120)."""
    if progress < _WARM_UP:
        return _between(_FIRST, 1.0, progress / _WARM_UP)
    return _between(1.0, _LAST, (progress - _WARM_UP) / (1 - _WARM_UP))


def cyclic(progress: float, milestones: tuple[float, ...], decay: float) -> float:
    """In line from zero to the peak halfway, and back to zero (Smith 2017, arXiv 1506.01186, one cycle)."""
    return 1 - abs(2 * progress - 1)


def _between(start: float, end: float, part: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * part)) / 2


SCHEDULES: dict[str, Schedule] = {
    "constant": constant,
    "cosine": cosine,
    "steps": steps,
    "exponential": exponential,
    "one-cycle": one_cycle,
    "cyclic": cyclic,
}
