"""The tables of Lin, Gan & Han 2019 (arXiv 1904.08444): activations on few bits, with and without their regulariser.

    smoke      digits, a small network, 3 epochs on 500 images, eps 25/255 for 8/255
    reduced    CIFAR-10, ResNet20 (with convex sums for DQ), 4 epochs on 10,000 images
    full       CIFAR-10, the paper's Wide ResNet and epochs

"DQ" is the regulariser and the convex sums together. Beside FGSM, which gradients of few bits mislead, stands APGD, and
black-box images come from a network of another kind that is trained apart.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from bitproof.attacks import APGD, FGSM, PGD
from bitproof.conditions import Crafted
from bitproof.data import Data
from bitproof.metrics import ACCURACY, Statistic
from bitproof.metrics.intervals import paired_interval
from bitproof.quant import Scheme
from bitproof.tables.claims import Claim, pairs, pairs_across
from bitproof.tables.making import Making, Trained
from bitproof.tables.readings import Reading, reading
from bitproof.tables.table import CLEAN, Measured, Study, Table
from bitproof.train import Recipe, changed
from bitproof.train.objectives import as_objective
from bitproof.train.papers.lin2019 import activations_quantized, quantized, standard
from bitproof.train.quantization import Quantization

PAPER = "lin2019"
BETAS = {"3e-4": 3e-4, "6e-4": 6e-4, "1e-3": 1e-3}
"""Weights of the regulariser in Table 1."""

SHORT: dict[str, dict[str, Any]] = {
    "smoke": {"epochs": 3, "batch_size": 50, "augmentation": "none", "learning_rate": 0.05},
    "reduced": {"epochs": 4, "batch_size": 64},
    "full": {},
}
NETWORKS = {
    "smoke": ("digits_cnn", "digits_cnn"),
    "reduced": ("resnet20", "resnet20_convex"),
    "full": ("wrn_28_10", "wrn_28_10_convex"),
}
"""Without and with convex sums; the small network has no sums."""

SUBSTITUTE = {"smoke": "digits_cnn_hardtanh", "reduced": "resnet8", "full": "vgg16_bn"}
"""What black-box images are made on."""

EPS = {"smoke": 25 / 255, "reduced": 8 / 255, "full": 8 / 255}
MACS = {"smoke": 820_000, "reduced": 41_000_000, "full": 5_250_000_000}
TRAINED_ON = {"smoke": 500, "reduced": 10_000}


def _recipe(scale: str, scheme: Scheme | None, beta: float, **changes: Any) -> Recipe:
    """Vanilla or DQ, float where there is no scheme."""
    recipe = standard() if scheme is None else replace(quantized(), quantization=Quantization(scheme=scheme))
    changes = {**SHORT[scale], "orthogonality": beta, **changes}
    return changed(recipe, **changes)


def _study(
    scale: str, images: Mapping[str, int], models: Mapping[str, Making], tested: Sequence[str], conditions: Any
) -> Study:
    differs = {"smoke": ("other images", "another network"), "reduced": ("another network",)}
    return Study(
        data="digits" if scale == "smoke" else "cifar10",
        images=images.get(scale),
        training=TRAINED_ON.get(scale),
        network=NETWORKS[scale][0],
        macs=MACS[scale],
        models=models,
        tested=tuple(tested),
        conditions=conditions,
        differs=(*differs[scale], "a short training") if scale in differs else (),
    )


# ---- Table 1 and Figure 5: bits and betas


def _by_beta(scale: str, _: str) -> Study:
    bits = {"smoke": (1, 4), "reduced": (1, 2, 4), "full": (1, 2, 3, 4, 5)}[scale]
    betas = BETAS if scale == "full" else {"1e-3": 1e-3}
    plain, convex = NETWORKS[scale]
    models: dict[str, Making] = {}
    for row, beta in (("vanilla", 0.0), *((f"DQ {name}", beta) for name, beta in betas.items())):
        for b in (32, *bits):
            scheme = None if b == 32 else activations_quantized(b)
            recipe = _recipe(scale, scheme, beta)
            models[f"{row} {b}"] = Trained(recipe=recipe, architecture=convex if beta else plain)

    def conditions(_: Data) -> dict[str, Any]:
        return {"FGSM": FGSM(eps=EPS[scale]), "APGD": APGD(eps=EPS[scale], steps=30)}

    return _study(scale, {"smoke": 60, "reduced": 500}, models, list(models), conditions)


GAIN = Statistic(
    value=lambda means: means[..., 0] - means[..., 1],
    interval=lambda scores, confidence: paired_interval(
        int((scores[0] > scores[1]).sum()), int((scores[1] > scores[0]).sum()), scores.shape[1], confidence
    ),
)
"""The first of two yes-or-no scores less the second."""


def _rows(measured: Measured) -> dict[str, list[str]]:
    """The bits of each row, as text, float first."""
    found: dict[str, list[str]] = {}
    for model in measured.models:
        row, _, bits = model.rpartition(" ")
        found.setdefault(row, []).append(bits)
    return found


def _bits_and_betas(measured: Measured) -> list[Reading]:
    found: list[Reading] = []
    for row, bits in _rows(measured).items():
        for b in bits:
            for column, condition in (("clean", CLEAN), ("FGSM", "FGSM"), ("APGD", "APGD")):
                found.append(reading(row, f"{column} {b} bits", ACCURACY, measured.under(f"{row} {b}", condition)))
        robust = {b: measured.cells[f"{row} {b}", "FGSM"].correct for b in bits}
        best = max((b for b in bits if b != "32"), key=lambda b: float(robust[b].mean()), default=None)
        if best is not None and "32" in robust:
            scores = np.stack([robust[best], robust["32"]])
            found.append(Reading(row=row, column="quantize gain", scores=scores, statistic=GAIN, bounds=(-1.0, 1.0)))
        if best is not None:
            top = max(robust, key=lambda b: float(robust[b].mean()))
            found.append(reading(row, "best", ACCURACY, measured.under(f"{row} {top}", "FGSM")))
    return found


def _bits_and_betas_claims(measured: Measured) -> Iterator[Claim]:
    rows = _rows(measured)
    bits = [b for b in rows.get("vanilla", []) if b != "32"]
    yield Claim(
        text="quantizing activations alone makes a model less robust to FGSM than the float one",
        source="Section 5.1",
        pairs=tuple((("vanilla", "FGSM 32 bits"), ("vanilla", f"FGSM {b} bits")) for b in bits),
    )
    yield Claim(
        text="with the regulariser, quantized models are more robust to FGSM than without",
        source="Section 5.1",
        pairs=pairs([(row, "vanilla") for row in rows if row != "vanilla"], [f"FGSM {b} bits" for b in bits]),
    )
    yield Claim(
        text="the same under the stronger attack (ours)",
        source="Section 5.1",
        pairs=pairs([(row, "vanilla") for row in rows if row != "vanilla"], [f"APGD {b} bits" for b in bits]),
    )


# ---- Table 4: the range of activations

_RANGES = {"ReLU1": "relu1", "ReLU6": "relu6"}


def _ranges(scale: str, _: str) -> Study:
    plain, convex = NETWORKS[scale]
    models = {
        f"{row} {name}": Trained(
            recipe=_recipe(scale, replace(activations_quantized(4), method=method), beta),
            architecture=convex if beta else plain,
        )
        for row, beta in (("vanilla", 0.0), ("DQ", 2e-3))
        for name, method in _RANGES.items()
    }
    return _study(scale, {"smoke": 100, "reduced": 2_000}, models, list(models), lambda _: {})


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
    models["substitute"] = Trained(recipe=_recipe(scale, None, 0.0), architecture=SUBSTITUTE[scale])

    def conditions(_: Data) -> dict[str, Any]:
        black = {
            name.replace(" 8", "") + " black-box" + " 8" * name.endswith(" 8"): Crafted(
                attack=attack, examples="all", source="substitute"
            )
            for name, attack in attacks.items()
        }
        return {**attacks, **black, "APGD": APGD(eps=EPS[scale], steps=30)}

    return _study(scale, images, models, list(models), conditions)


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
    objective = as_objective(f"pgd(eps={eps},steps={3 if scale == 'smoke' else 7})")
    rows = {
        row: _recipe(
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
    names = {_ONE_STEP: "fgsm", _RANDOM_STEP: "r+fgsm"}
    rows = {
        row: _recipe(scale, None, 0.0, objective=as_objective(f"{name}(eps={eps})"), alarm=None)
        for row, name in names.items()
    }
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
_SQUEEZING = "feature squeezing as a defence, of which two rows are made"

TABLES = (
    _table(
        number="table1",
        title="Accuracy and robustness to FGSM, by bits of activations and weight of the regulariser",
        settings=("CIFAR10 WRN-28-10",),
        study={scale: partial(_by_beta, scale) for scale in _SCALES},
        read=_bits_and_betas,
        claims=_bits_and_betas_claims,
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
        title="Accuracy of VGG-16 and a Wide ResNet, clean and under FGSM, by bits",
        needs="a second network beside that of table 1, whose vanilla row it otherwise is",
    ),
    _table(
        number="figure3",
        title="How quantization and depth amplify a perturbation",
        needs="the analysis of distances layer by layer",
    ),
    _table(
        number="figure6",
        title="Robustness by weight of the regulariser",
        needs="a sweep of the regulariser's weight beyond the three of table 1",
    ),
)
