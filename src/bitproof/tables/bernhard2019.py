"""The tables of Bernhard, Moellic & Dutertre 2019 (arXiv 1909.12741): nine models, five attacks, an ensemble.

    smoke      digits, a small network trained for a few epochs, eps 0.1, attacks of few steps
    reduced    CIFAR-10, the paper's CNN a quarter as wide, 6 epochs on 10,000 images, slow attacks cut short
    full       CIFAR-10 or SVHN, the paper's CNN; rate and epochs are ours, as the paper states none

FGSM and BIM, which gradients may mislead, stand beside CW, SPSA, ZOO, and APGD, which is ours. Attacks go to their ends
on all images, right or wrong, as in the paper.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import torch

from bitproof.analysis.alignment import cosines, gradients
from bitproof.attacks import APGD, BIM, CW, FGSM, SPSA, ZOO, Attack
from bitproof.conditions import Crafted
from bitproof.data import Data
from bitproof.metrics import ACCURACY, SHARE, Metric, Selection, Statistic
from bitproof.metrics.intervals import Scores
from bitproof.metrics.statistic import UNBOUNDED
from bitproof.quant import freeze
from bitproof.records import Cell
from bitproof.tables.bernhard2019_rounding import GIVEN, undone, undone_claims, with_rounded
from bitproof.tables.claims import Claim, pairs, pairs_across
from bitproof.tables.ensemble import agreements, answered, defended
from bitproof.tables.making import Making, Trained
from bitproof.tables.readings import Reading, reading
from bitproof.tables.studies import accuracies, at_scales, study_at
from bitproof.tables.table import CLEAN, Measured, Study, Table
from bitproof.train.papers.bernhard2019 import full as float_recipe
from bitproof.train.papers.bernhard2019 import fully_quantized, quantized, weights_quantized

PAPER = "bernhard2019"
FULL = ("full", "w1a1", "w2a2", "w3a3", "w4a4")
WEIGHTS = ("full", "w1a32", "w2a32", "w3a32", "w4a32")
ALL = tuple(dict.fromkeys((*FULL, *WEIGHTS)))
SETTINGS = ("CIFAR10", "SVHN")
_CNNS = {"CIFAR10": "bernhard2019_cnn", "SVHN": "bernhard2019_svhn_cnn"}
AGREE = {"CIFAR10": 4, "SVHN": 5}
"""How many of the five members have to agree (Section 6.1)."""
ATTACKS = ("FGSM", "BIM", "CWl2", "SPSA", "ZOO")
STRONG = "APGD"
_ENSEMBLE = ATTACKS[:4]
_BATCH = 128
"""Images at once, for gradients."""

Conditions = Callable[..., Mapping[str, Any]]

# ---- models


def _models(network: str, names: Sequence[str], **short: Any) -> dict[str, Making]:
    found: dict[str, Making] = {}
    for name in names:
        bits = 32 if name == "full" else int(name[1])
        if name == "full":
            recipe = float_recipe(**short)
        else:
            scheme = fully_quantized(bits) if name.endswith(f"a{bits}") else weights_quantized(bits)
            recipe = quantized(scheme=scheme, **short)
        found[name] = Trained(recipe=recipe, architecture=network + "_hardtanh" * (name == "w1a1"))
    return found


_SHORT: dict[str, dict[str, Any]] = {
    "smoke": {"epochs": 4, "batch_size": 50, "learning_rate": 3e-3},
    "reduced": {"epochs": 6, "batch_size": 64, "augmentation": "crop-flip"},
    "full": {},
}


def _study(scale: str, conditions: Conditions, names: Sequence[str], images: tuple[int, int], *given: Any) -> Study:
    """These models under the conditions of the scale.

    Args:
        scale: a name in `SCALES`.
        conditions: `_direct` or `_from`.
        names: of the models.
        images: at the smoke and at the reduced scale.
        given: what the conditions take, and at last the setting.
    """
    *chosen, setting = given
    network = {"smoke": "digits_cnn", "reduced": "bernhard2019_cnn_quarter"}.get(scale) or _CNNS[setting]
    return study_at(
        scale,
        _models(network, names, **_SHORT[scale]),
        partial(conditions, scale, *chosen),
        data=setting.lower(),
        network=network,
        images={"smoke": images[0], "reduced": images[1], "full": 1_000},
        training={"smoke": 500, "reduced": 10_000},
        differs={"smoke": ("attacks of other strength",), "reduced": ("a short training",)},
        differs_in={
            "reduced": dict.fromkeys(("CWl2", "SPSA", "ZOO"), "fewer steps"),
            "full": {"CWl2": "CW's search is not CleverHans'"},
        },
        printed_images=1_000,
    )


def _attacks(scale: str) -> dict[str, Attack]:
    if scale == "smoke":
        eps = 0.1
        made: dict[str, Attack] = {
            "FGSM": FGSM(eps=eps),
            "BIM": BIM(eps=eps, steps=10),
            "CWl2": CW(steps=20, search_steps=2, learning_rate=0.1, initial_constant=0.9),
            "SPSA": SPSA(eps=eps, steps=5, samples=8),
            "ZOO": ZOO(steps=10, search_steps=1, coordinates=16),
            STRONG: APGD(eps=eps, steps=20),
        }
    elif scale == "reduced":
        made = {
            "FGSM": FGSM(eps=0.03),
            "BIM": BIM(eps=0.03),
            "CWl2": CW(steps=50, search_steps=4, learning_rate=0.1, initial_constant=0.9),
            "SPSA": SPSA(steps=20, samples=32),
            "ZOO": ZOO(steps=20, search_steps=1, coordinates=64),
            STRONG: APGD(eps=0.03, steps=50),
        }
    else:
        made = {
            "FGSM": FGSM(eps=0.03),
            "BIM": BIM(eps=0.03),
            "CWl2": CW(steps=100, search_steps=10, learning_rate=0.1, initial_constant=0.9),
            "SPSA": SPSA(),
            "ZOO": ZOO(),
            STRONG: APGD(eps=0.03),
        }
    return {name: attack.to_the_end() for name, attack in made.items()}


def _direct(scale: str, names: Sequence[str], _: Data) -> dict[str, Any]:
    made = _attacks(scale)
    return {name: Crafted(attack=made[name], examples="all") for name in names}


def _from(scale: str, names: Sequence[str], sources: Sequence[str], _: Data) -> dict[str, Any]:
    """Images made on each source; CW goes beyond the border (kappa), less on binarized sources (Section 5.2)."""
    made = _attacks(scale)
    found: dict[str, Any] = {}
    for source in sources:
        for name in names:
            attack = made[name]
            if isinstance(attack, CW):
                attack = replace(attack, kappa=5.0 if source in ("w1a1", "w1a32") else 10.0)
            found[f"{name} from {source}"] = Crafted(attack=attack, examples="all", source=source)
    return found


def _rounded(scale: str, setting: str) -> Study:
    """Figure 3: the float model, and what rounding makes of it."""
    return with_rounded(_study(scale, _from, ("full",), (100, 500), GIVEN, ("full",), setting))


# ---- numbers


def _moved(norm: str) -> Metric:
    def scores(selection: Selection) -> Scores:
        (cell,) = selection.cells
        deceived = (cell.linf > 0) & ~cell.correct
        return np.stack([deceived, deceived * getattr(cell, norm).astype(float)])

    return Metric(
        name=f"moved-{norm}",
        symbol=norm,
        description=f"mean {norm} distance of the changed images that the model gets wrong",
        source="Bernhard et al. 2019, Section 4.3",
        higher_is_better=True,
        bounds=(0.0, np.inf),
        needs=("attack",),
        scores=scores,
        statistic=Statistic(value=SHARE.value, among=SHARE.among),
    )


_CLEAN = {"clean acc": CLEAN}
MOVED = {norm: _moved(norm) for norm in ("l2", "linf")}


def _of_attack(row: str, name: str, cell: Cell) -> list[Reading]:
    parts = [reading(row, f"{name} {norm}", metric, [cell]) for norm, metric in MOVED.items()]
    return [reading(row, f"{name} acc", ACCURACY, [cell]), *(parts if name != STRONG else [])]


def _attacked(measured: Measured) -> list[Reading]:
    found = accuracies(measured, _CLEAN)
    for model in measured.models:
        for name in (*ATTACKS, STRONG):
            found += _of_attack(model, name, measured.cells[model, name])
    return found


def _transferred(source: str, targets: Sequence[str], measured: Measured) -> list[Reading]:
    found: list[Reading] = []
    for model in (model for model in measured.models if model in targets or model == source):
        for name in ATTACKS:
            if (model, f"{name} from {source}") in measured.cells:
                found += _of_attack(model, name, measured.cells[model, f"{name} from {source}"])
    return found


def _aligned(measured: Measured) -> list[Reading]:
    """Figure 4: cosines of the input gradients of each pair of models, mean over the images."""
    frozen, data = [freeze(measured.open(name)) for name in measured.models], measured.test
    parts = [
        cosines(gradients(frozen, *measured.pictures(rows.tolist(), frozen[0]))[:1]).cpu()
        for rows in np.array_split(np.arange(len(data)), -(-len(data) // _BATCH))
    ]
    of = np.nan_to_num(torch.cat(parts)[:, 0].numpy())  # a gradient of zero points nowhere
    return [
        Reading(row=one, column=other, scores=of[None, :, i, j], statistic=UNBOUNDED, bounds=(-1.0, 1.0))
        for (i, one), (j, other) in combinations(enumerate(measured.models), 2)
    ]


def _accuracy_claims(measured: Measured) -> Iterator[Claim]:
    yield Claim(
        text="binarizing weights and activations costs accuracy: w1a1 is below the float model",
        source="Section 5.1.1",
        pairs=pairs([("full", "w1a1")], ["clean acc"]),
    )


def _direct_claims(measured: Measured) -> Iterator[Claim]:
    yield Claim(
        text="the fully binarized model looks more robust to FGSM and BIM than the float one",
        source="Section 5.1.1",
        pairs=pairs([("w1a1", "full")], ["FGSM acc", "BIM acc"]),
    )
    yield Claim(
        text="CW breaks the fully binarized model far more often than FGSM does",
        source="Section 5.1.1",
        pairs=pairs_across(["w1a1"], "FGSM acc", "CWl2 acc"),
    )
    yield Claim(
        text="quantized activations mask gradients: ZOO, which only asks, breaks fewer images of these models than CW",
        source="Section 5.1.2",
        pairs=pairs_across(["w2a2", "w3a3", "w4a4"], "ZOO acc", "CWl2 acc"),
    )
    yield Claim(
        text="SPSA, which only asks, breaks the fully binarized model more often than BIM",
        source="Section 5.1.2",
        pairs=pairs_across(["w1a1"], "BIM acc", "SPSA acc"),
    )


def _weight_claims(measured: Measured) -> Iterator[Claim]:
    yield Claim(
        text="quantized weights alone make no model robust: CW takes accuracy from each",
        source="Section 5.1.1",
        pairs=pairs_across([m for m in measured.models if m != "full"], "clean acc", "CWl2 acc"),
    )


def _transfer_claims(source: str, measured: Measured) -> Iterator[Claim]:
    others = [m for m in measured.models if m != source]
    yield Claim(
        text="images of FGSM and BIM transfer badly: the other models withstand them better than their source",
        source="Section 5.2.1",
        pairs=pairs([(m, source) for m in others], ["FGSM acc", "BIM acc"]),
    )


def _agreement_claims(measured: Measured) -> Iterator[Claim]:
    yield Claim(
        text="models agree more on adversarial images that fail on their source than on those that deceive it",
        source="Section 6.1",
        pairs=pairs_across(measured.models, "FGSM unsuccessful", "FGSM successful"),
    )


def _ensemble_clean_claims(measured: Measured) -> Iterator[Claim]:
    yield Claim(
        text="where enough members agree, the ensemble is more often right than the float model",
        source="Section 6.1",
        pairs=pairs([("ensemble", "full")], ["clean acc"]),
    )


def _ensemble_claims(measured: Measured) -> Iterator[Claim]:
    yield Claim(
        text="the ensemble fares best where images were made on the binarized model, better than from the float one",
        source="Section 6.2",
        pairs=pairs([("w1a1", "full")], [f"{name} d_acc" for name in _ENSEMBLE]),
    )


def _aligned_claims(measured: Measured) -> Iterator[Claim]:
    yield Claim(
        text="gradients of the fully binarized model agree least with those of the float one",
        source="Section 5.2.3",
        pairs=tuple((("full", other), ("full", "w1a1")) for other in measured.models if other not in ("full", "w1a1")),
    )


# ---- tables

_table = partial(Table, paper=PAPER, settings=SETTINGS, unit="fraction")


def _transfer_tables() -> Iterator[Table]:
    """Tables 17 to 34: from each source to the fully quantized models, and to those of quantized weights."""
    for place, source in enumerate(("full", "w1a1", "w1a32", "w2a2", "w2a32", "w3a3", "w3a32", "w4a4", "w4a32")):
        for half, (targets, words) in enumerate(((FULL, "fully quantized"), (WEIGHTS, "weight-quantized"))):
            names = tuple(dict.fromkeys((*targets, source)))
            yield _table(
                number=f"table{17 + 2 * place + half}",
                title=f"Transfer of adversarial images from {source} to the float and {words} models",
                study=at_scales(_study, _from, names, (30, 60), ATTACKS, (source,)),
                read=partial(_transferred, source, targets),
                claims=partial(_transfer_claims, source),
                figures=("figure1", "figure2") if place == half == 0 else (),
            )


TABLES = (
    _table(
        number="table2",
        title="Accuracy of the nine models",
        study=at_scales(_study, _direct, ALL, (100, 1_000), ()),
        read=partial(accuracies, columns=_CLEAN),
        claims=_accuracy_claims,
    ),
    _table(
        number="table3",
        title="Attacks on the float and the fully quantized models, and how far they go",
        study=at_scales(_study, _direct, FULL, (30, 60), (*ATTACKS, STRONG)),
        read=_attacked,
        claims=_direct_claims,
    ),
    _table(
        number="table4",
        title="Attacks on the float and the weight-quantized models, and how far they go",
        study=at_scales(_study, _direct, WEIGHTS, (30, 60), (*ATTACKS, STRONG)),
        read=_attacked,
        claims=_weight_claims,
    ),
    _table(
        number="table5",
        title="How often the other four models agree with a source",
        study=at_scales(_study, _from, FULL, (100, 1_000), ("FGSM",), FULL),
        read=partial(agreements, "FGSM"),
        claims=_agreement_claims,
    ),
    _table(
        number="table6",
        title="An ensemble of five that answers where enough agree: how often, and how often rightly",
        study=at_scales(_study, _direct, FULL, (100, 1_000), ()),
        read=partial(answered, AGREE),
        claims=_ensemble_clean_claims,
    ),
    _table(
        number="table7",
        title="The ensemble under images made on one of its members",
        study=at_scales(_study, _from, FULL, (30, 60), _ENSEMBLE, FULL),
        read=partial(defended, AGREE, _ENSEMBLE),
        claims=_ensemble_claims,
    ),
    *_transfer_tables(),
    _table(
        number="figure3",
        title="How often rounding a network's weights or activations undoes an adversarial image",
        study=at_scales(_rounded),
        read=undone,
        claims=undone_claims,
    ),
    _table(
        number="figure4",
        title="Cosines of the models' input gradients, pair by pair",
        study=at_scales(_study, _direct, ALL, (60, 500), ()),
        read=_aligned,
        claims=_aligned_claims,
    ),
)
