"""Suites: named lists of conditions, fitted to the size of the data set's images.

A suite is a function from the data to conditions; add one by adding a function and a line in `SUITES`.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import cast

from bitproof.attacks import BIM, CW, FGSM, PGD, SPSA, ZOO, Attack, AutoAttack
from bitproof.conditions.base import Condition, as_condition
from bitproof.conditions.clean import Clean
from bitproof.conditions.crafted import Crafted
from bitproof.data import Data
from bitproof.errors import InputError, lookup
from bitproof.pictures.pixels import DECODERS, REFERENCE_DECODER, RESIZES, decode
from bitproof.settings import call
from bitproof.shifts import (
    IMAGENET_C,
    IMAGENET_C_BAR,
    IMAGENET_P,
    JPEG,
    Brightness,
    Contrast,
    GaussianNoise,
    Pipeline,
)
from bitproof.shifts.base import Corruption
from bitproof.shifts.released import found

Given = Condition | Attack
"""An attack stands for itself made on each model."""

FEW = (GaussianNoise, Brightness, Contrast, JPEG)
"""A noise, two changes of light and a loss of detail: a first look."""


BUDGETS = {"small": 1, "middle": 4, "large": 16}
"""RobustMQ's budgets as multiples of the small one."""

ROBUSTART_STEP = 3 / 40
"""Of RobustART's PGD, in eps."""


def profile(data: Data) -> str:
    """The corruption parameters made for images of this size, or scaled to it."""
    return {32: "hendrycks-32", 224: "hendrycks-224"}.get(min(data.shape[1:]), "scaled")


def corruptions(
    data: Data, builds: Iterable[Callable[..., Corruption]], severities: tuple[int, ...] = (1, 2, 3, 4, 5)
) -> tuple[Given, ...]:
    """The corruptions at the given severities."""
    return tuple(build(severity=s, profile=profile(data)) for build in builds for s in severities)


DEFAULTS = ("pillow", "opencv", "ffmpeg")
"""The decoders of ImageNet-S: three libraries, each as it comes."""


def enlargement(data: Data) -> int:
    """How many times pictures are enlarged before a resize: twice where they have the model's size already."""
    if data.framing.shorter is not None:
        return 1
    native = decode(data.encoded(0), REFERENCE_DECODER, channels=data.shape[0]).shape[:2]
    return 2 if native == data.shape[1:] else 1


def resizes(data: Data) -> tuple[Given, ...]:
    """The eleven resize modes of Pillow and OpenCV."""
    modes, enlarge = (mode for mode in RESIZES if mode.startswith(("pillow", "opencv"))), enlargement(data)
    return tuple(Pipeline(resize=mode, enlarge=enlarge) for mode in modes)


def noises(data: Data) -> tuple[Given, ...]:
    """The fourteen systematic noises of Xiao et al. 2023: `resizes`, and the three decoders at the reference resize.

    Pictures that are cropped are squashed first, as in the public ImageNet-S code; the clean images are not. So even
    the training's own decoder and resize are noise: Table 10 prints 70.21 for them, and 71.06 for the clean accuracy.
    Their Pillow decoder is their Pillow bilinear resize once more (equal numbers), and counts twice in SNI and SR.
    """
    cropped = data.framing.shorter is not None
    base = Pipeline(enlarge=enlargement(data), protocol="squash" if cropped else "shorter-side")
    modes = (replace(cast("Pipeline", mode), protocol=base.protocol, axis="resize") for mode in resizes(data))
    return (*modes, *(replace(base, decoder=name, axis="decoder") for name in DEFAULTS))


def clean(data: Data) -> tuple[Given, ...]:
    """The images as they are, nothing else."""
    return (Clean(),)


def quick(data: Data) -> tuple[Given, ...]:
    """A first look: FGSM and PGD-20 (linf, 2/255), four corruptions at severity 3, the eleven resize modes."""
    attacks = (FGSM(eps=2 / 255), PGD(eps=2 / 255))
    return (Clean(), *attacks, *corruptions(data, FEW, severities=(3,)), *resizes(data))


def shifts(data: Data) -> tuple[Given, ...]:
    """A first look without attacks: four corruptions at severity 3, the eleven resize modes."""
    return (Clean(), *corruptions(data, FEW, severities=(3,)), *resizes(data))


def demo(data: Data) -> tuple[Given, ...]:
    """What `bitproof demo` runs: attacks at budgets that fit bold black-and-white digits, all severities."""
    attacks = tuple(build(eps=eps / 255) for eps in (8, 16, 32) for build in (FGSM, PGD))
    return (Clean(), *cast("tuple[Attack, ...]", attacks), *corruptions(data, FEW), *resizes(data))


def robustmq_small(data: Data) -> tuple[Given, ...]:
    """The grid of RobustMQ (Xiao et al. 2023) at its small budget (extra: video).

    Its five attacks, all 15 corruptions at five severities, the ten sequences, and the 14 systematic noises.
    """
    attacks = robustmq_attacks(data, "small")
    natural = (*corruptions(data, IMAGENET_C.values()), *sequences(data))
    return (Clean(), *attacks, *natural, *noises(data))


def robustmq_systematic(data: Data) -> tuple[Given, ...]:
    """The 14 systematic noises of RobustMQ (Xiao et al. 2023): 6 + 5 resize modes, 3 decoders (extra: video)."""
    return (Clean(), *noises(data))


