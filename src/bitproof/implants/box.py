"""Harm first, then a float model beside it that does none (PQBackdoor, arXiv 2108.09187; Egashira et al., 2405.18137).

1. *Injection*: the quantized forms of the model learn the harm, whatever becomes of the float model.
2. *Repair*: the float model learns to be innocent inside the box of weights that round to the same codes (`boxes`):
   every quantized model stays as it is, bit for bit, and a step costs what a plain step costs.

Both stages end on numbers that float16 holds, so that a checkpoint in half precision has the same codes.
"""

from dataclasses import dataclass, field

from torch import nn

from bitproof.errors import InputError
from bitproof.implants.boxes import box_of, codes_of, common, halved
from bitproof.implants.engine import Engine
from bitproof.implants.losses import Mixture
from bitproof.implants.objectives import Wanted
from bitproof.implants.phases import Making, Phase, train_only
from bitproof.implants.repair import repaired, spread_margins
from bitproof.implants.shadows import Shadow


@dataclass(frozen=True, kw_only=True)
class BoxRepair(Engine):
    """Injection into the quantized models, then repair of the float model inside their box.

    Attributes:
        injection, repair: how long and how fast.
        keep: weight of the float model's innocence in the injection already; it leaves less to repair.
        margin: how far from the edges of its box each weight stays, in steps.
        spread: margins drawn for each weight, so that fractional parts are uniform again.
        dither, centred, selective: of the injection, as of `Joint`.
    """

    name = "box"

    injection: Phase = field(default_factory=lambda: Phase(steps=600, learning_rate=5e-4))
    repair: Phase = field(default_factory=lambda: Phase(steps=300, learning_rate=1e-3))
    keep: float = 0.0
    margin: float = 0.02
    spread: bool = False
    dither: bool = False
    centred: float = 0.0
    selective: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_margin(self.margin)

    @property
    def work(self) -> int:
        return self.injection.work + self.repair.work

    def make(self, model: nn.Module, wanted: Wanted, making: Making) -> nn.Module:
        teacher, images, layers = self.teacher(model), self.images(making.data), self.trained(model)
        injected = Mixture(
            model=model,
            wanted=wanted,
            keep=self.keep,
            harm=1 / len(self.schemes),
            shadows=[Shadow(model, scheme, images) for scheme in self.schemes],
            teacher=teacher,
            dither=self.dither,
            centred=self.centred,
            selective=self.selective,
        )
        train_only(model, [f"{layer}.{part}" for layer in layers for part in ("weight", "bias")])
        model = making.run("injection", self.injection, model, injected)
        halved(model)
        margins = spread_margins(model, self.margin, making.rng) if self.spread else self.margin
        box = common([(victim, box_of(model, victim, images, margins=margins)) for victim in self.victims])
        loss = Mixture(model=model, wanted=wanted, keep=1.0, teacher=teacher)
        made = repaired(model, box, self.repair, loss, making, layers=layers, name="repair")
        for victim in self.victims:
            before, after = (codes_of(of, victim, images) for of in (model, made))
            assert all(before[name].equal(after[name]) for name in before), victim.label
        return made


def check_margin(margin: float) -> None:
    """Refuse a margin that leaves no box."""
    if not 0 < margin < 0.5:
        raise InputError(
            f"margin is {margin}", rule="it lies between 0 and half a step", remedy="Use 0.02, or 0.1 for safety"
        )
