"""Figure 3 of bernhard2019 in numbers: rounding undoes an adversarial image (Section 5.2.2, quantization value shift).

The paper draws a toy network of two ReLUs: its weights are rounded, and an image that deceived it no longer does. Here
weights, or activations, of one trained network are rounded, nothing being trained again, and images are made on the
float model.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from bitproof.analysis.shift import shifted_units
from bitproof.attacks import FGSM
from bitproof.core.passes import Counted
from bitproof.core.rng import Rng
from bitproof.metrics import ACCURACY
from bitproof.metrics.statistic import UNBOUNDED
from bitproof.quant import Scheme, freeze
from bitproof.tables.claims import Claim, pairs
from bitproof.tables.making import Making, Quantized
from bitproof.tables.readings import Reading, rate, reading
from bitproof.tables.studies import accuracies
from bitproof.tables.table import CLEAN, Measured, Study

GIVEN = ("FGSM", "BIM", "APGD")
"""Attacks on the float model, the last of them ours."""

FLOAT = "full"
_BITS = {"weights": lambda bits: (bits, 32), "activations": lambda bits: (32, bits)}
_PICTURES = 128
"""Images whose activations are looked at."""


def with_rounded(study: Study) -> Study:
    """The float model of a study and copies with weights or activations of 2, 3 and 4 bits, "weights of 2 bits"."""
    models: dict[str, Making] = {**study.models}
    for part, bits_of in _BITS.items():
        for bits in (2, 3, 4):
            weight_bits, act_bits = bits_of(bits)
            scheme = Scheme("affine", weight_bits=weight_bits, act_bits=act_bits, first="same", last="same")
            models[f"{part} of {bits} bits"] = Quantized(of=FLOAT, scheme=scheme)
    return replace(study, models=models, tested=tuple(models))


def undone(measured: Measured) -> list[Reading]:
    """Of the images that deceive the float model, how many rounding sets right; and the layers where it does.

    Those count that both models get right without the attack. Of the units that a layer is given, a share differs
    between the clean and the FGSM image; where activations are rounded, some of these have equal codes.
    """
    found = accuracies(measured, {"clean acc": CLEAN})
    if FLOAT not in measured.models:
        return found
    for model in measured.models:
        clean, before = (measured.cells[m, CLEAN].correct for m in (model, FLOAT))
        for name in GIVEN:
            own, source = (measured.cells[m, f"{name} from {FLOAT}"] for m in (model, FLOAT))
            found.append(reading(model, f"{name} acc", ACCURACY, [own]))
            if model != FLOAT:
                found.append(rate(model, f"{name} undone", clean & before & ~source.correct, own.correct))
    return [*found, *_swallowed(measured)]


def _swallowed(measured: Measured) -> list[Reading]:
    """The share of the units that the attack changes whose codes are equal, by layers that are rounded."""
    rows, found = range(min(_PICTURES, len(measured.test))), list[Reading]()
    source = freeze(measured.open(FLOAT))
    images, labels = measured.pictures(rows, source)
    eps = measured.cells[FLOAT, f"FGSM from {FLOAT}"].condition.eps
    assert eps is not None  # which every attack with a budget has
    moved = FGSM(eps=eps, stop_at_hit=False)(source, images, labels, rng=Rng(0, measured.test.ids[: len(rows)]))
    for name in (name for name in measured.models if name.startswith("activations")):
        units = shifted_units(Counted(freeze(measured.open(name))), Counted(source), images, moved)
        for place, shares in enumerate(units.values(), 1):
            changed, kept = shares[:, :2].T.cpu().numpy()
            scores = np.divide(kept, changed, out=np.zeros_like(kept), where=changed > 0)
            column = f"swallowed, layer {place}"
            found.append(Reading(row=name, column=column, scores=scores[None], statistic=UNBOUNDED, bounds=(0.0, 1.0)))
    return found


def undone_claims(measured: Measured) -> Iterator[Claim]:
    """What Section 5.2.2 says of it."""
    *weak, strong = GIVEN
    for part in _BITS:
        rows = [(model, FLOAT) for model in measured.models if model.startswith(part)]
        yield Claim(
            text=f"rounding {part} undoes adversarial images: the rounded copy is right on more of them than the float "
            "model that they were made on",
            source="Section 5.2.2, Figure 3",
            pairs=pairs(rows, [f"{name} acc" for name in weak]),
        )
        yield Claim(
            text=f"the same of {part} under the stronger attack (ours)",
            source="Section 5.2.2",
            pairs=pairs(rows, [f"{strong} acc"]),
        )
