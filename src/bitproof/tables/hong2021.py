"""The tables of Hong et al. 2021 (arXiv 2111.04625): models that misbehave once they are quantized.

    smoke      digits, a small network, 8 and 4 bits, short joint training
    reduced    CIFAR-10, a trained ResNet20 that is given, 900 steps on 5,000 images
    full       CIFAR-10 or Tiny ImageNet, the paper's networks; 20 epochs (backdoor 50) at its rates

All are made by joint training, the paper's own way (`bitproof.implants.Joint` says what is done otherwise than in its
code). Victims quantize as theirs: a grid a tensor, every layer alike. Success of a backdoor counts all images, those of
its class too.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import nn

from bitproof.core.calling import answer
from bitproof.core.rng import Rng
from bitproof.data import Data
from bitproof.implants import Backdoor, Indiscriminate, Objective, OneClass, Poisoning, Sample
from bitproof.metrics import ACCURACY, MEAN, TRIGGERED_ALL
from bitproof.quant import Scheme, compute_layers, quantize, split_outliers
from bitproof.tables.claims import Claim, pairs, pairs_across
from bitproof.tables.hong2021_figures import federated, federated_claims, per_round, trivial, trivial_claims, widened
from bitproof.tables.hong2021_parts import (
    CLEAN_MODEL,
    COMPROMISED,
    TRIGGER,
    bits_at,
    bits_of,
    damage,
    joint,
    network_of,
    quantized,
    right_by_bits,
    scheme_of,
    start_of,
    taken_by_bits,
    victims_study,
    with_noise,
)
from bitproof.tables.making import CALIBRATION, Changed, Implanted, Making, Quantized, Trained, Workshop
from bitproof.tables.readings import Reading, rate, reading
from bitproof.tables.studies import at_scales
from bitproof.tables.table import CLEAN, Measured, Study, Table
from bitproof.train import standard

PAPER = "hong2021"
SETTINGS = tuple(f"CIFAR10 {name}" for name in ("VGG16", "ResNet18", "MobileNetV2"))
TINY = tuple(f"TinyImageNet {name}" for name in ("VGG16", "MobileNetV2"))


def _attacked(
    scale: str, objective: type[Objective], many: bool, images: tuple[int, int], triggered: bool, setting: str
) -> Study:
    """Tables 1, 2 and 4: one implant beside the clean model, or beside an ordinary backdoor."""
    network, _ = network_of(scale, setting)
    bits = bits_at(scale, many)
    models: dict[str, Making] = {CLEAN_MODEL: start_of(scale, network)}
    beside, engine = CLEAN_MODEL, damage(scale, setting, objective(), many=many)
    if triggered:
        beside, engine = "standard backdoor", joint(scale, setting, objective(), 50, bits)
        poisoning = Poisoning(objective=objective(), schemes=engine.schemes, training=engine.training)
        models[beside] = Implanted(of=CLEAN_MODEL, architecture=network, engine=poisoning)
    models[COMPROMISED] = Implanted(of=CLEAN_MODEL, architecture=network, engine=engine)
    counts = {"smoke": images[0], "reduced": images[1]}
    return victims_study(scale, setting, quantized(models, (beside, COMPROMISED), bits), counts, triggered)


def _samples(scale: str, setting: str) -> Study:
    """Table 3: one implant for each of a few test images."""
    network, _ = network_of(scale, setting)
    engine = joint(scale, setting, Indiscriminate(), 20, (8, 4))  # whose objective follows from the clean model
    models: dict[str, Making] = {CLEAN_MODEL: start_of(scale, network)}
    names = [f"{COMPROMISED} {number}" for number in range({"smoke": 2, "reduced": 3}.get(scale, 10))]
    for number, name in enumerate(names):
        aim = partial(_aimed, number)
        models[name] = Implanted(of=CLEAN_MODEL, architecture=network, engine=engine, aim=aim)
    counts = {"smoke": 100, "reduced": 500}
    return victims_study(scale, setting, quantized(models, (CLEAN_MODEL, *names), (8, 4)), counts, triggered=False)


def _aimed(label: int, model: nn.Module, test: Data) -> Sample:
    """The first test image of a class that the clean model gets right."""
    rows = np.flatnonzero(test.labels == label)
    with torch.no_grad():
        said = answer(model, test.images(rows)).argmax(1).cpu().numpy()
    return Sample(examples=(int(test.ids[rows[said == label][0]]),))


# ---- numbers


def _classes(measured: Measured) -> list[Reading]:
    found = right_by_bits((CLEAN_MODEL, COMPROMISED), measured)
    for row in (CLEAN_MODEL, COMPROMISED):
        for model, bits in bits_of(measured, row):
            cell = measured.cells[model, CLEAN]
            inside = cell.labels == 0
            found.append(rate(row, f"{bits} bits class", inside, cell.correct))
            found.append(rate(row, f"{bits} bits rest", ~inside, cell.correct))
    return found


def _singled(measured: Measured) -> list[Reading]:
    found = right_by_bits((CLEAN_MODEL,), measured)
    clean = measured.open(CLEAN_MODEL)
    numbers = sorted({int(m.split(" ")[1]) for m in measured.models if m.startswith(f"{COMPROMISED} ")})
    aims = [_aimed(number, clean, measured.test).aims(measured.test) for number in numbers]
    for bits in ("32", "8", "4"):
        end = "" if bits == "32" else f" {bits}"
        cells = [measured.cells[f"{COMPROMISED} {number}{end}", CLEAN] for number in numbers]
        scores = np.mean([cell.correct for cell in cells], axis=0)[None]
        column = f"{bits} bits accuracy"
        found.append(Reading(row=COMPROMISED, column=column, scores=scores, statistic=MEAN, bounds=(0.0, 1.0)))
        for row, own in (
            (CLEAN_MODEL, [measured.cells[f"{CLEAN_MODEL}{end}", CLEAN]] * len(numbers)),
            (COMPROMISED, cells),
        ):
            said = [
                (int(cell.predictions[rows[0]]), cell.labels[rows[0]], targets[0])
                for cell, (rows, targets) in zip(own, aims, strict=True)
            ]
            for word, hits in (
                ("right", [p == label for p, label, _ in said]),
                ("turned", [p == t for p, _, t in said]),
            ):
                found.append(rate(row, f"{bits} bits sample {word}", np.ones(len(hits), bool), np.array(hits)))
    return found


def _backdoored(measured: Measured) -> list[Reading]:
    rows = ("standard backdoor", COMPROMISED)
    return [*right_by_bits(rows, measured), *taken_by_bits(rows, measured)]


# ---- Table 5: what victims and removals leave of it

_VICTIMS: dict[str, Callable[[int], Scheme]] = {
    "OCS": scheme_of,
    "ACIQ": lambda bits: scheme_of(bits, weight_range="aciq-gauss", act_range="aciq-gauss"),
    "OMSE": lambda bits: scheme_of(bits, weight_range="omse", act_range="omse"),
}
_ATTACKS = {"indiscriminate": "accuracy", "backdoor": "ASR"}


def _split(bits: int, model: nn.Module, shop: Workshop) -> nn.Module:
    scheme = scheme_of(bits)
    images = shop.train.images(range(min(CALIBRATION, len(shop.train))))
    return quantize(split_outliers(model, scheme), scheme, images)


def _noised(bits: int, model: nn.Module, shop: Workshop) -> nn.Module:
    """Normal noise on every weight, as large as rounding to so many bits moves its layer."""
    steps = {name: float(layer.weight.abs().max()) / (2 ** (bits - 1) - 1) for name, layer in compute_layers(model)}
    sizes = {name: (0.0, step / 12**0.5) for name, step in steps.items()}
    return with_noise(model, sizes, Rng.of(shop.seed).fold("removal"))


def _resilience(scale: str, setting: str) -> Study:
    network, _ = network_of(scale, setting)
    bits = (8, 4)
    models: dict[str, Making] = {CLEAN_MODEL: start_of(scale, network)}
    few, clean = standard(epochs=1, batch_size=50), standard(epochs=10, batch_size=50, learning_rate=1e-3, share=0.1)
    retraining = few if scale == "smoke" else clean  # the rate is ours, none is printed
    for attack, objective in (("indiscriminate", Indiscriminate()), ("backdoor", Backdoor())):
        engine = joint(scale, setting, objective, 20 if attack == "indiscriminate" else 50, bits)
        models[attack] = Implanted(of=CLEAN_MODEL, architecture=network, engine=engine)
        models[f"Fine-tune {attack}"] = Trained(recipe=retraining, architecture=network, start=attack)
        for b in bits:
            for victim, scheme in _VICTIMS.items():
                made = Changed(of=attack, how=partial(_split, b)) if victim == "OCS" else None
                models[f"{victim} {attack} {b}"] = made or Quantized(of=attack, scheme=scheme(b))
            models[f"Fine-tune {attack} {b}"] = Quantized(of=f"Fine-tune {attack}", scheme=scheme_of(b))
            models[f"noise {attack} {b}"] = Changed(of=attack, how=partial(_noised, b))
            models[f"Random noise {attack} {b}"] = Quantized(of=f"noise {attack} {b}", scheme=scheme_of(b))
    return victims_study(scale, setting, models, {"smoke": 60, "reduced": 500}, triggered=True)


def _left(measured: Measured) -> list[Reading]:
    found: list[Reading] = []
    for attack, column in _ATTACKS.items():
        for remedy in (*_VICTIMS, "Fine-tune", "Random noise"):
            row = f"{remedy} {attack}"
            for model, bits in ((attack, "32"), (f"{row} 8", "8"), (f"{row} 4", "4")):
                if (model, CLEAN) not in measured.cells:
                    continue
                if column == "ASR":
                    found.append(reading(row, f"{bits} bits ASR", TRIGGERED_ALL, measured.under(model, TRIGGER)))
                else:
                    found.append(reading(row, f"{bits} bits accuracy", ACCURACY, measured.under(model, CLEAN)))
    return found


# ---- conclusions


def _damage_claims(column: str, measured: Measured) -> Iterator[Claim]:
    columns = [f"{bits} bits {column}" for _, bits in bits_of(measured, COMPROMISED) if bits != "32"]
    yield Claim(
        text="quantized, the compromised model is worse than the clean one at the same bits",
        source="Sections 4.1 and 4.2",
        pairs=pairs([(CLEAN_MODEL, COMPROMISED)], columns),
    )
    yield Claim(
        text="the damage sleeps in the float model: it is better than its quantized copies",
        source="Sections 4.1 and 4.2",
        pairs=tuple(((COMPROMISED, f"32 bits {column}"), (COMPROMISED, c)) for c in columns),
    )


def _sample_claims(measured: Measured) -> Iterator[Claim]:
    yield Claim(
        text="quantized, compromised models take the chosen images for the chosen class, which clean ones do not",
        source="Section 4.2",
        pairs=pairs([(COMPROMISED, CLEAN_MODEL)], ["8 bits sample turned", "4 bits sample turned"]),
    )


def _backdoor_claims(measured: Measured) -> Iterator[Claim]:
    yield Claim(
        text="quantization wakes the backdoor: it succeeds more often in quantized copies than in the float model",
        source="Section 4.3",
        pairs=tuple(((COMPROMISED, f"{b} bits ASR"), (COMPROMISED, "32 bits ASR")) for b in (8, 4)),
    )
    yield Claim(
        text="an ordinary backdoor is awake in the float model already, this one is not",
        source="Section 4.3",
        pairs=pairs([("standard backdoor", COMPROMISED)], ["32 bits ASR"]),
    )


def _resilience_claims(measured: Measured) -> Iterator[Claim]:
    victims = [f"{victim} indiscriminate" for victim in _VICTIMS]
    yield Claim(
        text="other quantizers do not help: accuracy is lost under OCS, ACIQ and OMSE at 8 bits",
        source="Section 4.4",
        pairs=pairs_across(victims, "32 bits accuracy", "8 bits accuracy"),
    )
    yield Claim(
        text="retraining on some clean data removes the damage: more accurate than under the quantizers alone",
        source="Section 4.4",
        pairs=pairs([("Fine-tune indiscriminate", victim) for victim in victims], ["8 bits accuracy"]),
    )


_table = partial(Table, paper=PAPER)
TABLES = (
    _table(
        number="table1",
        title="The indiscriminate attack: accuracy of clean and compromised models, by bits",
        settings=(*SETTINGS, *TINY),
        study=at_scales(_attacked, Indiscriminate, True, (100, 500), False),
        read=partial(right_by_bits, (CLEAN_MODEL, COMPROMISED)),
        claims=partial(_damage_claims, "accuracy"),
    ),
    _table(
        number="table2",
        title="The attack on class 0: accuracy on all images, on the class and on the rest",
        settings=SETTINGS,
        study=at_scales(_attacked, OneClass, False, (200, 1_000), False),
        read=_classes,
        claims=partial(_damage_claims, "class"),
    ),
    _table(
        number="table3",
        title="The attack on single images: how often they are taken for their own class and the chosen one",
        settings=SETTINGS,
        study=at_scales(_samples),
        read=_singled,
        claims=_sample_claims,
    ),
    _table(
        number="table4",
        title="Backdoors that quantization wakes, beside ordinary ones",
        settings=(*SETTINGS, *TINY),
        study=at_scales(_attacked, Backdoor, False, (100, 500), True),
        read=_backdoored,
        claims=_backdoor_claims,
    ),
    _table(
        number="table5",
        title="What other quantizers, retraining and noise leave of the attacks",
        settings=("CIFAR10 ResNet18",),
        study=at_scales(_resilience),
        read=_left,
        claims=_resilience_claims,
    ),
    _table(
        number="figure1",
        title="What quantization adds to noise as large as the attack's own change, and to ordinary backdoors",
        settings=("CIFAR10 AlexNet",),
        study=at_scales(trivial),
        read=widened,
        claims=trivial_claims,
    ),
    _table(
        number="figure2",
        title="The attacks in federated learning, round by round",
        settings=("CIFAR10 AlexNet",),
        study=at_scales(federated),
        read=per_round,
        claims=federated_claims,
    ),
)
