"""The tables of Li et al. 2024 (arXiv 2404.05639): starts x ways to quantize x bits, under PGD.

    smoke      digits, 2 and 8 bits, an epoch of N-FGSM in place of PGD training, eps 0.1
    reduced    CIFAR-10, ResNet-4B whose robust weights are given, 2 epochs (6 from random weights) on 5,000 images, eps
               2/255; LSQ in place of PACT, whose weights need the BatchNorm that this network does not have
    full       CIFAR-10, ResNet20, the paper's epochs; eps 8/255

The grid is that of `bitproof.experiment.li2024`, where optimiser and rates, which the paper does not state, are ours.
PGD has 20 steps of 2/255 at eps 8/255; beside it, as `strong`, APGD, or AutoAttack at the full scale.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from bitproof.attacks import APGD, PGD, AutoAttack
from bitproof.data import Data
from bitproof.experiment.li2024 import Grid
from bitproof.metrics import ACCURACY, Statistic, mcnemar
from bitproof.metrics.intervals import Scores
from bitproof.quant import Scheme
from bitproof.tables.claims import Claim, pairs, pairs_across
from bitproof.tables.making import Given, Making, Quantized, Trained
from bitproof.tables.readings import Reading, reading
from bitproof.tables.studies import accuracies, at_scales, study_at
from bitproof.tables.table import CLEAN, Measured, Study, Table
from bitproof.train import NFGSM, Matching, changed, standard
from bitproof.train.papers import li2024

PAPER = "li2024"
STARTS = ("random", "non-robust", "robust")
WEAK = ("non-robust ptq", "random vanilla", "non-robust vanilla")
"""Rows of Table 1 that are about attacks of at most 2/255; the others are about 8/255."""

_EACH = {"vanilla": 2, "adversarial": 16, "matching": 3}
"""Passes that a training image costs: PGD-7 has 8 steps of two, matching asks the teacher too."""


def _cells(ways: Sequence[str], starts: Sequence[str], bits: Sequence[int]) -> Iterator[tuple[str, str, int]]:
    yield from Grid(ways=tuple(ways), starts=tuple(starts), bits=tuple(bits)).cells()


def _models(grid: Grid, given: bool) -> dict[str, Making]:
    """All models of a grid, "robust ptq w4a4" and so on; of weights that are given, they are the robust ones."""
    network = grid.architecture
    teacher = Trained(recipe=grid.teacher, architecture=network, each=16)
    found: dict[str, Making] = {
        "robust": Given(architecture=network) if given else teacher,
        "non-robust": Trained(recipe=grid.plain, architecture=network),
    }
    for start, way, bits in grid.cells():
        name = f"{start} {way} w{bits}a{bits}"
        if way == "ptq":
            schemes = Scheme("pwlq", weight_bits=bits, act_bits=bits) if bits < 32 else None
            found[name] = found[start] if schemes is None else Quantized(of=start, scheme=schemes)
        else:
            found[name] = Trained(
                recipe=grid.recipe(way, start, bits),
                architecture=network,
                start=None if start == "random" else start,
                teacher="robust" if way == "matching" else None,
                each=_EACH[way],
            )
    return found


def _shared(models: dict[str, Making], shares: Sequence[float]) -> dict[str, Making]:
    """Table 3: each model once a share of the training data."""
    found = {name: making for name, making in models.items() if name in ("robust", "non-robust")}
    for name, making in models.items():
        if name not in found and isinstance(making, Trained):
            *start, bits = name.split(" ")
            for share in shares:
                recipe = changed(making.recipe, share=share)
                found[" ".join((*start, f"{100 * share:g}%", bits))] = replace(making, recipe=recipe)
    return found


Conditions = Callable[[Data], Mapping[str, Any]]


def _attacks(eps: float, weak: float, strongest: bool, _: Data) -> dict[str, Any]:
    strong = AutoAttack(eps=eps) if strongest else APGD(eps=eps, steps=30)
    return {"PGD": PGD(eps=eps, steps=20, step_size=eps / 4), "strong": strong, "weak": PGD(eps=weak, steps=20)}


SCALED: dict[str, Conditions] = {
    "smoke": partial(_attacks, 0.1, 0.03, False),
    "reduced": partial(_attacks, 2 / 255, 0.5 / 255, False),
    "full": partial(_attacks, 8 / 255, 1 / 255, True),
}


def _method(scale: str) -> Scheme:
    """PACT as in the paper, or LSQ where the network has no BatchNorm; with 8 bits."""
    return Scheme("lsq" if scale == "reduced" else "pact", weight_bits=8, act_bits=8)


def grid_at(scale: str, ways: Sequence[str], starts: Sequence[str], bits: Sequence[int]) -> Grid:
    """The paper's grid, with shorter trainings at small scales."""
    chosen: dict[str, Any] = {"ways": tuple(ways), "starts": tuple(starts), "bits": tuple(bits)}
    if scale == "full":
        return Grid(**chosen)
    small = scale == "smoke"
    eps = 0.1 if small else 2 / 255
    short: dict[str, Any] = {"epochs": 1 if small else 2, "batch_size": 50, "learning_rate": 0.01}
    short["augmentation"] = "none" if small else "crop-flip"
    if not small:
        short |= {"scheme": _method(scale), "penalty": 0}
    plain = standard(epochs=4 if small else 6, batch_size=50)
    return Grid(
        **chosen,
        architecture="digits_cnn" if small else "resnet4b",
        plain=plain,
        teacher=changed(plain, objective=NFGSM(eps=eps)),
        recipes={
            "vanilla": li2024.fine_tuning(**short),
            "adversarial": li2024.adversarial(**short, objective=NFGSM(eps=eps)),
            "matching": li2024.matching(**short, objective=Matching(labels=0.1)),
        },
        scratch_epochs=3 if small else 6,
    )


