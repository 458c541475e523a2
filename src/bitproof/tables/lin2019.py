"""The tables of Lin, Gan & Han 2019 (arXiv 1904.08444): activations on few bits, with and without their regulariser.

    smoke      digits, a small network, 3 epochs on 500 images, eps 25/255 for 8/255
    reduced    CIFAR-10, Wide ResNet-10-1 (with convex sums for DQ), 6 epochs on 10,000 images, in Table 1 on all
    full       CIFAR-10, the paper's Wide ResNet and epochs

"DQ" is the regulariser and the convex sums together. Beside FGSM, which gradients of few bits mislead, stand stronger
attacks, and black-box images come from a network of another kind that is trained apart. The cost of Table 1 is a bound
for models that AutoAttack breaks nowhere; at reduced scale it took 54 minutes of a core.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from bitproof.metrics import ACCURACY
from bitproof.tables.claims import Claim, pairs, pairs_across
from bitproof.tables.lin2019_bits import (
    GAIN,
    NETWORKS,
    bits_and_betas,
    bits_and_betas_claims,
    by_beta,
    recipe_of,
    study_of,
)
from bitproof.tables.lin2019_defences import (
    defended,
    defended_claims,
    one_step,
    one_step_claims,
    tanh,
    tanh_claims,
    white_and_black,
)
from bitproof.tables.lin2019_figures import (
    along_bits,
    amplified,
    amplified_claims,
    sweep,
    sweep_claims,
    vanilla_claims,
)
from bitproof.tables.making import Trained
from bitproof.tables.readings import Reading, reading
from bitproof.tables.studies import accuracies, at_scales
from bitproof.tables.table import CLEAN, Measured, Study, Table
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
    return study_of(scale, {"smoke": 100, "reduced": 2_000}, models, lambda _: {})


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


_table = partial(Table, paper=PAPER)
TABLES = (
    _table(
        number="table1",
        title="Accuracy and robustness to FGSM, by bits of activations and weight of the regulariser",
        settings=("CIFAR10 WRN-28-10",),
        study=at_scales(by_beta),
        read=bits_and_betas,
        claims=bits_and_betas_claims,
        figures=("figure5",),
    ),
    _table(
        number="table2",
        title="Defences with and without DQ on SVHN, white and black box",
        settings=("SVHN WRN-16-4",),
        study=at_scales(defended, ("r+fgsm",)),
        read=white_and_black,
        claims=defended_claims,
    ),
    _table(
        number="table3",
        title="Defences with and without DQ on CIFAR-10, white and black box",
        settings=("CIFAR10 WRN-28-10",),
        study=at_scales(defended, ("r+fgsm", "pgd")),
        read=white_and_black,
        claims=defended_claims,
    ),
    _table(
        number="table4",
        title="Accuracy with activations of 4 bits on a range of 1 or 6",
        settings=("CIFAR10 ResNet",),
        study=at_scales(_ranges),
        read=_clean_ranges,
        claims=_ranges_claims,
    ),
    _table(
        number="table5",
        title="PGD-trained models with tanh and ReLU6 quantizers, white and black box",
        settings=("CIFAR10 ResNet-18",),
        study=at_scales(tanh),
        read=white_and_black,
        claims=tanh_claims,
    ),
    _table(
        number="table6",
        title="Training on FGSM and on R+FGSM, white and black box",
        settings=("CIFAR10 Wide ResNet",),
        study=at_scales(one_step),
        read=white_and_black,
        claims=one_step_claims,
    ),
    _table(
        number="figure1",
        title="Accuracy without the regulariser, clean and under FGSM, by bits of activations",
        settings=("CIFAR10 VGG-16", "CIFAR10 WRN-28-10"),
        study=at_scales(along_bits, "vanilla "),
        read=bits_and_betas,
        claims=vanilla_claims,
    ),
    _table(
        number="figure3",
        title="How far apart clean and adversarial activations are, layer by layer",
        settings=("CIFAR10 VGG-16",),
        study=at_scales(along_bits, ""),
        read=amplified,
        claims=amplified_claims,
        unit="fraction",
    ),
    _table(
        number="figure6",
        title="Robustness of 4-bit activations by weight of the regulariser",
        settings=("CIFAR10 WRN-28-10",),
        study=at_scales(sweep),
        read=accuracies,
        claims=sweep_claims,
    ),
)
