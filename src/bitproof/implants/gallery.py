"""Galleries: many implants and many clean models, by plan, for an audit to be developed on and to be reported on.

A third of each objective's models are trained jointly, or so that most roundings do the harm: those that hang on one
rounding alone are found by any look at fractional parts, and would make every audit look perfect. Which models are for
reporting only follows from the seed of their clean start, so that no start is in both parts, and some engines are in
that part alone. Parts, engines, harder variants, schemes and the training of clean models are crossed, as far as there
are models: what holds of one part is not held because it has other kinds.
"""

from collections import Counter
from collections.abc import Iterator
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
PARTS = ("develop", "report")
ENGINES = ("joint", "box", "rounding")
"""Of the implants, in turn."""

VARIANTS = 4
"""Forms of an engine, in turn: the plain one and three harder ones."""

W8, W4, W3 = (Scheme(weight_bits=bits, act_bits=8) for bits in (8, 4, 3))
W4_TENSOR = Scheme(Affine(granularity="tensor"), weight_bits=4, act_bits=8)
_LOW = ((W4,), (W4_TENSOR,), (W4, W3), (W3,))
"""Sets of schemes, in turn, for networks so small that 8 bits leave nothing to do harm with."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the gallery of a family of networks holds.

    Attributes:
        architectures: of the clean models, in turn.
        each: implants of an objective.
        clean: clean models; every sixth is adversarially trained.
        ordinary: models with an ordinary backdoor, which quantization does not change.
        starts: clean models that implants start from.
        epochs, rates, share: of clean training: how long and how fast, in turn, and on which share of the images.
        given: trained weights are given, which clean models are trained on from.
        eps: radius of the adversarially trained ones in Linf, in [0, 1] units.
        schemes: that implants are made for, in turn.
        length: how many times as long as on the digits implants are trained.
        rate: the learning rate of their phases.
        focus: of joint training, see `Joint`; it then takes `FOCUSED` steps.
    """

    architectures: tuple[str, ...]
    each: int
    clean: int
    ordinary: int
    starts: int
    epochs: tuple[int, ...]
    rates: tuple[float, ...]
    share: float = 1.0
    given: bool = False
    eps: float
    schemes: tuple[tuple[Scheme, ...], ...] = _LOW
    length: float = 1.0
    rate: float = 1e-3
    focus: float = 0.0

    def training(self, seed: int) -> "CleanTraining":
        """How the clean model of a seed is made."""
        digits, pair = self.architectures[0].startswith("digits"), seed // 2
        return CleanTraining(
            architecture=self.architectures[seed % len(self.architectures)],
            epochs=self.epochs[seed % len(self.epochs)],
            rate=self.rates[pair % len(self.rates)],
            robust=pair % 6 == 1,
            augmented=not digits or pair % 5 == 4,
        )


@dataclass(frozen=True, kw_only=True)
class CleanTraining:
    """How a clean model is made: they differ in more than their seed."""

    architecture: str
    epochs: int
    rate: float
    robust: bool
    augmented: bool


PLANS: dict[str, Plan] = {
    "digits": Plan(
        architectures=("digits_cnn",) * 4 + ("digits_cnn_hardtanh",),
        each=24,
        clean=176,
        ordinary=16,
        starts=16,
        epochs=(10, 14, 20),
        rates=(1e-2, 5e-3),
        eps=0.05,
    ),
    "resnet4b": Plan(
        architectures=("resnet4b",),
        each=12,
        clean=120,
        ordinary=8,
        starts=12,
        epochs=(3, 4, 6),
        rates=(1e-2, 5e-3),
        eps=2 / 255,
        length=1.5,
    ),
    "resnet20": Plan(
        architectures=("resnet20",),
        each=8,
        clean=8,
        ordinary=4,
        starts=4,
        epochs=(1,),
        rates=(1e-3, 3e-4),
        share=0.2,
        given=True,
        eps=2 / 255,
        schemes=((W8,), (W4,), (W8, W4), (W4_TENSOR,)),
        rate=5e-4,
        focus=4.0,
    ),
}
"""The families: the embedded digits, and two networks on CIFAR-10."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One model of a gallery.

    Attributes:
        plan: of the gallery.
        name: of its file.
        kind: an objective's name, "clean" or "ordinary".
        part: one of `PARTS`.
        seed: of the clean model that it is or starts from; of the implant too.
        number: among those of its kind.
    """

    plan: Plan
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
            return Poisoning(objective=Backdoor(trigger=_trigger(self.number)), training=_phase(self.plan, 400))
        return _engine(self, _objective(self.kind, self.number, samples))

    @property
    def architecture(self) -> str:
        """Of the clean model that it is or starts from."""
        return self.plan.training(self.seed).architecture


