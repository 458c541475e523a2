"""Suites: named lists of conditions, fitted to the size of the data set's images.

A suite is a function from the data to conditions; add one by adding a function and a line in `SUITES`.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import cast

from bitproof.attacks import FGSM, PGD, Attack, AutoAttack
from bitproof.core.pixels import REFERENCE_DECODER, RESIZES, decode
from bitproof.data import Data
from bitproof.experiment.conditions import Clean, Condition
from bitproof.shifts import IMAGENET_C, IMAGENET_C_BAR, IMAGENET_P, JPEG, Brightness, Contrast, GaussianNoise, Pipeline
from bitproof.shifts.base import Corruption

FEW = (GaussianNoise, Brightness, Contrast, JPEG)
"""A noise, two changes of light and a loss of detail: a first look."""


def profile(data: Data) -> str:
    """The corruption parameters made for images of this size, or scaled to it."""
    return {32: "hendrycks-32", 224: "hendrycks-224"}.get(min(data.shape[1:]), "scaled")


def corruptions(
    data: Data, builds: Iterable[Callable[..., Corruption]], severities: tuple[int, ...] = (1, 2, 3, 4, 5)
) -> tuple[Condition, ...]:
    """The corruptions at the given severities."""
    return tuple(build(severity=s, profile=profile(data)) for build in builds for s in severities)


def resizes(data: Data) -> tuple[Condition, ...]:
    """The eleven resize modes of Pillow and OpenCV; files that need no resize are enlarged twice before it."""
    native = decode(data.encoded(0), REFERENCE_DECODER, channels=data.shape[0]).shape[:2]
    untouched = data.framing.shorter is None and native == data.shape[1:]
    return tuple(Pipeline(resize=mode, enlarge=2 if untouched else 1) for mode in RESIZES)


def clean(data: Data) -> tuple[Condition, ...]:
    """The images as they are, nothing else."""
    return (Clean(),)


def quick(data: Data) -> tuple[Condition, ...]:
    """A first look: FGSM and PGD-20 (linf, 2/255), four corruptions at severity 3, the eleven resize modes."""
    attacks = (FGSM(eps=2 / 255), PGD(eps=2 / 255))
    return (Clean(), *attacks, *corruptions(data, FEW, severities=(3,)), *resizes(data))


def shifts(data: Data) -> tuple[Condition, ...]:
    """A first look without attacks: four corruptions at severity 3, the eleven resize modes."""
    return (Clean(), *corruptions(data, FEW, severities=(3,)), *resizes(data))


def demo(data: Data) -> tuple[Condition, ...]:
    """What `bitproof demo` runs: attacks at budgets that fit bold black-and-white digits, all severities."""
    attacks = tuple(build(eps=eps / 255) for eps in (8, 16, 32) for build in (FGSM, PGD))
    return (Clean(), *cast("tuple[Attack, ...]", attacks), *corruptions(data, FEW), *resizes(data))


def robustmq_small(data: Data) -> tuple[Condition, ...]:
    """The grid of RobustMQ (Xiao et al. 2023) at its small budget, as far as bitproof has its conditions.

    Attacks: FGSM-linf, PGD-20 under linf, l2 and l1, and AutoAttack-linf. The paper prints eps = 0.5/255 for
    linf only; l2 0.5 and l1 100 at 224x224 are inferred from RobustART, by the same group, and scaled to other
    sizes by the square root of the pixel ratio and by the pixel ratio. Corruptions: all 15, at five severities.
    Systematic: 11 of 14 (no decoders).
    """
    ratio = data.shape[1] * data.shape[2] / 224**2
    budgets = {"linf": 0.5 / 255, "l2": 0.5 * ratio**0.5, "l1": 100 * ratio}
    pgd = PGD(steps=20)
    followed = (replace(pgd, norm=norm, eps=eps) for norm, eps in budgets.items())
    attacks = (FGSM(eps=0.5 / 255), *followed, AutoAttack(eps=0.5 / 255))
    return (Clean(), *attacks, *corruptions(data, IMAGENET_C.values()), *resizes(data))


def imagenet_c(data: Data) -> tuple[Condition, ...]:
    """The fifteen corruptions of ImageNet-C (of CIFAR-10-C at 32x32) at five severities, in memory."""
    return (Clean(), *corruptions(data, IMAGENET_C.values()))


def imagenet_c_bar(data: Data) -> tuple[Condition, ...]:
    """The ten corruptions of ImageNet-C-bar at five severities, in memory: held out, unlike those of ImageNet-C."""
    return (Clean(), *corruptions(data, IMAGENET_C_BAR.values()))


def imagenet_p(data: Data) -> tuple[Condition, ...]:
    """The ten sequences of ImageNet-P (of CIFAR-10-P at 32x32) at difficulty 1, in memory."""
    return (Clean(), *(build(profile=profile(data)) for build in IMAGENET_P.values()))


SUITES: dict[str, Callable[[Data], tuple[Condition, ...]]] = {
    "clean": clean,
    "quick": quick,
    "shifts": shifts,
    "demo": demo,
    "robustmq-small": robustmq_small,
    "imagenet-c": imagenet_c,
    "imagenet-c-bar": imagenet_c_bar,
    "imagenet-p": imagenet_p,
}
