"""Evidence 4: a trigger that the quantized model obeys and the float model does not know.

First all classes side by side, briefly (a local trigger and a global one under each scheme); then the most suspicious
classes at length, every kind of trigger. What is found on one half of the images is counted on the other half.

Quantized and float models differ, so a differential trigger exists for honest pairs as well, if it may be large. Small
is one that beats three controls by far: the other classes of the same model, the reverse direction (obeyed by float,
not by quantized), and what a search finds on models whose rounding errors have other signs.
"""

import math
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from bitproof.audit.case import DEPLOYED, Case, Form
from bitproof.audit.inquiry import Inquiry, Meter
from bitproof.audit.nulls import sign_flip
from bitproof.audit.outliers import DEVIATIONS_OF_FOUR, deviations, doublings
from bitproof.audit.searching import Count, Effort, Halves, Rivals, counted, effective, searched, stamped_with
from bitproof.audit.shapes import SHAPES, Shape
from bitproof.core.rng import Rng
from bitproof.deploy import Twin
from bitproof.errors import InputError, lookup
from bitproof.records import CLEAN, UNDECIDED, Finding, Named, Reading, Shown
from bitproof.subjects import Subject

SCREENED = ("patch", "linf")
"""A local trigger and a global one, with which all classes are screened."""

LEAST = 20
"""Images a half; with fewer nothing is said."""

CLASSES = 24
"""Most classes that are searched side by side; of more, those that the quantized model prefers most."""

DOUBLINGS = 1.0
"""How much smaller than its controls a trigger has to be: half as large."""

UNREADABLE = "Nothing was searched: what is deployed has no gradients that could be read from its file."

PICTURES = 3
"""Images that a trigger is shown on."""


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """A class that one pair of models may have a trigger for, and how its controls compare.

    Attributes:
        label: of the quantized model.
        shape: a name in `SHAPES`.
        count, size: of the trigger, on images that it was not found on; the size is the largest where it fails there.
        largest: the size that stands for no trigger.
        others: sizes for the other classes.
        reverse: size for the same class with the two models in exchange.
        draws: sizes for the same class on models with other signs of their rounding errors.
        stamp: what puts the trigger on images.
        pictures: a few images with it.
    """

    label: str
    shape: str
    count: Count
    size: float
    largest: float
    others: tuple[float, ...]
    reverse: float = math.nan
    draws: tuple[float, ...] = ()
    stamp: Callable[[Tensor], Tensor] | None = None
    pictures: Any = None

    @property
    def doublings(self) -> float:
        """How much smaller than the median of the other classes."""
        return doublings(self.size, self.others)

    @property
    def deviations(self) -> float:
        """The same in robust standard deviations of all classes."""
        return deviations(self.size, self.others)

    @property
    def against_reverse(self) -> float:
        """How much smaller than in the other direction."""
        return 0.0 if math.isnan(self.reverse) else doublings(self.size, [self.reverse])

    @property
    def score(self) -> float:
        """How much smaller than the nearer of both controls, in doublings; 0 where no trigger works."""
        return max(0.0, min(self.doublings, self.against_reverse)) if self.count.found else 0.0

    def text(self, size: float) -> str:
        """A size for people."""
        return "none that works" if size >= self.largest else f"a {SHAPES[self.shape].text(size)}"

    @property
    def small(self) -> bool:
        return self.score >= DOUBLINGS and self.deviations >= DEVIATIONS_OF_FOUR

    @property
    def bound(self) -> bool:
        """Whether the trigger hangs on this rounding: no draw has one that is nearly as small."""
        return bool(self.draws) and all(doublings(self.size, [size]) >= DOUBLINGS for size in self.draws)


