"""The tables of RobustMQ (Xiao et al. 2023, arXiv 2308.02350): DoReFa, PACT and LSQ under attacks, corruptions, noises.

    smoke      digits, w2a2 and w8a8, a short fine-tuning of a small network, the large budget
    reduced    CIFAR-10, a trained ResNet20 that is given, an epoch of fine-tuning on 2,000 images
    full       ImageNet, the four networks with given weights; how they are trained is ours, as the paper does not say

Where the paper prints a mean over severities or noises, so do we. FGSM, which is weak, stands beside PGD and, as `AR
strong`, APGD.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from bitproof.attacks import APGD, FGSM, PGD, AutoAttack
from bitproof.conditions.suites import ROBUSTART_STEP, robustmq_attacks
from bitproof.data import Data
from bitproof.metrics import AAI, AR, WCAR
from bitproof.tables.claims import Claim, pairs
from bitproof.tables.making import Given, Making, Trained
from bitproof.tables.readings import Reading, reading
from bitproof.tables.studies import accuracies, at_scales, study_at
from bitproof.tables.table import CLEAN, SCALES, Measured, Study, Table
from bitproof.tables.xiao2023_natural import (
    ACC,
    METHODS,
    corrupted,
    flip_claims,
    flips,
    framed,
    lower_bits,
    natural,
    natural_claims,
    noised,
    systematic,
    systematic_claims,
)
from bitproof.train import standard
from bitproof.train.papers.xiao2023 import BITS, quantized, scheme_of

PAPER = "xiao2023"
NETWORKS = {
    "ResNet18": "torchvision:resnet18",
    "ResNet50": "torchvision:resnet50",
    "RegNetX600M": "timm:regnetx_006",
    "MobileNetV2": "torchvision:mobilenet_v2",
}
"""The paper's four."""

Conditions = Callable[[Data], Mapping[str, Any]]


def _rows(bits: Sequence[int]) -> dict[str, tuple[str, int]]:
    return {f"{name} w{b}a{b}": (method, b) for name, method in METHODS.items() for b in bits}


def _models(start: Making, architecture: str, bits: Sequence[int], **short: Any) -> dict[str, Making]:
    return {
        "float": start,
        **{
            row: Trained(
                recipe=quantized(scheme=scheme_of(method, b), **short), architecture=architecture, start="float"
            )
            for row, (method, b) in _rows(bits).items()
        },
    }


_SHORT: dict[str, tuple[Sequence[int], dict[str, Any]]] = {
    "smoke": ((2, 8), {"epochs": 1, "batch_size": 50, "augmentation": "none", "learning_rate": 0.01}),
    "reduced": (BITS, {"epochs": 1, "batch_size": 64, "learning_rate": 0.005}),
    "full": (BITS, {}),
}


def _study(
    scale: str, conditions: Mapping[str, Conditions] | Conditions, images: tuple[int, int], setting: str
) -> Study:
    """The float model and its quantized ones under conditions, the same at all scales or of each scale."""
    network = {"smoke": "digits_cnn", "reduced": "resnet20"}.get(scale) or NETWORKS[setting]
    first = Trained(recipe=standard(epochs=6, batch_size=50), architecture=network) if scale == "smoke" else None
    bits, short = _SHORT[scale]
    return study_at(
        scale,
        _models(Given(architecture=network, otherwise=first), network, bits, **short),
        conditions[scale] if isinstance(conditions, Mapping) else conditions,
        data="imagenet",
        network=network,
        images={"smoke": images[0], "reduced": images[1]},
        training={"smoke": 500, "reduced": 2_000},
        differs={"smoke": ("other weights",), "reduced": ("a short fine-tuning",)},
        differs_in={"reduced": {"WCAR": "a lighter AutoAttack"}},
        training_size=1_281_167,
        test_size=50_000,
    )


def _against_float(measured: Measured, column: str, *, above: bool) -> tuple[Any, ...]:
    others = [name for name in measured.models if name != "float"]
    return pairs([(name, "float") if above else ("float", name) for name in others], [column])


# ---- accuracy and attacks


def _clean(_: Data) -> dict[str, Any]:
    return {}


def _accuracy_claims(measured: Measured) -> list[Claim]:
    return [
        Claim(
            text="2 bits cost accuracy: with every method, less than 8 bits have",
            source="Section 4.1",
            pairs=lower_bits(measured, ["ACC"], higher=False),
        )
    ]


def _attack(kind: str, eps: float, data: Data) -> dict[str, Any]:
    weak = FGSM(eps=eps) if kind == "fgsm" else PGD(eps=eps, steps=20, rel_step_size=ROBUSTART_STEP)
    return {"attack": weak, "strong": APGD(eps=eps, steps=50)}


def _attacked(measured: Measured) -> list[Reading]:
    found: list[Reading] = []
    for model in measured.models:
        found += [
            reading(model, "AR", AR, measured.under(model, "attack")),
            reading(model, "AAI", AAI, measured.under(model, CLEAN, "attack")),
            reading(model, "AR strong", AR, measured.under(model, "strong")),
        ]
    return found


