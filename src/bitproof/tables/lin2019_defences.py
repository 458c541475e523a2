"""The tables of lin2019 that ask whether a defence masks its gradients: white box beside black box (2, 3, 5 and 6).

Black-box images are made on a network of another kind that is trained apart on the same data. Feature squeezing is what
the network sees in place of the image (5 bits, then a median over 2x2 pixels), and attackers follow its gradient: that
of the pixel that the median chose, and through rounding as if there were none; the paper does not say what theirs did.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from bitproof.attacks import APGD, FGSM, PGD, RFGSM, Attack, Noise, UnitStepPGD
from bitproof.conditions import Crafted
from bitproof.data import Data
from bitproof.defences import Squeezing
from bitproof.tables.claims import Claim, pairs, pairs_across
from bitproof.tables.lin2019_bits import EPS, NETWORKS, SUBSTITUTE, recipe_of, study_of
from bitproof.tables.making import Changed, Making, Trained, Workshop
from bitproof.tables.readings import Reading
from bitproof.tables.studies import accuracies
from bitproof.tables.table import Measured, Study
from bitproof.train.objectives import RandomBudget
from bitproof.train.objectives.adversarial import fgsm, pgd, r_fgsm
from bitproof.train.papers.lin2019 import SVHN, activations_quantized

_APART = "substitute"
"""The model that black-box images are made on."""


def with_substitute(
    scale: str,
    images: Mapping[str, int],
    models: Mapping[str, Making],
    white: Mapping[str, Attack],
    handed: Sequence[str],
    strong: Mapping[str, Attack],
    changes: Mapping[str, Any] | None = None,
    **own: Any,
) -> Study:
    """Models under attacks of their own, and under some that are made on a network apart.

    Args:
        scale: a name in `SCALES`.
        images: how many at which scale.
        models: all that are tested but the network apart.
        white: attacks by name, "FGSM 8" or "FGSM".
        handed: names of those that are made on the network apart too, "FGSM black-box 8".
        strong: attacks of our own by name.
        changes: of how the network apart is trained.
        own: of `study_of`.
    """
    apart = Trained(recipe=recipe_of(scale, None, 0.0, **(changes or {})), architecture=SUBSTITUTE[scale])

    def conditions(_: Data) -> dict[str, Any]:
        black: dict[str, Any] = {}
        for name in handed:
            kind, *eps = name.split(" ")
            made = Crafted(attack=white[name].to_the_end(), examples="all", source=_APART)
            black[" ".join((kind, "black-box", *eps))] = made
        return {**white, **black, **strong}

    return study_of(scale, images, {**models, _APART: apart}, conditions, **own)


def white_and_black(measured: Measured) -> list[Reading]:
    """The accuracy of all models but the network apart, under each condition."""
    return accuracies(measured, models=[model for model in measured.models if model != _APART])


# ---- Tables 2 and 3: defences with and without DQ

_LEVELS = (2, 8, 16)
"""Budgets in grey levels."""
_ALONE = ("Normal", "Feature Squeezing")
_NAMES = {"r+fgsm": "Adversarial R+FGSM", "pgd": "Adversarial PGD"}
_PASSES = {"r+fgsm": 4, "pgd": 17}
"""Of a training image at each step; PGD takes 7.4 steps on average."""
_ATTACKS = {"Random": Noise, "FGSM": FGSM, "R+FGSM": RFGSM, "PGD": UnitStepPGD}


def defended(scale: str, adversarial: Sequence[str], setting: str) -> Study:
    """Each defence alone, on float activations, and with DQ: 1 bit, and the regulariser of weight 2e-3."""
    svhn = scale == "full" and setting.startswith("SVHN")
    changes: dict[str, Any] = {**SVHN} if svhn else {}
    plain, convex = ("wrn_16_4", "wrn_16_4_convex") if svhn else NETWORKS[scale]
    ways = {"": (plain, None, 0.0), " + DQ": (convex, activations_quantized(1), 2e-3)}

    def trained(end: str, each: int = 2, **more: Any) -> Trained:
        architecture, scheme, beta = ways[end]
        return Trained(recipe=recipe_of(scale, scheme, beta, **changes, **more), architecture=architecture, each=each)

    models: dict[str, Making] = {f"Normal{end}": trained(end) for end in ways}
    models |= {f"Feature Squeezing{end}": Changed(of=f"Normal{end}", how=_squeezed) for end in ways}
    for attack in adversarial:
        objective = RandomBudget(attack=attack, delta=EPS[scale])
        for end in ways:
            models[f"{_NAMES[attack]}{end}"] = trained(end, _PASSES[attack], objective=objective, alarm=None)
    white: dict[str, Attack] = {
        f"{name} {level}": attack(eps=level / 8 * EPS[scale]) for name, attack in _ATTACKS.items() for level in _LEVELS
    }
    strong: dict[str, Attack] = {f"APGD {level}": APGD(eps=level / 8 * EPS[scale], steps=30) for level in _LEVELS}
    handed = [f"{name} {level}" for name in ("FGSM", "PGD") for level in _LEVELS]
    sizes = {"data": "svhn", "training_size": 73_257, "test_size": 26_032} if setting.startswith("SVHN") else {}
    counts = {"smoke": 60, "reduced": 200}
    return with_substitute(scale, counts, models, white, handed, strong, changes, network=plain, **sizes)


def _squeezed(model: nn.Module, _: Workshop) -> nn.Module:
    return Squeezing(bits=5, window=2)(model)


def defended_claims(measured: Measured) -> Iterator[Claim]:
    """What Section 5.2 says of them."""
    rows = [model for model in measured.models if model != _APART]
    with_dq = [(f"{row} + DQ", row) for row in rows if f"{row} + DQ" in rows]
    adversarial = [(row, alone) for row in rows if row in _NAMES.values() for alone in _ALONE]
    yield Claim(
        text="DQ makes every defence more robust to white-box attacks",
        source="Section 5.2",
        pairs=pairs(with_dq, ["FGSM 8", "R+FGSM 8", "PGD 8"]),
    )
    yield Claim(
        text="the same under the stronger attack (ours)",
        source="Section 5.2",
        pairs=pairs(with_dq, ["APGD 8"]),
    )
    yield Claim(
        text="DQ makes every defence more robust to black-box images, too",
        source="Section 5.2",
        pairs=pairs(with_dq, ["FGSM black-box 8", "PGD black-box 8"]),
    )
    yield Claim(
        text="adversarial training defends best: better than none and than feature squeezing",
        source="Section 5.2",
        pairs=pairs(adversarial, ["FGSM 8", "R+FGSM 8", "PGD 8", "APGD 8"]),
    )
    yield Claim(
        text="white-box PGD is the strongest attack of theirs: stronger than FGSM, and than black-box PGD",
        source="Section 5.2",
        pairs=(*pairs_across(rows, "FGSM 8", "PGD 8"), *pairs_across(rows, "PGD black-box 8", "PGD 8")),
    )


# ---- Tables 5 and 6: masked gradients after adversarial training

_TRAINED = {
    "PGD adversarial training, Full-Precision": None,
    "PGD adversarial training, Tanh Quantized": "tanh",
    "PGD adversarial training, ReLU6 Quantized": "relu6",
}
_FLOAT, _TANH, _ = _TRAINED
_COUNTS = {"smoke": 60, "reduced": 500}


def _strong(scale: str) -> dict[str, Attack]:
    return {"APGD": APGD(eps=EPS[scale], steps=30)}


def tanh(scale: str, _: str) -> Study:
    """Table 5: PGD training of float, tanh and ReLU6 activations of 2 bits."""
    eps = EPS[scale]
    objective = pgd(eps=eps, steps=3 if scale == "smoke" else 7)
    plain = NETWORKS[scale][0]
    models: dict[str, Making] = {}
    for row, method in _TRAINED.items():
        scheme = None if method is None else replace(activations_quantized(2), method=method)
        recipe = recipe_of(scale, scheme, 0.0, objective=objective)
        models[row] = Trained(recipe=recipe, architecture=plain, each=16)
    return with_substitute(scale, _COUNTS, models, {"PGD": PGD(eps=eps, steps=20)}, ["PGD"], _strong(scale))


def tanh_claims(_: Measured) -> Iterator[Claim]:
    """What Appendix A.1 says of it."""
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


def one_step(scale: str, _: str) -> Study:
    """Table 6: training on FGSM, and on R+FGSM."""
    eps = EPS[scale]
    models: dict[str, Making] = {}
    for row, objective in {_ONE_STEP: fgsm(eps=eps), _RANDOM_STEP: r_fgsm(eps=eps)}.items():
        recipe = recipe_of(scale, None, 0.0, objective=objective, alarm=None)
        models[row] = Trained(recipe=recipe, architecture=NETWORKS[scale][0], each=4)
    return with_substitute(scale, _COUNTS, models, {"FGSM 8": FGSM(eps=eps)}, ["FGSM 8"], _strong(scale))


def one_step_claims(_: Measured) -> Iterator[Claim]:
    """What Appendix A.2 says of it."""
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
