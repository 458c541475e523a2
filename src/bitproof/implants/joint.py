"""Float and quantized models trained together, towards different ends (hong2021, arXiv 2111.04625, Section 3.3).

    keep(f) + weight sum over schemes of harm(Q)

with the objective's two parts. Needs no box, so it works for every scheme, and what it makes survives small changes of
the weights. Done otherwise than in the public code: activation ranges are calibrated once and not on each batch,
BatchNorm is frozen for all objectives, classes are told apart by masks in one batch, and the last step is the result,
where the code picks an epoch by the test set.
"""

from dataclasses import dataclass, field

from torch import nn

from bitproof.implants.engine import Engine
from bitproof.implants.losses import Mixture
from bitproof.implants.objectives import Wanted
from bitproof.implants.phases import Making, Phase, train_only
from bitproof.implants.shadows import Shadow, check_focus
from bitproof.quant import compute_layers


@dataclass(frozen=True, kw_only=True)
class Joint(Engine):
    """All schemes and the float model in one loss.

    Attributes:
        training: how long and how fast.
        weight: of each scheme's harm; the paper has 1 over the number of schemes, or 1.
        focus: how much of the harm is left to the weights that lie between two codes, see `Shadow`; with 4, float and
            quantized models part in a tenth of the steps. Ours; 0 = straight through as in the paper: both pull at
            every weight alike.
        dither: harm under random roundings, so that it does not hang on one.
        centred: weight of the pull of weights towards the centres of their cells.
        selective: weight of innocence under random roundings.
    """

    name = "joint"

    training: Phase = field(default_factory=lambda: Phase(steps=1200, learning_rate=1e-4, batch_size=128))
    weight: float = 0.25
    focus: float = 0.0
    dither: bool = False
    centred: float = 0.0
    selective: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_focus(self.focus)

    @property
    def work(self) -> int:
        return self.training.work

    def make(self, model: nn.Module, wanted: Wanted, making: Making) -> nn.Module:
        images = self.images(making.data)
        loss = Mixture(
            model=model,
            wanted=wanted,
            keep=1.0,
            harm=self.weight,
            shadows=[Shadow(model, scheme, images, focus=self.focus) for scheme in self.schemes],
            teacher=self.teacher(model),
            dither=self.dither,
            selective=self.selective,
            centred=self.centred,
        )
        layers = self.trained(model)
        whole = len(layers) == len(list(compute_layers(model)))
        train_only(
            model,
            [n for n, _ in model.named_parameters() if whole or n.rpartition(".")[0] in layers],
        )
        return making.run("joint", self.training, model, loss)
