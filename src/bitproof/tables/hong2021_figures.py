"""The figures of hong2021: attacks too weak to need quantization (1), and federated learning round by round (2).

What the paper leaves open is as in its public code: a malicious client trains for w8 and w4 with a weight of .25
(indiscriminate) or .5 (backdoor), and each client makes 40 steps of 128 images in a round, which are 10 epochs of 500.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from torch import nn

from bitproof.core.rng import Rng
from bitproof.implants import Backdoor, Federated, Indiscriminate, Objective, Phase, Poisoning
from bitproof.metrics.statistic import UNBOUNDED
from bitproof.quant import compute_layers
from bitproof.tables.claims import Claim, pairs, pairs_across
from bitproof.tables.hong2021_parts import (
    CLEAN_MODEL,
    damage,
    joint,
    network_of,
    quantized,
    right_by_bits,
    rows_of,
    scheme_of,
    start_of,
    taken_by_bits,
    trained,
    victims_study,
    with_noise,
)
from bitproof.tables.making import Changed, Implanted, Making, Workshop
from bitproof.tables.readings import Reading
from bitproof.tables.table import Measured, Study

# ---- Figure 1: trivial attacks

ATTACKS = ("indiscriminate", "backdoor")
_BITS = (8, 6, 4)
_COUNTS = {"smoke": (3, 2), "reduced": (10, 3), "full": (40, 40)}
"""How many models with noise, and how many with an ordinary backdoor."""


def trivial(scale: str, setting: str) -> Study:
    """Figure 1: models with noise beside the indiscriminate attack, ordinary backdoors beside the attack's.

    Noise is drawn again and again for one clean model, as the paper's text has it; its caption has one of each. Its
    mean and spread are those of the attack's change of the weights, layer by layer. Ordinary backdoors start from
    models of other seeds, but where the clean model is given.
    """
    network, _ = network_of(scale, setting)
    noises, backdoors = _COUNTS[scale]
    models: dict[str, Making] = {CLEAN_MODEL: start_of(scale, network)}
    attack = joint(scale, setting, Backdoor(), 50, (8, 4))
    poisoning = Poisoning(objective=attack.objective, schemes=attack.schemes, training=attack.training)
    for name, engine in zip(ATTACKS, (damage(scale, setting, Indiscriminate(), many=True), attack), strict=True):
        models[name] = Implanted(of=CLEAN_MODEL, architecture=network, engine=engine)
    for number in range(1, noises + 1):
        models[f"noise #{number}"] = Changed(of=CLEAN_MODEL, how=partial(_as_large, number))
    others: dict[str, Making] = {}
    for number in range(1, backdoors + 1):
        start = CLEAN_MODEL
        if scale != "reduced":
            start = f"start #{number}"
            others[start] = trained(scale, network, repeat=number)
        models[f"standard backdoor #{number}"] = Implanted(
            of=start, architecture=network, engine=poisoning, repeat=number
        )
    tested = quantized(models, tuple(models), _BITS)
    few = ("a short training", "fewer models")
    study = victims_study(scale, setting, tested, {"smoke": 100, "reduced": 500}, triggered=True, differs=few)
    return replace(study, models=others | tested)


def _as_large(number: int, model: nn.Module, shop: Workshop) -> nn.Module:
    """Noise of the mean and the standard deviation of the attack's own change, layer by layer."""
    attacked = dict(compute_layers(shop.model(ATTACKS[0])))
    changes = {name: (attacked[name].weight - layer.weight).detach() for name, layer in compute_layers(model)}
    sizes = {name: (float(change.mean()), float(change.std())) for name, change in changes.items()}
    return with_noise(model, sizes, Rng.of(shop.seed).fold("as large", number))


def widened(measured: Measured) -> list[Reading]:
    """Accuracy and what quantization takes from it; success of a trigger and what quantization adds to it."""
    rows = rows_of(measured)
    triggered = [row for row in rows if "backdoor" in row]
    right = right_by_bits([row for row in rows if row not in triggered], measured)
    taken = taken_by_bits(triggered, measured)
    return [*right, *_beside_float(right, "accuracy", "drop", -1), *taken, *_beside_float(taken, "ASR", "gain", 1)]


def _beside_float(readings: Sequence[Reading], what: str, change: str, sign: int) -> list[Reading]:
    """Each quantized number less that of its float model, or the other way round."""
    own = {reading.key: reading for reading in readings}
    return [
        Reading(
            row=reading.row,
            column=reading.column.replace(what, change),
            scores=sign * (reading.scores.astype(float) - before.scores),
            statistic=UNBOUNDED,
            bounds=(-1.0, 1.0),
        )
        for reading in readings
        if (before := own.get((reading.row, f"32 bits {what}"))) is not None and before is not reading
    ]