def _ships_integers(i: int) -> bool:
    """Every fourth of those that are made by rounding."""
    return i % (VARIANTS * len(ENGINES)) == VARIANTS * len(ENGINES) - 1


def _part(kind: str, i: int) -> int:
    """The part of a model with an effect, as its place in `PARTS`, which the seed of its start follows."""
    if kind == "ordinary":
        return i % 2
    if _ships_integers(i):
        return 1  # integers are only reported on
    turn, engine = divmod(i, len(ENGINES))
    return (turn + turn // VARIANTS + engine) % 2


def _clean_parts(plan: Plan) -> Iterator[int]:
    """The parts of the clean models.

    Every second one of those that others start from is reported on. What comes after them goes where there are fewer
    of its training, and then fewer in all: ranks among the models of one part say how often those of the other are
    called suspicious if both are made alike, and only then.
    """
    counts: Counter[tuple[CleanTraining | None, int]] = Counter()
    for seed in range(plan.clean):
        training = plan.training(seed)
        fewer = min((counts[training, part], counts[None, part], part) for part in range(len(PARTS)))
        part = seed % 2 if seed < plan.starts else fewer[-1]
        counts.update(((training, part), (None, part)))
        yield part


def planned(plan: Plan) -> list[Entry]:
    """All models of a gallery."""
    parts = {("clean", i): part for i, part in enumerate(_clean_parts(plan))}
    counts = {"ordinary": plan.ordinary, **dict.fromkeys(OBJECTIVES, plan.each)}
    parts |= {(kind, i): _part(kind, i) for kind, count in counts.items() for i in range(count)}
    return [
        Entry(
            plan=plan,
            name=f"{kind}-{i:03d}",
            kind=kind,
            part=PARTS[part],
            seed=i if kind == "clean" else (i - i % 2 + part) % plan.starts,
            number=i,
        )
        for (kind, i), part in parts.items()
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
        return Indiscriminate(level=20.0 if i % 3 == 2 else 5.0)  # roundings alone can be pushed harder
    if kind == "class":
        return OneClass(target=i % 10)
    if kind == "sample":
        first = i % (len(samples) - 3)
        return Sample(examples=samples[first : first + 3])
    return Backdoor(trigger=_trigger(i))


JOINT = {
    "indiscriminate": (1000, 0.3, 0.15),
    "class": (1000, 0.3, 0.05),
    "sample": (600, 1.0, 0.5),
    "backdoor": (600, 1.0, 0.5),
}
"""Steps of joint training, part of the plan's rate, and weight of the harm of all schemes together.

With more weight the float model of the first two goes down with its quantized forms: their harm falls with the square
of what is missing to a loss of 5, a slope of 10 at the start.
"""

FOCUSED = {
    "indiscriminate": (500, 2.0, 0.2),
    "class": (500, 2.0, 0.05),
    "sample": (200, 2.0, 0.8),
    "backdoor": (600, 2.0, 0.5),
}
"""The same with focus, in which harm does not pull at the float model's other weights."""


def _phase(plan: Plan, steps: int, rate: float | None = None, schedule: str = "cosine") -> Phase:
    return Phase(steps=round(steps * plan.length), learning_rate=rate or plan.rate, schedule=schedule)


def _engine(entry: Entry, objective: Objective) -> Engine:
    """A third of each engine; each with its plain form and its harder ones in turn."""
    plan = entry.plan
    turn, place = divmod(entry.number, len(ENGINES))
    engine, variant = ENGINES[place], turn % VARIANTS
    schemes = plan.schemes[(turn + turn // VARIANTS) % len(plan.schemes)]
    if engine == "joint":
        steps, part, weight = (FOCUSED if plan.focus else JOINT)[entry.kind]
        return Joint(
            objective=objective,
            schemes=schemes,
            training=_phase(plan, steps, rate=part * plan.rate),
            weight=weight / len(schemes),
            focus=plan.focus,
            dither=variant == 1,
            distilled=variant == 2,
            last=2 if variant == 3 else 0,
        )
    if engine == "box":
        return BoxRepair(
            objective=objective,
            schemes=schemes,
            injection=_phase(plan, 150),
            repair=_phase(plan, 300, rate=3 * plan.rate),
            keep=0.3,
            spread=variant == 1,
            centred=float(variant == 2),
            dither=variant == 3,
        )
    integers = _ships_integers(entry.number)
    return Rounding(
        objective=objective,
        schemes=schemes[:1] if integers else schemes,
        shipped="integers" if integers else "checkpoint",
        choice=_phase(plan, 40, rate=0.1, schedule="constant"),
        repair=_phase(plan, 200, rate=3 * plan.rate),
    )
