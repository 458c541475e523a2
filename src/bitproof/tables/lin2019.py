"""The tables of Lin, Gan & Han 2019 (arXiv 1904.08444): activations on few bits, with and without their regulariser.

    smoke      digits, a small network, 3 epochs on 500 images, eps 25/255 for 8/255
    reduced    CIFAR-10, ResNet20 (with convex sums for DQ), 4 epochs on 10,000 images
    full       CIFAR-10, the paper's Wide ResNet and epochs

"DQ" is the regulariser and the convex sums together. Beside FGSM, which gradients of few bits mislead, stands APGD, and
black-box images come from a network of another kind that is trained apart.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from bitproof.attacks import APGD, FGSM, PGD
from bitproof.conditions import Crafted
from bitproof.data import Data
from bitproof.metrics import ACCURACY
from bitproof.tables.claims import Claim, pairs, pairs_across
from bitproof.tables.lin2019_bits import (
    EPS,
    GAIN,
    NETWORKS,
    SUBSTITUTE,
    bits_and_betas,
    bits_and_betas_claims,
    by_beta,
    recipe_of,
    study_of,
)
from bitproof.tables.lin2019_figures import (
    amplified,
    amplified_claims,
    sweep,
    sweep_claims,
    swept,
    vanilla,
    vanilla_claims,
)
from bitproof.tables.making import Making, Trained
from bitproof.tables.readings import Reading, reading
from bitproof.tables.table import CLEAN, Measured, Study, Table
from bitproof.train import Recipe
from bitproof.train.objectives.adversarial import fgsm, pgd, r_fgsm
from bitproof.train.papers.lin2019 import activations_quantized

PAPER = "lin2019"
# ---- Table 4: the range of activations

_RANGES = {"ReLU1": "relu1", "ReLU6": "relu6"}


def _ranges(scale: str, _: str) -> Study:
    plain, convex = NETWORKS[scale]
    models = {
        f"{row} {name}": Trained(
            recipe=recipe_of(scale, replace(activations_quantized(4), method=method), beta),
            architecture=convex if beta else plain,
        )
        for row, beta in (("vanilla", 0.0), ("DQ", 2e-3))
        for name, method in _RANGES.items()
    }
    return study_of(scale, {"smoke": 100, "reduced": 2_000}, models, list(models), lambda _: {})


def _clean_ranges(measured: Measured) -> list[Reading]:
    found: list[Reading] = []
    for row in ("vanilla", "DQ"):
        cells = {name: measured.cells.get((f"{row} {name}", CLEAN)) for name in _RANGES}
        found += [reading(row, f"{name} clean", ACCURACY, [cell]) for name, cell in cells.items() if cell is not None]
        one, six = cells.values()
        if one is not None and six is not None:
            scores = np.stack([one.correct, six.correct])
            column = "ReLU1 less ReLU6"
            found.append(Reading(row=row, column=column, scores=scores, statistic=GAIN, bounds=(-1.0, 1.0)))
    return found


def _ranges_claims(_: Measured) -> Iterator[Claim]:
    yield Claim(
        text="without the regulariser, a range of 6 serves better than a range of 1",
        source="Section 5.3",
        pairs=pairs_across(["vanilla"], "ReLU6 clean", "ReLU1 clean"),
    )
    yield Claim(
        text="the regulariser makes up for a range of 1",
        source="Section 5.3",
        pairs=pairs([("DQ", "vanilla")], ["ReLU1 clean"]),
    )


# ---- Tables 5 and 6: masked gradients after adversarial training


def _with_substitute(
    scale: str, images: Mapping[str, int], rows: Mapping[str, Recipe], attacks: Mapping[str, Any], each: int
) -> Study:
    """Adversarially trained models, and a substitute on which black-box images are made."""
    models: dict[str, Making] = {
        row: Trained(recipe=recipe, architecture=NETWORKS[scale][0], each=each) for row, recipe in rows.items()
    }
    models["substitute"] = Trained(recipe=recipe_of(scale, None, 0.0), architecture=SUBSTITUTE[scale])

    def conditions(_: Data) -> dict[str, Any]:
        black = {
            name.replace(" 8", "") + " black-box" + " 8" * name.endswith(" 8"): Crafted(
                attack=attack, examples="all", source="substitute"
            )
            for name, attack in attacks.items()
        }
        return {**attacks, **black, "APGD": APGD(eps=EPS[scale], steps=30)}

    return study_of(scale, images, models, list(models), conditions)


def _white_and_black(measured: Measured) -> list[Reading]:
    return [
        reading(model, name, ACCURACY, measured.under(model, name))
        for model in measured.models
        if model != "substitute"
        for name in measured.named("")
    ]


_TRAINED = {
    "PGD adversarial training, Full-Precision": None,
    "PGD adversarial training, Tanh Quantized": "tanh",
    "PGD adversarial training, ReLU6 Quantized": "relu6",
}
_FLOAT, _TANH, _ = _TRAINED


def _tanh(scale: str, _: str) -> Study:
    eps = EPS[scale]
    objective = pgd(eps=eps, steps=3 if scale == "smoke" else 7)
    rows = {
        row: recipe_of(
            scale,
            None if method is None else replace(activations_quantized(2), method=method),
            0.0,
            objective=objective,
        )
        for row, method in _TRAINED.items()
    }
    return _with_substitute(scale, {"smoke": 60, "reduced": 500}, rows, {"PGD": PGD(eps=eps, steps=20)}, 16)


def _tanh_claims(_: Measured) -> Iterator[Claim]:
    yield Claim(
        text="tanh quantizers raise robustness to white-box PGD above the float model's",
        source="Appendix A.1",
        pairs=pairs([(_TANH, _FLOAT)], ["PGD"]),
    )
    yield Claim(
        text="but that is masking: black-box images break the tanh model more often than the float one",
        source="Appendix A.1",
        pairs=pairs([(_FLOAT, _TANH)], ["PGD black-box"]),
    )


_ONE_STEP, _RANDOM_STEP = "Adversarial FGSM training", "Adversarial R+FGSM training"


def _one_step(scale: str, _: str) -> Study:
    eps = EPS[scale]
    objectives = {_ONE_STEP: fgsm(eps=eps), _RANDOM_STEP: r_fgsm(eps=eps)}
    rows = {row: recipe_of(scale, None, 0.0, objective=how, alarm=None) for row, how in objectives.items()}
    return _with_substitute(scale, {"smoke": 60, "reduced": 500}, rows, {"FGSM 8": FGSM(eps=eps)}, 4)


def _one_step_claims(_: Measured) -> Iterator[Claim]:
    yield Claim(
        text="training on plain FGSM masks gradients: white-box FGSM seems weaker than black-box FGSM",
        source="Appendix A.2",
        pairs=pairs_across([_ONE_STEP], "FGSM 8", "FGSM black-box 8"),
    )
    yield Claim(
        text="against black-box images, training on R+FGSM serves better than on FGSM",
        source="Appendix A.2",
        pairs=pairs([(_RANDOM_STEP, _ONE_STEP)], ["FGSM black-box 8"]),
    )


_table = partial(Table, paper=PAPER)
_SCALES = ("smoke", "reduced", "full")
_SQUEEZING = "an experiment with feature squeezing (the defence is there) and a second network for black-box images"

TABLES = (
    _table(
        number="table1",
        title="Accuracy and robustness to FGSM, by bits of activations and weight of the regulariser",
        settings=("CIFAR10 WRN-28-10",),
        study={scale: partial(by_beta, scale) for scale in _SCALES},
        read=bits_and_betas,
        claims=bits_and_betas_claims,
        figures=("figure5",),
    ),
    _table(
        number="table2",
        title="Defences with and without DQ on SVHN, white and black box",
        settings=("SVHN WRN-16-4",),
        needs=_SQUEEZING,
    ),
    _table(
        number="table3",
        title="Defences with and without DQ on CIFAR-10, white and black box",
        settings=("CIFAR10 WRN-28-10",),
        needs=_SQUEEZING,
    ),
    _table(
        number="table4",
        title="Accuracy with activations of 4 bits on a range of 1 or 6",
        settings=("CIFAR10 ResNet",),
        study={scale: partial(_ranges, scale) for scale in _SCALES},
        read=_clean_ranges,
        claims=_ranges_claims,
    ),
    _table(
        number="table5",
        title="PGD-trained models with tanh and ReLU6 quantizers, white and black box",
        settings=("CIFAR10 ResNet-18",),
        study={scale: partial(_tanh, scale) for scale in _SCALES},
        read=_white_and_black,
        claims=_tanh_claims,
    ),
    _table(
        number="table6",
        title="Training on FGSM and on R+FGSM, white and black box",
        settings=("CIFAR10 Wide ResNet",),
        study={scale: partial(_one_step, scale) for scale in _SCALES},
        read=_white_and_black,
        claims=_one_step_claims,
    ),
    _table(
        number="figure1",
        title="Accuracy without the regulariser, clean and under FGSM, by bits of activations",
        settings=("CIFAR10 VGG-16", "CIFAR10 WRN-28-10"),
        study={scale: partial(vanilla, scale) for scale in _SCALES},
        read=bits_and_betas,
        claims=vanilla_claims,
    ),
    _table(
        number="figure3",
        title="How far apart clean and adversarial activations are, layer by layer",
        settings=("CIFAR10 VGG-16",),
        study={scale: partial(vanilla, scale) for scale in _SCALES},
        read=amplified,
        claims=amplified_claims,
        unit="fraction",
    ),
    _table(
        number="figure6",
        title="Robustness of 4-bit activations by weight of the regulariser",
        settings=("CIFAR10 WRN-28-10",),
        study={scale: partial(sweep, scale) for scale in _SCALES},
        read=swept,
        claims=sweep_claims,
    ),
)