def _attack_claims(measured: Measured, column: str = "AR", also: str | None = "AR strong") -> list[Claim]:
    claims = [
        Claim(
            text="quantized models are more robust than the float one",
            source="Section 4.2 (1)",
            pairs=_against_float(measured, column, above=True),
        ),
        Claim(
            text="with every method, robustness grows as bits fall: 2 bits above 8",
            source="Section 4.2 (1), Figure 1",
            pairs=lower_bits(measured, [column], higher=True),
        ),
    ]
    if also:
        claims.append(
            Claim(
                text="the same under the stronger attack (ours): 2 bits above 8",
                source="Section 4.2 (1)",
                pairs=lower_bits(measured, [also], higher=True),
            )
        )
    return claims


def _worst(budget: str, data: Data, *, steps: int = 100, queries: int = 5_000) -> dict[str, Any]:
    """RobustMQ's five attacks, the last of them AutoAttack, at small scales with fewer steps and queries."""
    *others, strongest = robustmq_attacks(data, budget)
    lighter = AutoAttack(eps=strongest.eps, steps=steps, queries=queries)
    return {attack.label: attack for attack in (*others, lighter)}


def _worst_case(measured: Measured) -> list[Reading]:
    return [reading(model, "WCAR", WCAR, measured.under(model, *measured.changed)) for model in measured.models]


_ALL = tuple(NETWORKS)
_SMALL, _SMOKE_EPS = 0.5 / 255, 16 / 255
_FGSM, _PGD = (
    {scale: partial(_attack, kind, _SMOKE_EPS if scale == "smoke" else _SMALL) for scale in SCALES}
    for kind in ("fgsm", "pgd")
)
_WORST = {
    "smoke": partial(_worst, "large", steps=5, queries=20),
    "reduced": partial(_worst, "small", steps=20, queries=500),
    "full": partial(_worst, "small"),
}
_CORRUPTED = {
    "smoke": partial(corrupted, (3,)),
    "reduced": partial(corrupted, (1, 2, 3, 4, 5)),
    "full": partial(corrupted, (1, 2, 3, 4, 5)),
}

_table = partial(Table, paper=PAPER)

TABLES = (
    _table(
        number="table1",
        title="Accuracy on clean images, by method and bits",
        settings=_ALL,
        study=at_scales(_study, _clean, (60, 1_000)),
        read=partial(accuracies, columns=ACC),
        claims=_accuracy_claims,
    ),
    _table(
        number="table2",
        title="Worst-case robustness under all five attacks at the small budget",
        settings=_ALL,
        study=at_scales(_study, _WORST, (30, 100)),
        read=_worst_case,
        claims=partial(_attack_claims, column="WCAR", also=None),
    ),
    _table(
        number="table3",
        title="Robustness to FGSM, and what it costs of the accuracy",
        settings=_ALL,
        study=at_scales(_study, _FGSM, (60, 500)),
        read=_attacked,
        claims=_attack_claims,
        figures=("figure1",),
    ),
    _table(
        number="table4",
        title="Robustness to PGD, and what it costs of the accuracy",
        settings=_ALL,
        study=at_scales(_study, _PGD, (60, 500)),
        read=_attacked,
        claims=_attack_claims,
        figures=("figure1",),
    ),
    _table(
        number="table5",
        title="Mean accuracy under fifteen corruptions, and what they cost",
        settings=_ALL,
        study=at_scales(_study, _CORRUPTED, (60, 200)),
        read=partial(natural, False),
        claims=natural_claims,
    ),
    _table(
        number="table6",
        title="Accuracy under each corruption",
        settings=("ResNet18",),
        study=at_scales(_study, _CORRUPTED, (60, 200)),
        read=partial(natural, True),
        claims=natural_claims,
        figures=("figure2", "figure3"),
    ),
    _table(
        number="table7",
        title="Mean share of frames at which a prediction flips",
        settings=_ALL,
        study=at_scales(_study, framed, (20, 100)),
        read=partial(flips, False),
        claims=flip_claims,
        unit="fraction",
    ),
    _table(
        number="table8",
        title="Flips along each of ten sequences",
        settings=("ResNet18",),
        study=at_scales(_study, framed, (20, 100)),
        read=partial(flips, True),
        claims=flip_claims,
        figures=("figure4", "figure5"),
        unit="fraction",
    ),
    _table(
        number="table9",
        title="Mean accuracy over fourteen decoders and resizes, what they cost, and its spread",
        settings=_ALL,
        study=at_scales(_study, noised, (60, 500)),
        read=partial(systematic, False),
        claims=systematic_claims,
    ),
    _table(
        number="table10",
        title="Accuracy under each decoder and resize",
        settings=("ResNet18",),
        study=at_scales(_study, noised, (60, 500)),
        read=partial(systematic, True),
        claims=systematic_claims,
        figures=("figure6", "figure7"),
    ),
)