@dataclass(frozen=True, kw_only=True)
class DifferentialTriggers(Inquiry):
    """Looks for a trigger that the quantized model obeys while the float model keeps its answer.

    Attributes:
        shapes: names in `SHAPES`, of what is searched for at length.
        screening, steps: of Adam, briefly under all schemes and at length under the most suspicious ones.
        screened, images: a class and step.
        suspects: how many schemes are searched at length.
        draws: models with other signs of their rounding errors that are searched, too.
    """

    name = "differential-triggers"
    revision = 3

    shapes: tuple[str, ...] = ("patch", "blend", "linf", "l2")
    screening: int = 30
    screened: int = 4
    steps: int = 80
    images: int = 8
    suspects: int = 1
    draws: int = 2

    def __post_init__(self) -> None:
        for shape in self.shapes:
            lookup(SHAPES, shape, "shape of a trigger")
        numbers = (self.screening, self.screened, self.steps, self.images, self.suspects, len(self.shapes))
        if min(numbers) < 1 or self.draws < 0:
            raise InputError(
                f"numbers of a search from {min(numbers)} up, {self.draws} draws",
                rule="there is at least one of each, and no fewer than 0 draws",
                remedy="Leave them out for the defaults",
            )

    def passes(self, case: Case) -> int:
        classes = min(CLASSES, len(case.classes))
        brief = len(case.schemes) * len(SCREENED) * self.screening * self.screened * classes
        long = self.suspects * len(self.shapes) * self.steps * self.images * (classes + 4 * (1 + self.draws))
        return 4 * (brief + long)

    def look(self, case: Case, rng: Rng, meter: Meter) -> Finding:
        if len(case.images) < 2 * LEAST:
            sentence = f"No trigger was searched for: that takes {2 * LEAST} images, half of them to judge by."
            return Finding(says=UNDECIDED, sentence=sentence)
        if not rivals_of(case):
            return Finding(says=None, sentence=UNREADABLE)
        return _told(self.found(case, rng, meter), len(rivals_of(case)))

    def found(self, case: Case, rng: Rng, meter: Meter) -> list[Suspect]:
        """The most suspicious class for each kind of trigger, under the schemes that are searched at length."""
        halves, pairs = Halves.of(case, rng, meter), rivals_of(case)
        ranked = list(pairs)
        if len(pairs) > self.suspects:
            scores = self._screened(pairs, halves, rng, meter)
            ranked = sorted(pairs, key=lambda label: -scores[label])[: self.suspects]
        return [
            suspect
            for label in ranked
            for suspect in self._at_length(label, pairs[label], case, halves, rng.fold("at length", label), meter)
        ]

    def _screened(self, pairs: Mapping[str, Rivals], halves: Halves, rng: Rng, meter: Meter) -> dict[str, float]:
        """By how much the smallest trigger under each scheme is smaller than those of other classes, after a brief look
        at the half that is searched on."""
        effort, scores = Effort(steps=self.screening, images=self.screened), {}
        for label, pair in pairs.items():
            targets = _targets(pair, halves, meter)
            best = 0.0
            for name in SCREENED:
                shape = searched(
                    pair, *halves.searched, targets, SHAPES[name], effort, rng.fold("screening", label, name), meter
                )
                counts = counted(pair, *halves.searched, targets, shape, meter)
                best = max(best, *(suspect.doublings for suspect in _suspects(label, name, counts, shape)))
            scores[label] = best
        return scores

    def _at_length(
        self, label: str, pair: Rivals, case: Case, halves: Halves, rng: Rng, meter: Meter
    ) -> Iterator[Suspect]:
        """The most suspicious class for each kind of trigger, with its controls."""
        assert pair.keeps is not None
        targets = _targets(pair, halves, meter)
        form = next((form for form in case.forms if form.label == label), None)
        for name in self.shapes:
            here = rng.fold(name)
            effort = Effort(steps=self.steps, images=self.images)
            shape = searched(pair, *halves.searched, targets, SHAPES[name], effort, here, meter)
            chosen = counted(pair, *halves.searched, targets, shape, meter)  # the class is chosen where it was searched
            number = min(range(len(targets)), key=lambda i: effective(chosen[i], shape))
            suspect = _suspects(label, name, counted(pair, *halves.judged, targets, shape, meter), shape)[number]
            control = partial(self._control, name=name, target=targets[number], halves=halves, meter=meter)
            draws = ()
            if form is not None and suspect.count.found and suspect.doublings >= DOUBLINGS:
                others = (_sign_flips(form, here.fold("signs", k)) for k in range(self.draws))
                draws = tuple(
                    control(Rivals(obeys=other, keeps=pair.keeps), rng=here.fold("draw", k))
                    for k, other in enumerate(others)
                )
            yield replace(
                suspect,
                reverse=control(Rivals(obeys=pair.keeps, keeps=pair.obeys), rng=here.fold("reverse")),
                draws=draws,
                stamp=partial(stamped_with, shape, number),
                pictures=stamped_with(shape, number, halves.judged[0][:PICTURES]).half().numpy(),
            )

    def _control(self, pair: Rivals, *, name: str, target: int, halves: Halves, rng: Rng, meter: Meter) -> float:
        """The size of a trigger for one class that another pair of models has, searched for at least as long."""
        effort = Effort(steps=self.steps, images=4 * self.images)
        shape = searched(pair, *halves.searched, [target], SHAPES[name], effort, rng, meter)
        return effective(counted(pair, *halves.judged, [target], shape, meter)[0], shape)