def _study(
    scale: str,
    ways: Sequence[str],
    starts: Sequence[str],
    bits: tuple[Sequence[int], Sequence[int]],
    shares: tuple[Sequence[float], Sequence[float]] | None,
    _: str,
) -> Study:
    small = scale == "smoke"
    grid = grid_at(scale, ways, starts, bits[0] if small else bits[1])
    models = _models(grid, given=scale == "reduced")
    if shares is not None:
        models = _shared(models, shares[0] if small else shares[1])
    return study_at(
        scale,
        models,
        SCALED[scale],
        data="cifar10",
        network=grid.architecture,
        images={"smoke": 60, "reduced": 300},
        training={"smoke": 500, "reduced": 5_000},
        differs={
            "smoke": ("a short training",),
            "reduced": ("a smaller budget", "a short training", "LSQ in place of PACT"),
        },
        tested=[name for name in models if name not in ("robust", "non-robust")],
    )


def _alone(scale: str, setting: str) -> Study:
    """Figure 2: trained from random weights, with activations or weights alone on few bits."""
    small = scale == "smoke"
    study = _study(scale, ("vanilla",), ("random",), ((8,), (8,)), None, setting)
    grid = grid_at(scale, ("vanilla",), ("random",), (8,))
    models: dict[str, Making] = {
        "float": Trained(recipe=grid.recipe("vanilla", "random", 32), architecture=grid.architecture)
    }
    eight = grid.recipe("vanilla", "random", 8)
    method = _method(scale)
    for bits in (2, 8) if small else (2, 3, 4, 6, 8):
        for part, on in (("activations", (32, bits)), ("weights", (bits, 32))):
            recipe = changed(eight, scheme=replace(method, weight_bits=on[0], act_bits=on[1]))
            models[f"{part} of {bits} bits"] = Trained(recipe=recipe, architecture=grid.architecture)
    eps = {"smoke": (0.03, 0.1), "reduced": (1 / 255, 8 / 255), "full": (1 / 255, 8 / 255)}[scale]

    def attacks(_: Data) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name, budget in zip(("weak", "normal"), eps, strict=True):
            made[f"PGD {name}"] = PGD(eps=budget, steps=20)
            strong = AutoAttack(eps=budget) if scale == "full" else APGD(eps=budget, steps=30)
            made[f"strong {name}"] = strong
        return made

    return replace(study, models=models, tested=tuple(models), conditions=attacks)


# ---- numbers


def _place(model: str) -> tuple[str, str]:
    """Row and first half of the column: "robust ptq w4a4" stands in the row "robust ptq"."""
    row, _, bits = model.rpartition(" ")
    return row, bits


def _read(columns: Sequence[str], measured: Measured) -> list[Reading]:
    of = {"accuracy": CLEAN, "robustness": "PGD", "strong": "strong"}
    return [
        reading(row, f"{bits} {column}", ACCURACY, measured.under(model, of[column]))
        for model in measured.models
        for row, bits in [_place(model)]
        for column in columns
    ]


def _sign(scores: Scores) -> float:
    """1 where the first is right significantly more often, -1 where the second is, else 0."""
    low, high = scores.astype(bool)
    return 0.0 if mcnemar(low, high) >= 0.05 else float(np.sign(low.mean() - high.mean()))


SIGN = Statistic(
    value=lambda means: np.sign(means[..., 0] - means[..., 1]),
    estimate=_sign,
    interval=lambda scores, _: (_sign(scores), _sign(scores)),
)
"""Which of two is right more often, if a paired test says so."""


def _trends(measured: Measured) -> list[Reading]:
    """Table 1: what fewer bits do to robustness, fewest against most of the quantized ones."""
    rows: dict[str, list[str]] = {}
    for model in measured.models:
        if not model.endswith("w32a32"):
            rows.setdefault(_place(model)[0], []).append(model)
    return [
        Reading(row=row, column="trend", scores=np.stack(robust), statistic=SIGN, bounds=(-1.0, 1.0))
        for row, models in rows.items()
        if len(models) > 1
        for robust in [[measured.cells[m, "weak" if row in WEAK else "PGD"].correct for m in (models[0], models[-1])]]
    ]


