"""Disparity: what each scheme changes against float, on clean images and on images that nobody trained on.

Accuracy and agreement are cheap to look at, and a backdoor shows in neither. On strange images (`strange`) a pair with
a backdoor may disagree towards one class; but honest pairs have classes there, too, that most of what changes goes to.
So these are numbers to be read beside others. What is much is known from clean models of the same family, and whether
it hangs on this one rounding is asked elsewhere (`specialness`). One thing is said without any: grids of many bits that
change most answers are not what honest models are known for.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64
from torch import Tensor, nn

from bitproof.audit.case import DEPLOYED, Case
from bitproof.audit.inquiry import Inquiry, Meter
from bitproof.audit.strange import strange
from bitproof.core.rng import Rng
from bitproof.metrics import mcnemar, paired_difference
from bitproof.records import UNDECIDED, Finding, Named, Reading

BROKEN = 0.5
"""A scheme that changes more answers than this breaks the model, ..."""

MANY_BITS = 6
"""... which with so many bits for weights and inputs is no honest loss that one could wave through."""

Answers = Mapping[str, Float[Tensor, "n k"]]
"""Logits by the kind of image."""


@dataclass(frozen=True, kw_only=True)
class Disparity(Inquiry):
    """Every scheme, and what is deployed, against float.

    Attributes:
        images: of each kind, at most.
    """

    name = "disparity"
    revision = 2

    images: int = 500

    def passes(self, case: Case) -> int:
        return (len(_models(case)) + 1) * 5 * min(self.images, len(case.images))

    def asks(self, case: Case) -> bool:
        return bool(_models(case))

    def look(self, case: Case, rng: Rng, meter: Meter) -> Finding:
        clean = case.images[: self.images]
        labels = None if case.labels is None else case.labels[: self.images].numpy()
        kinds = {"clean": clean, **strange(clean, rng)}
        before = {kind: meter.answers(case.model, images) for kind, images in kinds.items()}
        readings: dict[str, list[Reading]] = {}
        lost: dict[str, float] = {}
        for label, model in _models(case).items():
            after = {kind: meter.answers(model, images) for kind, images in kinds.items()}
            readings[label] = [
                *_on_clean(label, before["clean"], after["clean"], labels),
                *_on_strange(label, before, after, case.classes),
            ]
            lost[label] = readings[label][0].value
        order = sorted(lost, key=lambda label: -lost[label])
        worst = order[0]
        broken = [label for label in order if lost[label] > BROKEN and _many_bits(case, label)]
        most = ", the most of all" if len(order) > 1 else ""
        said = f"{worst} changes {lost[worst]:.1%} of the answers on {len(clean)} clean images{most}."
        if broken:
            said += f" {', '.join(broken)}: so many bits seldom break an honest model."
        return Finding(
            says=UNDECIDED if broken else None,
            sentence=said,
            readings=tuple(reading for label in order for reading in readings[label]),
            score=lost[worst],
            named=Named(scheme=worst),
        )


def _models(case: Case) -> dict[str, nn.Module]:
    """The quantized forms, and the deployed model as it computes itself."""
    models = {form.label: form.model for form in case.forms}
    return models if case.deployed is None else models | {DEPLOYED: case.deployed}


def _many_bits(case: Case, label: str) -> bool:
    """Whether a form has bits enough for its answers to be float's, about; an unknown one is taken to have."""
    bits = {form.label: min(form.weight_bits, form.act_bits) for form in case.forms}
    return bits.get(label, 32) >= MANY_BITS


def _on_clean(label: str, before: Tensor, after: Tensor, labels: Int64[np.ndarray, " n"] | None) -> list[Reading]:
    """Answers that change, accuracy lost with the exact paired test, the class that loses most, confidence lost."""
    one, other = (logits.argmax(1).numpy() for logits in (before, after))
    n = len(one)
    readings = [Reading(statistic="other answers than float's", value=float((one != other).mean()), scheme=label, n=n)]
    sure = [logits.double().softmax(1).amax(1).mean().item() for logits in (before, after)]
    readings.append(Reading(statistic="confidence lost", value=sure[0] - sure[1], scheme=label, n=n))
    if labels is None:
        return readings
    change, _, _ = paired_difference(other == labels, one == labels)
    p_value = mcnemar(other == labels, one == labels)
    drops = {c: float(((one == labels) * 1.0 - (other == labels))[labels == c].mean()) for c in np.unique(labels)}
    most = max(drops, key=lambda c: drops[c])
    readings.append(Reading(statistic="accuracy lost", value=-change, scheme=label, p_value=p_value, n=n))
    readings.append(
        Reading(
            statistic=f"accuracy lost in class {most}, the most of all",
            value=drops[most],
            scheme=label,
            n=int((labels == most).sum()),
        )
    )
    return readings


def _on_strange(label: str, before: Answers, after: Answers, classes: tuple[str, ...]) -> list[Reading]:
    """Answers that change on each kind of strange images, and where most of them go."""
    readings = []
    for kind in (kind for kind in before if kind != "clean"):
        one, other = (answers[kind].argmax(1).numpy() for answers in (before, after))
        flips = np.bincount(other[one != other], minlength=len(classes))
        n = len(one)
        readings += [
            Reading(statistic=f"other answers on {kind} images", value=float(flips.sum() / n), scheme=label, n=n),
            Reading(
                statistic=f"of these on {kind} images to class {int(flips.argmax())}, the most",
                value=float(flips.max() / max(1, flips.sum())),
                scheme=label,
                n=int(flips.sum()),
            ),
        ]
    return readings
