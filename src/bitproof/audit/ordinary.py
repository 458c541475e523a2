"""Evidence 8: ordinary backdoors, which are awake before quantization and after it, are named as such.

Detectors made for one model are run on the float model and on quantized ones: Neural Cleanse (Wang et al. 2019), Pixel
(Tao et al. 2022) and MM-BD (Wang et al. 2024, arXiv 2205.06900), by thresholds that hold for ten classes. What the
float model shows, too, is no matter of quantization. Integer models are searched through their exact differentiable
form: where a runtime gives no gradients, detectors see nothing at all (2512.06243 counts 0% at int8), which says
nothing about the model.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from bitproof.audit.case import DEPLOYED, Case
from bitproof.audit.differential import CLASSES, LEAST, twin_of
from bitproof.audit.inquiry import Inquiry, Meter
from bitproof.audit.margins import largest_margins
from bitproof.audit.outliers import DEVIATIONS, deviations, grubbs
from bitproof.audit.searching import Effort, Halves, Rivals, counted, effective, searched
from bitproof.audit.shapes import SHAPES
from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.records import CLEAN, UNDECIDED, Finding, Named, Reading

INVERTED = {"Neural Cleanse": "patch", "Pixel": "pixels"}
"""Detectors that invert a trigger for each class, and its shape."""

LEVEL = 0.05
"""Of a test of one model by one detector."""

FLOAT = "float"


@dataclass(frozen=True, kw_only=True)
class Sign:
    """What one detector says of one model.

    Attributes:
        detector: its name.
        model: "float", the label of a scheme, or "deployed".
        target: the class that stands out most.
        value: its size, or its margin in logits.
        strength: robust standard deviations, or the p-value of the margin.
        fires: whether it stands out by more than chance.
    """

    detector: str
    model: str
    target: int
    value: float
    strength: float
    fires: bool


@dataclass(frozen=True, kw_only=True)
class OrdinaryBackdoors(Inquiry):
    """Runs detectors of ordinary backdoors on the float model and on quantized ones.

    Attributes:
        steps, images: of the inversions, a class and step; Neural Cleanse has up to 1,000 rounds of 1,000 images.
        starts, ascent: random images a class and steps of MM-BD, which has 30 and 300.
        models: quantized models that are looked at: those of fewest and of most bits first.
    """

    name = "ordinary-backdoors"

    steps: int = 80
    images: int = 6
    starts: int = 6
    ascent: int = 60
    models: int = 1

    def __post_init__(self) -> None:
        if min(self.steps, self.images, self.starts, self.ascent) < 1 or self.models < 0:
            raise InputError(
                f"{self.steps} steps of {self.images} images, {self.ascent} of {self.starts}, {self.models} models",
                rule="there is at least one of each, and no fewer than 0 models",
                remedy="Leave them out for the defaults",
            )

    def passes(self, case: Case) -> int:
        classes = min(CLASSES, len(case.classes))
        a_model = 2 * classes * (len(INVERTED) * self.steps * self.images + self.ascent * self.starts)
        return a_model * (1 + min(self.models, len(case.schemes)) + (case.deployed is not None))

    def look(self, case: Case, rng: Rng, meter: Meter) -> Finding:
        if len(case.images) < 2 * LEAST:
            sentence = f"No ordinary backdoor was looked for: that takes {2 * LEAST} images, half of them to judge by."
            return Finding(says=UNDECIDED, sentence=sentence)
        halves = Halves.of(case, rng, meter)
        signs = [
            sign
            for label, model, counted_by in self._models(case)
            for sign in self.signs(label, model, counted_by, halves, rng.fold(label), meter)
        ]
        return _told(signs)

    def _models(self, case: Case) -> Iterator[tuple[str, nn.Module, nn.Module | None]]:
        """Label, differentiable form and, where that is another one, the model itself."""
        yield FLOAT, case.model, None
        ordered = sorted((form for form in case.forms if form.label != DEPLOYED), key=lambda form: form.weight_bits)
        for form in [*ordered[:1], *ordered[:0:-1]][: self.models]:
            yield form.label, form.model, None
        twin = None if case.deployed is None else twin_of(case.deployed)
        if twin is not None:
            yield DEPLOYED, twin, case.deployed

    def signs(
        self, label: str, model: nn.Module, counted_by: nn.Module | None, halves: Halves, rng: Rng, meter: Meter
    ) -> Iterator[Sign]:
        """What each detector says of one model.

        Args:
            label: what it is called.
            model: frozen; searched through its gradients.
            counted_by: answers in its place where triggers are counted; None = itself.
            halves: images, and the float model's answers to them.
            rng: keyed by one id.
            meter: counts passes.
        """
        pair = Rivals(obeys=model, keeps=None, counted=counted_by)
        images, _ = halves.searched
        targets = list(range(min(CLASSES, meter.answers(model, images[:1]).shape[1])))
        effort = Effort(steps=self.steps, images=self.images)
        for detector, name in INVERTED.items():
            shape = searched(pair, *halves.searched, targets, SHAPES[name], effort, rng.fold(detector), meter)
            sizes = [effective(count, shape) for count in counted(pair, *halves.judged, targets, shape, meter)]
            at = min(range(len(sizes)), key=sizes.__getitem__)
            strength = deviations(sizes[at], sizes[:at] + sizes[at + 1 :])
            yield Sign(
                detector=detector,
                model=label,
                target=targets[at],
                value=sizes[at],
                strength=strength,
                fires=strength >= DEVIATIONS,
            )
        c, h, w = images.shape[1:]
        margins = largest_margins(
            model, (c, h, w), targets, starts=self.starts, steps=self.ascent, rng=rng, meter=meter
        )
        logs = margins.clamp(min=1e-6).log().tolist()
        at = max(range(len(logs)), key=logs.__getitem__)
        p = grubbs(logs)
        yield Sign(
            detector="MM-BD",
            model=label,
            target=targets[at],
            value=float(margins[at]),
            strength=p,
            fires=p <= LEVEL,
        )


def _told(signs: list[Sign]) -> Finding:
    """What fires where, in words; float's own backdoors are none that quantization activates."""
    of_float: dict[int, list[str]] = {}
    for sign in signs:
        if sign.model == FLOAT and sign.fires:
            of_float.setdefault(sign.target, []).append(sign.detector)
    new = [sign for sign in signs if sign.model != FLOAT and sign.fires and sign.target not in of_float]
    several = {sign.target for sign in new if sum(other.target == sign.target for other in new) > 1}
    readings = tuple(
        Reading(
            statistic=f"{sign.detector}: class {sign.target}",
            value=sign.value,
            scheme=None if sign.model == FLOAT else sign.model,
            p_value=sign.strength if sign.detector == "MM-BD" else None,
            z=None if sign.detector == "MM-BD" else sign.strength,
        )
        for sign in signs
    )
    parts = []
    if of_float:
        names = "; ".join(f"class {target} by {' and '.join(found)}" for target, found in of_float.items())
        parts.append(f"The float model itself looks backdoored ({names}), ordinarily: quantization has no part in it")
    if new:
        names = "; ".join(f"{sign.detector} finds class {sign.target} under {sign.model}" for sign in new)
        parts.append(f"Quantized models show what the float model does not ({names})")
    if not parts:
        parts.append("No detector of ordinary backdoors fires, neither on the float model nor on quantized ones")
    target = min(several) if several else None
    first = next((sign for sign in new if sign.target == target), None)
    return Finding(
        says=UNDECIDED if several else (None if of_float or new else CLEAN),
        sentence=". ".join(parts) + ".",
        readings=readings,
        score=max((sign.strength for sign in signs if sign.model != FLOAT and sign.detector != "MM-BD"), default=None),
        named=Named(scheme=first.model if first else None, target=target),
    )
