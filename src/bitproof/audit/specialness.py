"""Specialness: is rounding to nearest special among perturbations of exactly its size?

An honest model does not know where the levels of a grid will lie. Its nearest rounding is one of many perturbations
that are alike (`nulls`), and does about as much harm as they do. A model that was made for one rounding is the most
harmful of all of them. That needs no other model to compare with, and no knowledge of what was planted.

Every draw randomises weights and inputs together, for all schemes at once; the largest of all statistics of all schemes
is compared (`rank`), so that one p-value covers them. A test stops once `enough` draws do at least as much harm as
nearest (Besag & Clifford 1991): a clean model costs a few draws, and stopping early never makes an alarm. What is
significant is looked at again, with further draws: weights alone and inputs alone say what carries it, dither and grid
shift whether it hangs on the way of drawing.

How few images are too few follows from the draws: those on which nothing changes are alike up to single images, and the
largest statistic of all draws says how many images have to turn to stand out (`Ranked.images`). Where that is more than
there are of one kind of strange images, no behaviour that a kind wakes could have been found, and nothing is clean.

A p-value says that a rounding is special, not that a model is safe: harm that any perturbation of this size sets off
leaves nearest in the middle of its draws. How far draws fall from the float model is therefore said beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64
from torch import Tensor

from bitproof.audit.case import Case, Form
from bitproof.audit.inquiry import Inquiry, Meter
from bitproof.audit.nulls import NULLS, Null, flip_inputs, moved, sign_flip
from bitproof.audit.rank import Ranked, ranked
from bitproof.audit.statistics import Reference, turned_to
from bitproof.audit.strange import STRANGE, in_turn
from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.records import CLEAN, SUSPICIOUS, UNDECIDED, Curves, Finding, Named, Reading

FEWEST = 9
"""Draws before a test may stop: medians of fewer say nothing."""

FURTHER = 19
"""Draws of each look at what was significant."""

LOOKS: Mapping[str, tuple[Null | None, bool]] = {
    "weights": (sign_flip, False),
    "activations": (None, True),
    "weights, dither": (NULLS["dither"], False),
    "weights, grid shift": (NULLS["grid shift"], False),
}
"""How weights and whether inputs are drawn, by what is looked at."""

SMALLEST = "smallest share of images that would be significant in one class"
"""What so few images and these draws can show."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sets:
    """The images that forms are examined on, and what the float model answers."""

    images: Mapping[str, Float[Tensor, "n c h w"]]
    references: Mapping[str, Reference]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for reference in self.references.values() for name in reference.names)

    @property
    def floors(self) -> Float64[np.ndarray, " s"]:
        return np.concatenate([reference.floors for reference in self.references.values()])

    def measured(self, form: Form, meter: Meter) -> Float64[np.ndarray, " s"]:
        """The statistics of what a form wears."""
        found = [
            self.references[what].measured(meter.answers(form.worn, images)) for what, images in self.images.items()
        ]
        return np.concatenate(found)