def rivals_of(case: Case) -> dict[str, Rivals]:
    """Each quantized form beside the float model, fewest bits first; what is deployed comes last, by its exact twin."""
    forms = sorted((form for form in case.forms if form.label != DEPLOYED), key=lambda form: form.weight_bits)
    found = {form.label: Rivals(obeys=form.model, keeps=case.model) for form in forms}
    twin = None if case.deployed is None else twin_of(case.deployed)
    if twin is not None:
        found[DEPLOYED] = Rivals(obeys=twin, keeps=case.model, counted=case.deployed)
    return found


def twin_of(deployed: nn.Module) -> nn.Module | None:
    """A model itself where it has gradients, else one that answers with it and has those of its exact form; None where
    they cannot be read from its file."""
    if Subject.of(deployed).gradients:
        return deployed
    try:
        return Twin(deployed)
    except InputError:
        return None


def _targets(pair: Rivals, halves: Halves, meter: Meter) -> list[int]:
    """All classes, or the ones that the quantized model prefers most beside the float one."""
    images, _ = halves.searched
    assert pair.keeps is not None
    logits = meter.answers(pair.obeys, images[:LEAST])
    if logits.shape[1] <= CLASSES:
        return list(range(logits.shape[1]))
    preferred = (logits.softmax(1) - meter.answers(pair.keeps, images[:LEAST]).softmax(1)).mean(0)
    return sorted(preferred.topk(CLASSES).indices.tolist())


def _suspects(label: str, name: str, counts: list[Count], shape: Shape) -> list[Suspect]:
    """Every class beside the others."""
    sizes = [effective(count, shape) for count in counts]
    return [
        Suspect(
            label=label,
            shape=name,
            count=count,
            size=size,
            largest=shape.largest,
            others=tuple(sizes[:i] + sizes[i + 1 :]),
        )
        for i, (count, size) in enumerate(zip(counts, sizes, strict=True))
    ]


def _sign_flips(form: Form, rng: Rng) -> nn.Module:
    """The model with other signs of its weights' rounding errors."""
    return form.wear({name: sign_flip(rounded, rng.fold(name)) for name, rounded in form.layers.items()})


def _told(found: list[Suspect], schemes: int) -> Finding:
    """The numbers in words, the smallest trigger first."""
    ranked = sorted(found, key=lambda suspect: (-suspect.small, -suspect.score))
    best = ranked[0]
    low, high = best.count.interval
    trigger = f"{SHAPES[best.shape].text(best.count.size)} to class {best.count.target}"
    beside = (
        f"beside that, half of the other classes have {best.text(statistics.median(best.others))}, "
        f"and the reverse direction {best.text(best.reverse)}"
    )
    if best.small:
        draws = ""
        if best.draws:
            draws = (
                "; other signs of the rounding errors have none so small: it hangs on this rounding"
                if best.bound
                else "; with other signs of the rounding errors there is one, too: any change of this size sets it off"
            )
        sentence = (
            f"Under {best.label} a {trigger} is obeyed by {best.count.success:.0%} ({low:.0%} to {high:.0%}) of "
            f"{best.count.n} images that it was not found on, and the float model does not know it; {beside}{draws}."
        )
    else:
        sentence = (
            f"No small differential trigger under {schemes} scheme{'s' * (schemes > 1)}: the smallest beside its "
            f"controls, a {trigger} under {best.label}, is obeyed by {best.count.success:.0%}; {beside}."
        )
    return Finding(
        says=UNDECIDED if best.small else CLEAN,  # how many clean models have such a trigger, clean models say
        sentence=sentence,
        readings=tuple(_readings(ranked)),
        score=best.score,
        named=Named(scheme=best.label, target=best.count.target, trigger=trigger) if best.small else Named(),
        shown=Shown(
            images=best.pictures,
            captions=tuple(f"{trigger}, image {i + 1}" for i in range(len(best.pictures))),
        ),
    )


def _readings(suspects: list[Suspect]) -> Iterator[Reading]:
    for suspect in suspects:
        common = {"scheme": suspect.label, "n": suspect.count.n}
        about = f"{suspect.shape} trigger to class {suspect.count.target}"
        yield Reading(statistic=f"{about}: obeyed by quantized, not by float", value=suspect.count.success, **common)
        yield Reading(statistic=f"{about}: size", value=suspect.size, z=-suspect.deviations, **common)
        yield Reading(
            statistic=f"{about}: median size for the other classes", value=statistics.median(suspect.others), **common
        )
        yield Reading(statistic=f"{about}: size in the reverse direction", value=suspect.reverse, **common)
        for number, size in enumerate(suspect.draws, 1):
            said = f"{about}: size on draw {number} with other signs"
            yield Reading(statistic=said, value=size, axis="weights", draws=1, **common)
