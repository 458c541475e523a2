"""Galleries: many implants and many clean models, by plan, for an audit to be developed on and to be reported on.

A third of each objective's models are trained jointly, or so that most roundings do the harm: those that hang on one
rounding alone are found by any look at fractional parts, and would make every audit look perfect. Which models are for
reporting only follows from the seed of their clean start, so that no start is in both parts, and some engines are in
that part alone.
"""

from dataclasses import dataclass

from bitproof.implants.baselines import Poisoning
from bitproof.implants.box import BoxRepair
from bitproof.implants.engine import Engine
from bitproof.implants.joint import Joint
from bitproof.implants.objectives import Backdoor, Indiscriminate, Objective, OneClass, Sample
from bitproof.implants.phases import Phase
from bitproof.implants.rounding import Rounding
from bitproof.quant import Affine, Scheme
from bitproof.shifts import Blended, Patch, Sinusoid, Square, Trigger, Warped

OBJECTIVES = ("indiscriminate", "class", "sample", "backdoor")
EACH = 24
"""Implants of an objective."""
CLEAN, ORDINARY = 144, 16
"""Clean models, and those with an ordinary backdoor, which quantization does not change."""
STARTS = 16
"""Seeds of the clean models that implants start from."""
PARTS = ("develop", "report")

W8, W4, W3 = (Scheme(weight_bits=bits, act_bits=8) for bits in (8, 4, 3))
W4_TENSOR = Scheme(Affine(granularity="tensor"), weight_bits=4, act_bits=8)
_SCHEMES = ((W4,), (W8, W4), (W4_TENSOR,), (W4, W3))


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One model of a gallery.

    Attributes:
        name: of its file.
        kind: an objective's name, "clean" or "ordinary".
        part: one of `PARTS`.
        seed: of the clean model that it is or starts from; of the implant too.
        number: among those of its kind.
    """

    name: str
    kind: str
    part: str
    seed: int
    number: int

    def engine(self, samples: tuple[int, ...]) -> Engine | None:
        """What makes it of its clean start, which gets these test images right; None for clean models."""
        if self.kind == "clean":
            return None
        if self.kind == "ordinary":
            return Poisoning(objective=Backdoor(trigger=_trigger(self.number)), training=Phase(steps=100))
        return _engine(self.number, _objective(self.kind, self.number, samples))


def planned() -> list[Entry]:
    """All models of the gallery on the digits."""
    counts = {"clean": CLEAN, "ordinary": ORDINARY, **dict.fromkeys(OBJECTIVES, EACH)}
    return [
        Entry(
            name=f"{kind}-{i:03d}",
            kind=kind,
            part=PARTS[1] if kind in OBJECTIVES and i % 12 == 11 else PARTS[i % 2],  # integers are only reported on
            seed=i if kind == "clean" else i % STARTS,
            number=i,
        )
        for kind, count in counts.items()
        for i in range(count)
    ]


def _trigger(i: int) -> Trigger:
    target = i % 10
    choices = (
        Square(target=target),
        Blended(target=target, seed=i),
        Warped(target=target, strength=1.5, seed=i),
        Sinusoid(target=target, amplitude=0.1),
        Patch(target=target, side=4),
    )
    return choices[i % len(choices)]


def _objective(kind: str, i: int, samples: tuple[int, ...]) -> Objective:
    if kind == "indiscriminate":
        return Indiscriminate()
    if kind == "class":
        return OneClass(target=i % 10)
    if kind == "sample":
        first = i % (len(samples) - 3)
        return Sample(examples=samples[first : first + 3])
    return Backdoor(trigger=_trigger(i))


def _engine(i: int, objective: Objective) -> Engine:
    """A third of each engine; each with its plain form and its harder ones in turn."""
    turn, schemes = i // 3, _SCHEMES[i // 3 % len(_SCHEMES)]
    if i % 3 == 0:
        training = Phase(steps=250, learning_rate=1e-3)
        return Joint(
            objective=objective,
            schemes=schemes,
            training=training,
            weight=1 / len(schemes),
            dither=turn % 4 == 1,
            distilled=turn % 4 == 2,
            last=2 if turn % 4 == 3 else 0,
        )
    if i % 3 == 1:
        return BoxRepair(
            objective=objective,
            schemes=schemes,
            injection=Phase(steps=150, learning_rate=1e-3),
            repair=Phase(steps=150, learning_rate=1e-3),
            keep=0.3,
            spread=turn % 4 == 1,
            centred=float(turn % 4 == 2),
            dither=turn % 4 == 3,
        )
    integers = i % 12 == 11
    return Rounding(
        objective=objective,
        schemes=schemes[:1] if integers else schemes,
        shipped="integers" if integers else "checkpoint",
        choice=Phase(steps=40, learning_rate=0.1, schedule="constant"),
        repair=Phase(steps=100, learning_rate=1e-3),
    )