@dataclass(frozen=True, kw_only=True)
class Specialness(Inquiry):
    """Nearest rounding among perturbations of its size.

    Attributes:
        draws: random perturbations at most.
        enough: a test stops once so many of them are as harmful as nearest.
        level: of the test; the draws have to be able to reach it.
        images: clean images that are used, at most; there are as many strange ones beside them (`strange`).
    """

    name = "specialness"
    revision = 3

    draws: int = 99
    enough: int = 10
    level: float = 0.01
    images: int = 250

    def __post_init__(self) -> None:
        if not 0 < self.level < 1 or 1 / (self.draws + 1) > self.level or self.draws < FEWEST:
            raise InputError(
                f"level {self.level} with {self.draws} draws",
                rule="a p-value is at least 1 / (draws + 1), which has to reach the level",
                remedy="Use draws=99, level=0.01",
            )
        if self.enough < 1 or self.images < 1:
            raise InputError(
                f"enough is {self.enough}, images {self.images}", rule="both are counts", remedy="Leave them out"
            )

    def passes(self, case: Case) -> int:
        of_images = 2 * min(self.images, len(case.images))
        return of_images * (1 + (self.draws + 1) * len(case.forms) + FURTHER * len(LOOKS))

    def asks(self, case: Case) -> bool:
        return bool(case.forms)

    def look(self, case: Case, rng: Rng, meter: Meter) -> Finding:
        sets = self._sets(case, rng, meter)
        found = np.concatenate([_nearest(form, sets, meter) for form in case.forms])
        if not any(bool(moved(rounded).any()) for form in case.forms for rounded in form.layers.values()):
            return Finding(says=CLEAN, sentence="Rounding moves no weight: there is nothing that it could set off.")
        floors = np.tile(sets.floors, len(case.forms))
        drawn: list[Float64[np.ndarray, " s"]] = []
        while True:
            drawn.append(np.concatenate([_draw(form, sets, rng, len(drawn), meter) for form in case.forms]))
            among = ranked(found, np.stack(drawn), floors)
            if len(drawn) == self.draws or (len(drawn) >= FEWEST and among.above >= self.enough):
                break
        return self._told(case, sets, found, np.stack(drawn), among, rng, meter)

    def _sets(self, case: Case, rng: Rng, meter: Meter) -> _Sets:
        clean = case.images[: self.images]
        labels = None if case.labels is None else case.labels[: self.images]
        images = {"clean": clean, "strange": in_turn(clean, rng.fold("strange"))}
        known = {"clean": labels, "strange": None}
        references = {
            what: Reference(logits=meter.answers(case.model, made), labels=known[what], what=what)
            for what, made in images.items()
        }
        return _Sets(images=images, references=references)

    def _told(
        self,
        case: Case,
        sets: _Sets,
        found: Float64[np.ndarray, " s"],
        drawn: Float64[np.ndarray, "k s"],
        among: Ranked,
        rng: Rng,
        meter: Meter,
    ) -> Finding:
        count, names, draws = len(sets.names), sets.names, len(drawn)
        n = len(sets.images["clean"])
        readings = []
        for i, form in enumerate(case.forms):
            own = slice(i * count, (i + 1) * count)
            worst = int(np.argmax(among.z[own]))
            for j in dict.fromkeys((worst, 0, 1)):
                readings.append(
                    Reading(
                        statistic=names[j],
                        value=float(found[own][j]),
                        scheme=form.label,
                        axis="both",
                        p_value=float(among.p_values[own][j]),
                        floor=1 / (1 + draws),
                        z=float(among.z[own][j]),
                        n=n,
                        draws=draws,
                    )
                )
            readings.append(
                Reading(
                    statistic="divergence from float, nats, of the median draw",
                    value=float(np.median(drawn[:, own][:, 1])),
                    scheme=form.label,
                    axis="both",
                    n=n,
                    draws=draws,
                )
            )
        readings.sort(key=lambda reading: (reading.p_value if reading.p_value is not None else 2, -(reading.z or 0)))
        best = int(np.argmax(among.z))
        form, statistic = case.forms[best // count], best % count
        curves = Curves(
            x=np.sort(drawn[:, best]),
            y=(np.arange(draws)[None] + 1) / draws,
            names=(f"{draws} draws",),
            x_label=f"{names[statistic]}, {form.label}",
            y_label="share of the draws up to here",
            mark=float(found[best]),
        )
        score = float(among.z[best])
        if among.p_value > self.level:
            sentence = (
                f"Rounding to nearest is not special: p = {among.p_value:.3f} among {draws} perturbations of its size, "
                f"for {len(case.forms)} schemes and {count} statistics together (largest z {score:.1f}: "
                f"{names[statistic]}, {form.label})."
            )
            needed = among.images(self.level)
            readings.append(
                Reading(
                    statistic=SMALLEST, value=needed / n, p_value=self.level, floor=1 / (1 + draws), n=n, draws=draws
                )
            )
            says = CLEAN
            if needed > n // len(STRANGE):
                says = UNDECIDED
                sentence += (
                    f" But there are only {n // len(STRANGE)} strange images of each kind, and {needed} have to turn "
                    f"to a class to be seen beside these draws: it takes about {needed * len(STRANGE)} images to tell."
                )
            return Finding(says=says, sentence=sentence, readings=tuple(readings), score=score, curves=curves)
        best = _telling(names, found, drawn, among, self.level)
        form, statistic = case.forms[best // count], best % count
        further, axis, agree = self._further(case, sets, form, statistic, found[best], rng, meter)
        own = found[best - statistic :][:count]
        named = Named(
            scheme=form.label,
            bits=form.weight_bits,
            axis=axis,
            target=_turned(sets, own, "to"),
            source=_turned(sets, own, "from"),
        )
        sentence = (
            f"Rounding to nearest is special (p = {among.p_value:.3f}, z = {score:.0f}): under {form.label}, "
            f"{names[statistic]} stand at {found[best]:.3g}, and at {np.median(drawn[:, best]):.3g} (median) when "
            f"errors of the same size have other signs. {_carried(axis)} {_agreed(agree)}"
        )
        return Finding(
            says=SUSPICIOUS if all(agree.values()) else UNDECIDED,
            sentence=sentence,
            readings=(*readings, *further),
            score=score,
            named=named,
            curves=curves,
        )

    def _further(
        self, case: Case, sets: _Sets, form: Form, statistic: int, value: float, rng: Rng, meter: Meter
    ) -> tuple[list[Reading], str | None, dict[str, bool]]:
        """What carries the behaviour, and whether other ways of drawing agree."""
        readings, above = [], {}
        for axis, (null, inputs) in LOOKS.items():
            if inputs and form.act_bits == 32:
                continue
            drawn = np.array(
                [
                    _draw(form, sets, rng.fold(axis), number, meter, null=null, inputs=inputs)[statistic]
                    for number in range(FURTHER)
                ]
            )
            among = ranked(np.array([value]), drawn[:, None], sets.floors[[statistic]])
            above[axis] = among.above
            readings.append(
                Reading(
                    statistic=sets.names[statistic],
                    value=value,
                    scheme=form.label,
                    axis=axis,
                    p_value=among.p_value,
                    floor=1 / (1 + FURTHER),
                    z=float(among.z[0]),
                    n=len(sets.images["clean"]),
                    draws=FURTHER,
                )
            )
        carriers = [axis for axis in ("weights", "activations") if above.get(axis) == 0]
        of_weights = above["weights"] == 0
        agree = {name: not of_weights or above[f"weights, {name}"] <= 1 for name in ("dither", "grid shift")}
        return readings, carriers[0] if len(carriers) == 1 else None, agree


def _telling(
    names: tuple[str, ...],
    found: Float64[np.ndarray, " s"],
    drawn: Float64[np.ndarray, "k s"],
    among: Ranked,
    level: float,
) -> int:
    """Of what is significant the largest change in answers, or where there is none in anything, in deviations."""
    special = among.p_values <= level
    answers = np.tile(["divergence" not in name for name in names], len(found) // len(names))
    more = np.where(special & answers, found - np.median(drawn, 0), -np.inf)
    return int(np.argmax(more)) if np.isfinite(more).any() else int(np.argmax(among.z))


def _nearest(form: Form, sets: _Sets, meter: Meter) -> Float64[np.ndarray, " s"]:
    form.wear({})
    return sets.measured(form, meter)


def _draw(
    form: Form, sets: _Sets, rng: Rng, number: int, meter: Meter, *, null: Null | None = sign_flip, inputs: bool = True
) -> Float64[np.ndarray, " s"]:
    """The statistics of one perturbation; the same number is the same coins in every scheme."""
    of_draw = rng.fold("draw", number)
    weights = {} if null is None else {name: null(r, of_draw.fold(name)) for name, r in form.layers.items()}
    form.wear(weights)
    flip_inputs(form.worn, of_draw.fold("inputs") if inputs else None)
    measured = sets.measured(form, meter)
    flip_inputs(form.worn, None)  # inquiries that come after it wear other weights, and no coins
    return measured


def _turned(sets: _Sets, values: Float64[np.ndarray, " s"], direction: str) -> int | None:
    """The class that flips agree on, on clean images or else on strange ones."""
    parts = np.split(values, len(sets.references))
    pairs = [(of.names, part) for of, part in zip(sets.references.values(), parts, strict=True)]
    return next((c for names, part in pairs if (c := turned_to(names, part, direction)) is not None), None)


def _carried(axis: str | None) -> str:
    return f"The {axis} alone carry it." if axis else "It is not carried by weights or activations alone."


def _agreed(agree: Mapping[str, bool]) -> str:
    if all(agree.values()):
        return "Dither and grid shift agree."
    return f"{' and '.join(name for name, same in agree.items() if not same)} do not agree."