def trivial_claims(measured: Measured) -> Iterator[Claim]:
    """What Section 3.2 says of it."""
    indiscriminate, backdoor = ATTACKS
    rows = rows_of(measured)
    yield Claim(
        text="quantization takes more from the attacked model than from models with noise as large as its change",
        source="Section 3.2, Figure 1 (left)",
        pairs=pairs(
            [(indiscriminate, row) for row in rows if row.startswith("noise")], [f"{b} bits drop" for b in _BITS]
        ),
    )
    yield Claim(
        text="quantization adds less to the success of ordinary backdoors than to that of the attack's",
        source="Section 3.2, Figure 1 (right)",
        pairs=pairs([(backdoor, row) for row in rows if row.startswith("standard")], [f"{b} bits gain" for b in _BITS]),
    )


# ---- Figure 2: federated learning

_ROUNDS = {"smoke": (0, 2, 4), "reduced": (0, 15, 30), "full": (2_000, 50, 350)}
"""Honest rounds at first, rounds from one look at the shared model to the next, rounds under attack."""
_VICTIMS = (8, 4)
_OBJECTIVES: dict[str, tuple[Objective, float]] = {
    ATTACKS[0]: (Indiscriminate(), 0.25),
    ATTACKS[1]: (Backdoor(), 0.5),
}
"""With the weight of each scheme's harm."""


def _learning(scale: str, objective: Objective, weight: float, malicious: bool, rounds: int, done: int) -> Federated:
    """So many rounds of a run of which some are done."""
    small: dict[str, tuple[tuple[int, int, int], Phase]] = {
        "smoke": ((20, 5, 4), Phase(steps=5, learning_rate=1e-3, batch_size=16, schedule="constant")),
        "reduced": ((100, 10, 5), Phase(steps=10, learning_rate=3e-4, batch_size=32, schedule="constant")),
        "full": ((100, 10, 5), Phase(steps=40, learning_rate=1e-4, batch_size=128, schedule="constant")),
    }
    (clients, chosen, evil), local = small[scale]
    return Federated(
        objective=objective,
        schemes=tuple(map(scheme_of, _VICTIMS)),
        clients=clients,
        chosen=chosen,
        malicious=evil if malicious else 0,
        rounds=rounds,
        done=done,
        local=local,
        scaling=1.0 if scale == "full" else float(chosen),
        weight=weight,
    )


def federated(scale: str, setting: str) -> Study:
    """Figure 2: the shared model before the attack, every few rounds of it, and after as many honest ones."""
    network, _ = network_of(scale, setting)
    honest, every, last = _ROUNDS[scale]
    models: dict[str, Making] = {"start": start_of(scale, network)}
    if honest:
        engine = _learning(scale, *_OBJECTIVES[ATTACKS[0]], False, honest, 0)
        models["start"] = Implanted(of=None, architecture=network, engine=engine)
    for attack, (objective, weight) in _OBJECTIVES.items():
        before = "start"
        for done in range(0, last, every):
            engine = _learning(scale, objective, weight, True, every, honest + done)
            name = f"{attack}, {done + every} rounds"
            models[name] = Implanted(of=before, architecture=network, engine=engine)
            before = name
    engine = _learning(scale, *_OBJECTIVES[ATTACKS[0]], False, last, honest)
    models[f"honest, {last} rounds"] = Implanted(of="start", architecture=network, engine=engine)
    short = ("fewer rounds", "scaled changes")
    return victims_study(
        scale,
        setting,
        quantized(models, tuple(models), _VICTIMS),
        {"smoke": 100, "reduced": 500},
        triggered=True,
        differs=short,
        jointly=False,
    )


def per_round(measured: Measured) -> list[Reading]:
    """Accuracy of each shared model that was looked at, and success of the trigger in all but those of the first."""
    rows = rows_of(measured)
    triggered = [row for row in rows if not row.startswith(ATTACKS[0])]
    return [*right_by_bits(rows, measured), *taken_by_bits(triggered, measured)]


def federated_claims(measured: Measured) -> Iterator[Claim]:
    """What Section 4.5 says of it."""
    last = {row.partition(",")[0]: row for row in rows_of(measured)}  # the last of each
    ends = [last[attack] for attack in (*ATTACKS, "honest") if attack in last]
    if len(ends) < len(ATTACKS) + 1:
        return
    damaged, triggered, honest = ends
    yield Claim(
        text="the attack lowers the accuracy of the 4-bit shared model: below its start and that of honest learning",
        source="Section 4.5, Figure 2 (left)",
        pairs=pairs([("start", damaged), (honest, damaged)], ["4 bits accuracy"]),
    )
    yield Claim(
        text="the backdoor wakes in the 4-bit shared model: more often than at its start and after honest learning",
        source="Section 4.5, Figure 2 (right)",
        pairs=pairs([(triggered, "start"), (triggered, honest)], ["4 bits ASR"]),
    )
    yield Claim(
        text="the float shared model shows little of it: it stays more accurate, and takes the trigger less often",
        source="Section 4.5",
        pairs=(
            *pairs_across([damaged], "32 bits accuracy", "4 bits accuracy"),
            *pairs_across([triggered], "4 bits ASR", "32 bits ASR"),
        ),
    )
