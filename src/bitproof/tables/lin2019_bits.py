"""What all experiments of lin2019 share, and its Table 1: bits of activations, and weights of the regulariser."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from bitproof.attacks import FGSM, PGD, AutoAttack
from bitproof.data import Data
from bitproof.metrics import ACCURACY, Statistic
from bitproof.metrics.intervals import paired_interval
from bitproof.quant import Scheme
from bitproof.tables.claims import Claim, pairs
from bitproof.tables.making import Making, Trained
from bitproof.tables.readings import Reading, reading
from bitproof.tables.studies import study_at
from bitproof.tables.table import CLEAN, Measured, Study
from bitproof.train import Recipe, changed
from bitproof.train.papers.lin2019 import activations_quantized, quantized, standard
from bitproof.train.quantization import Quantization

BETAS = {"3e-4": 3e-4, "6e-4": 6e-4, "1e-3": 1e-3}
"""Weights of the regulariser in Table 1."""

SHORT: dict[str, dict[str, Any]] = {
    "smoke": {"epochs": 3, "batch_size": 50, "augmentation": "none", "learning_rate": 0.05},
    "reduced": {"epochs": 6, "batch_size": 64},
    "full": {},
}
NETWORKS = {
    "smoke": ("digits_cnn", "digits_cnn"),
    "reduced": ("wrn_10_1", "wrn_10_1_convex"),
    "full": ("wrn_28_10", "wrn_28_10_convex"),
}
"""Without and with convex sums; the small network has no sums."""

SUBSTITUTE = {"smoke": "digits_cnn_hardtanh", "reduced": "resnet8", "full": "vgg16_bn"}
"""What black-box images are made on."""

EPS = {"smoke": 25 / 255, "reduced": 8 / 255, "full": 8 / 255}
TRAINED_ON = {"smoke": 500, "reduced": 10_000}
UNDER = ("FGSM", "PGD-50", "AutoAttack")
"""The paper has the first."""


def recipe_of(scale: str, scheme: Scheme | None, beta: float, **changes: Any) -> Recipe:
    """Vanilla or DQ, float where there is no scheme."""
    recipe = standard() if scheme is None else replace(quantized(), quantization=Quantization(scheme=scheme))
    changes = {**SHORT[scale], "orthogonality": beta, **changes}
    return changed(recipe, **changes)


def study_of(
    scale: str,
    images: Mapping[str, int],
    models: Mapping[str, Making],
    conditions: Any,
    *,
    training: Mapping[str, int] = TRAINED_ON,
    data: str = "cifar10",
    network: str | None = None,
    **full: Any,
) -> Study:
    """A study at a scale, on the paper's data and network where both can be had; the rest as in `study_at`."""
    short = ("a short training",)
    return study_at(
        scale,
        models,
        conditions,
        data=data,
        network=network or NETWORKS[scale][0],
        images=images,
        training=training,
        differs={"smoke": short, "reduced": short},
        **full,
    )


def by_beta(scale: str, _: str) -> Study:
    """Table 1: vanilla and DQ at every number of bits, and float; on all training images at the reduced scale, too."""
    bits = (1, 4) if scale == "smoke" else (1, 2, 3, 4, 5)
    betas = BETAS if scale == "full" else {"1e-3": 1e-3}
    plain, convex = NETWORKS[scale]
    models: dict[str, Making] = {}
    for row, beta in (("vanilla", 0.0), *((f"DQ {name}", beta) for name, beta in betas.items())):
        for b in (32, *bits):
            scheme = None if b == 32 else activations_quantized(b)
            recipe = recipe_of(scale, scheme, beta)
            models[f"{row} {b}"] = Trained(recipe=recipe, architecture=convex if beta else plain)

    lighter: dict[str, Any] = {"steps": 20, "queries": 100} if scale == "smoke" else {}

    def conditions(_: Data) -> dict[str, Any]:
        eps = EPS[scale]
        return dict(zip(UNDER, (FGSM(eps=eps), PGD(eps=eps, steps=50), AutoAttack(eps=eps, **lighter)), strict=True))

    training = {"smoke": TRAINED_ON["smoke"]}
    return study_of(scale, {"smoke": 60, "reduced": 500}, models, conditions, training=training)


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


def bits_and_betas(measured: Measured) -> list[Reading]:
    """The numbers of Table 1; `best` is that of the best bits, as printed."""
    found: list[Reading] = []
    for row, bits in _rows(measured).items():
        for b in bits:
            for column, condition in (("clean", CLEAN), *((name, name) for name in UNDER)):
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


def bits_and_betas_claims(measured: Measured) -> Iterator[Claim]:
    """What Section 5.1 says."""
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
        text="the same under AutoAttack (ours)",
        source="Section 5.1",
        pairs=pairs([(row, "vanilla") for row in rows if row != "vanilla"], [f"AutoAttack {b} bits" for b in bits]),
    )