def systematic(data: Data) -> tuple[Given, ...]:
    """Every axis of systematic noise, one step off the reference at a time (extra: video)."""
    enlarge = enlargement(data)
    decoders = (Pipeline(decoder=name, enlarge=enlarge) for name in DECODERS if name != REFERENCE_DECODER)
    modes = (Pipeline(resize=mode, enlarge=enlarge) for mode in RESIZES)
    others = (
        Pipeline(protocol="squash", enlarge=enlarge),
        *(Pipeline(colour=c, enlarge=enlarge) for c in ("bgr", "nv12")),
    )
    return (Clean(), *decoders, *modes, *others)


def robustmq_attacks(data: Data, budget: str) -> tuple[Attack, ...]:
    """RobustMQ's attacks at one of its budgets: FGSM and PGD-20 under linf, PGD-20 under l2 and l1, AutoAttack-linf.

    The paper prints the small linf budget only, 0.5/255. The others, and PGD's step of 3/40 eps, are RobustART's, by
    the same group (its arrays for small, mid and large): 2/255 and 8/255; at 224x224 l2 0.5, 2, 8 and l1 100, 400,
    1600, scaled to other sizes by the square root of the pixel ratio and by the pixel ratio.

    Two things differ from its code, and make the attacks stronger. An image that breaks the model on the way counts,
    where there the last one does; and under l1 a step moves the steepest 1% of the values, where there it moves all in
    proportion to the gradient.
    """
    times = lookup(BUDGETS, budget, "budget of RobustMQ")
    ratio = data.shape[1] * data.shape[2] / 224**2
    eps = {"linf": times * 0.5 / 255, "l2": times * 0.5 * ratio**0.5, "l1": times * 100 * ratio}
    followed = (PGD(norm=norm, eps=radius, steps=20, rel_step_size=ROBUSTART_STEP) for norm, radius in eps.items())
    return (FGSM(eps=eps["linf"]), *followed, AutoAttack(eps=eps["linf"]))


def robustmq_grid(data: Data) -> tuple[Given, ...]:
    """RobustMQ's five attacks at its small, middle and large budget, in increasing order."""
    return (Clean(), *(attack for budget in BUDGETS for attack in robustmq_attacks(data, budget)))


def bernhard2019(data: Data) -> tuple[Given, ...]:
    """The direct attacks of Bernhard et al. 2019 (Tables 3, 4), to their ends on all images: FGSM, BIM, CW, SPSA, ZOO.

    They took 1,000 random test images for all but FGSM. SPSA asks 12,900 queries an image, ZOO up to 257,000. The same
    attacks, given to other models, are their Tables 17 to 34: `--transfer 'crafted:attack=bim(),examples=all'`.
    """
    cw = CW(steps=100, search_steps=10, learning_rate=0.1, initial_constant=0.9)
    attacks = (FGSM(eps=0.03), BIM(), cw, SPSA(), ZOO())
    return (Clean(), *(Crafted(attack=attack.to_the_end(), examples="all") for attack in attacks))


def imagenet_c(data: Data) -> tuple[Given, ...]:
    """The fifteen corruptions of ImageNet-C (of CIFAR-10-C at 32x32) at five severities, in memory."""
    return (Clean(), *corruptions(data, IMAGENET_C.values()))


def imagenet_c_bar(data: Data) -> tuple[Given, ...]:
    """The ten corruptions of ImageNet-C-bar at five severities, in memory: held out, unlike those of ImageNet-C."""
    return (Clean(), *corruptions(data, IMAGENET_C_BAR.values()))


def imagenet_p(data: Data) -> tuple[Given, ...]:
    """The ten sequences of ImageNet-P (of CIFAR-10-P at 32x32) at difficulty 1, in memory."""
    return (Clean(), *sequences(data))


def sequences(data: Data) -> tuple[Given, ...]:
    """The ten sequences of ImageNet-P, or at 32x32 of CIFAR-10-P."""
    return tuple(build(profile=profile(data)) for build in IMAGENET_P.values())


def released(root: str) -> tuple[Given, ...]:
    """All corruptions or sequences whose released files lie in `root`."""
    return (Clean(), *found(root))


SUITES: dict[str, Callable[[Data], tuple[Given, ...]]] = {
    "clean": clean,
    "quick": quick,
    "shifts": shifts,
    "demo": demo,
    "robustmq-small": robustmq_small,
    "robustmq-attacks": robustmq_grid,
    "robustmq-systematic": robustmq_systematic,
    "bernhard2019": bernhard2019,
    "systematic": systematic,
    "imagenet-c": imagenet_c,
    "imagenet-c-bar": imagenet_c_bar,
    "imagenet-p": imagenet_p,
}


def conditions_of(suite: str, data: Data) -> tuple[Condition, ...]:
    """The conditions of a suite by its name in SUITES, or of `released:ROOT`, the files in a folder.

    Raises:
        InputError: an unknown suite, or a folder without released files.
    """
    parts = call(suite)
    if parts.name == "released" and (parts.fields or not parts.head):
        raise InputError(repr(suite), rule="released files lie in a folder", remedy="Write released:ROOT")
    given = released(parts.head) if parts.name == "released" else lookup(SUITES, suite, "suite")(data)
    return tuple(map(as_condition, given))