# ---- conclusions


def _bits(measured: Measured, row: str) -> list[str]:
    return [_place(model)[1] for model in measured.models if _place(model)[0] == row and "w32" not in model]


def _pipeline_claims(measured: Measured) -> Iterator[Claim]:
    found = _bits(measured, "robust vanilla")
    yield Claim(
        text="fine-tuning on clean images loses the robustness that post-training quantization keeps",
        source="Section 4.3",
        pairs=tuple(pair for b in found for pair in pairs([("robust ptq", "robust vanilla")], [f"{b} robustness"])),
    )
    yield Claim(
        text="adversarial training while quantizing keeps robustness, which clean training does not",
        source="Section 4.3",
        pairs=pairs(
            [("robust adversarial", "robust vanilla")],
            [f"{b} {column}" for b in found for column in ("robustness", "strong")],
        ),
    )
    yield Claim(
        text="post-training quantization to fewer bits costs robust models robustness: most bits above fewest",
        source="Section 4.3",
        pairs=pairs_across(["robust ptq"], f"{found[-1]} robustness", f"{found[0]} robustness") if found else (),
    )


def _accuracy_claims(measured: Measured) -> Iterator[Claim]:
    rows = list(dict.fromkeys(_place(model)[0] for model in measured.models))
    found = _bits(measured, rows[0])
    yield Claim(
        text="fewer bits cost students accuracy: most bits above fewest",
        source="Appendix B",
        pairs=pairs_across(rows, f"{found[-1]} accuracy", f"{found[0]} accuracy") if found else (),
    )


def _matching_claims(measured: Measured) -> Iterator[Claim]:
    found = _bits(measured, "robust matching")
    yield Claim(
        text="students that start from robust parameters are more robust than those from random or non-robust ones",
        source="Appendix B",
        pairs=pairs(
            [("robust matching", f"{start} matching") for start in ("random", "non-robust")],
            [f"{b} {column}" for b in found for column in ("robustness", "strong")],
        ),
    )


def _alone_claims(measured: Measured) -> Iterator[Claim]:
    yield Claim(
        text="activations of 2 bits make a model without defence look more robust than the float one",
        source="Section 4.3, Figure 2",
        pairs=pairs([("activations of 2 bits", "float")], ["PGD weak", "strong weak"]),
    )
    yield Claim(
        text="activations of 2 bits do so more than weights of 2 bits",
        source="Section 4.3, Figure 2",
        pairs=pairs([("activations of 2 bits", "weights of 2 bits")], ["PGD weak", "strong weak"]),
    )


def _share_claims(measured: Measured) -> Iterator[Claim]:
    rows = list(dict.fromkeys(_place(model)[0] for model in measured.models))
    yield Claim(
        text="more training data makes better students: all of it above the smallest share",
        source="Section 4.3, Table 3",
        pairs=pairs([(rows[-1], rows[0])], [f"{b} accuracy" for b in _bits(measured, rows[-1])]),
    )


_table = partial(Table, paper=PAPER, settings=("CIFAR10 ResNet20",))
_QAT = ((2, 8), (2, 4, 6, 8, 32))
_STUDENTS = ((3, 8), (3, 4, 6, 8, 32))

TABLES = (
    _table(
        number="table1",
        title="What fewer bits do to robustness, by start and way to quantize: up, down or neither",
        study=at_scales(_study, ("ptq", "vanilla", "adversarial", "matching"), STARTS, _QAT, None),
        read=_trends,
        unit="sign",
    ),
    _table(
        number="table2",
        title="Accuracy and robustness to PGD, by start, way to quantize and bits",
        study=at_scales(_study, ("ptq", "vanilla", "adversarial"), STARTS, _QAT, None),
        read=partial(_read, ("accuracy", "robustness", "strong")),
        claims=_pipeline_claims,
    ),
    _table(
        number="table3",
        title="Students of a robust teacher, by share of the training data and bits",
        study=at_scales(_study, ("matching",), ("robust",), ((4, 8), (4, 6, 8, 32)), ((0.2, 1.0), (0.01, 0.1, 1.0))),
        read=partial(_read, ("accuracy", "robustness", "strong")),
        claims=_share_claims,
    ),
    _table(
        number="table4",
        title="Accuracy of a robust teacher's students, by start and bits",
        study=at_scales(_study, ("matching",), STARTS, _STUDENTS, None),
        read=partial(_read, ("accuracy",)),
        claims=_accuracy_claims,
    ),
    _table(
        number="table5",
        title="Robustness of a robust teacher's students, by start and bits",
        study=at_scales(_study, ("matching",), STARTS, _STUDENTS, None),
        read=partial(_read, ("robustness", "strong")),
        claims=_matching_claims,
    ),
    _table(
        number="figure2",
        title="Weights or activations alone on few bits, from random weights, under PGD of several budgets",
        study=at_scales(_alone),
        read=accuracies,
        claims=_alone_claims,
    ),
)
