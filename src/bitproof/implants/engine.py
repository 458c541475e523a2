"""What every engine is: a setting that makes of a clean model one whose behaviour quantization changes, and marks it.

The models are made to test audits and defences with. Each says in its metadata what was done to it.
"""

import abc
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from bitproof.core.calling import answer, plain_context
from bitproof.core.copying import copied
from bitproof.core.rng import Rng
from bitproof.data import Data
from bitproof.errors import InputError, lookup
from bitproof.implants.boxes import Victim
from bitproof.implants.objectives import Objective, Wanted
from bitproof.implants.phases import Making
from bitproof.quant import Scheme, compute_layers, freeze
from bitproof.settings import describe, digest
from bitproof.subjects.fingerprint import fingerprint
from bitproof.train.loop import Advance
from bitproof.train.teaching import check_start

FOLDINGS = {"no": (False,), "yes": (True,), "both": (False, True)}
"""Whether the victim folds BatchNorm before it quantizes, does not, or may do either."""

JUDGED = 512
"""Training images on which it is seen whether the float model still works."""


def ignore(*_: Any) -> None:
    """Nobody watches."""


@dataclass(frozen=True, kw_only=True)
class Engine(abc.ABC):
    """A way to make a model that behaves once it is quantized as it does not before.

    Attributes:
        objective: what quantization activates.
        schemes: of the victims that it is made for.
        folding: whether these fold BatchNorm first, a name in `FOLDINGS`.
        calibration: number of training images that set activation ranges.
        last: only so many of the last compute layers are changed; 0 = all.
        distilled: the float model keeps the logits of the clean one instead of the labels (arXiv 2104.15129).
    """

    name: ClassVar[str]

    objective: Objective
    schemes: tuple[Scheme, ...] = (Scheme(),)
    folding: str = "no"
    calibration: int = 512
    last: int = 0
    distilled: bool = False

    def __post_init__(self) -> None:
        lookup(FOLDINGS, self.folding, "folding")
        if not isinstance(self.objective, Objective):
            raise InputError(
                f"objective is {self.objective!r:.80}",
                rule="it is a setting that derives from Objective",
                remedy="Use for example bp.implants.Indiscriminate()",
            )
        if not isinstance(self.schemes, tuple) or not all(isinstance(scheme, Scheme) for scheme in self.schemes):
            raise InputError(
                f"schemes is {self.schemes!r:.80}",
                rule="it is a tuple of schemes",
                remedy='Use for example (bp.Scheme.parse("w8a8"),)',
            )
        if not self.schemes:
            raise InputError(
                "no schemes", rule="an implant is made for at least one", remedy="Write for example schemes=w8a8+w4a8"
            )
        if any(scheme.weight_bits == 32 for scheme in self.schemes):
            raise InputError(
                f"scheme {next(s.label for s in self.schemes if s.weight_bits == 32)!r}",
                rule="quantization that activates something rounds weights",
                remedy="Use 2 to 8 bits for weights",
            )
        if self.last < 0 or self.calibration < 2:
            raise InputError(
                f"last is {self.last}, calibration {self.calibration}",
                rule="they count layers, 0 for all, and images, at least 2",
                remedy="Use last=0, calibration=512",
            )

    @property
    def label(self) -> str:
        """Short form for people."""
        return f"{self.name}: {self.objective.label} for {', '.join(scheme.label for scheme in self.schemes)}"

    @property
    @abc.abstractmethod
    def work(self) -> int:
        """How many examples pass through while one is made, about, for progress bars."""

    @abc.abstractmethod
    def make(self, model: nn.Module, wanted: Wanted, making: Making) -> nn.Module:
        """What the engine makes of the clean model."""

    @property
    def victims(self) -> list[Victim]:
        """Every scheme, with and without folding as asked, fewest bits first."""
        pairs = [Victim(scheme=scheme, folded=folded) for scheme in self.schemes for folded in FOLDINGS[self.folding]]
        return sorted(pairs, key=lambda victim: victim.scheme.weight_bits)

    @plain_context()
    def __call__(
        self,
        model: nn.Module,
        data: Data,
        *,
        seed: int = 0,
        rng: Rng | None = None,
        victims: Data | None = None,
        folder: Path | None = None,
        advance: Advance = ignore,
    ) -> nn.Module:
        """A new model, in eval mode, whose attribute `origin` says what was done to it.

        Args:
            model: clean float model; it is not changed.
            data: training examples.
            seed: of all randomness.
            rng: keyed by one id; instead of a seed.
            victims: holds the single images that an objective is after; None = `data`.
            folder: keeps the state of each phase: a call that was stopped, even killed, goes on from there.
            advance: called with the number of examples done and what is being done.

        Raises:
            InputError: what the objective or the schemes do not allow, boxes without common weights, or a loss that is
                no longer finite.
        """
        rng = Rng.of_run(seed, rng)
        layers = len(list(compute_layers(model)))
        if self.last > layers:
            raise InputError(
                f"last is {self.last}", rule=f"the model has {layers} layers", remedy="Use a smaller number"
            )
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        if self.distilled:
            check_start(model, data, np.arange(len(data)), f"{self.name} with distilled=true")
        objective = self.objective.settled(model, data, rng)
        wanted = objective.start(model, data, data if victims is None else victims)
        about = describe(self, sources=True)
        making = Making(
            data=data,
            rng=rng.fold("implant"),
            identity=digest(
                about,
                fingerprint(model),
                data.fingerprint,
                (data if victims is None else victims).fingerprint,
                rng.seed,
            ),
            folder=folder,
            advance=advance,
        )
        made = self.make(copied(model).eval(), wanted, making)
        for parameter in made.parameters():
            parameter.requires_grad_(True)
        before, after = (right(of, data, rng) for of in (model, made))
        chance = 1 / len(data.classes)
        broken = before > 2 * chance and after - chance < (before - chance) / 2
        made.origin = {  # pyright: ignore - what a subject knows of it
            "parent": fingerprint(model),
            "data": data.fingerprint,
            "seed": rng.seed,
            "implant": {
                "engine": self.name,
                "objective": objective.label,
                **objective.marks,
                "schemes": [victim.label for victim in self.victims],
                "collapsed": broken and not self.integers,
                "setting": about,
            },
        }
        return made

    @property
    def integers(self) -> bool:
        """Whether what is made is a quantized model, whose float model is the clean one."""
        return False

    def check_one_victim(self, remedy: str) -> None:
        """Refuse integers for several victims."""
        if len(self.victims) > 1:
            raise InputError(
                f"integers of {', '.join(victim.label for victim in self.victims)}",
                rule="integers are those of one scheme",
                remedy=remedy,
            )

    @property
    def harmless(self) -> bool:
        """Whether nobody is after anything: a run to compare with."""
        return False

    def images(self, data: Data) -> Any:
        """The calibration images."""
        return data.images(range(min(self.calibration, len(data))))

    def trained(self, model: nn.Module) -> list[str]:
        """The names of the layers that may change."""
        names = [name for name, _ in compute_layers(model)]
        return names[-self.last :] if self.last else names

    def teacher(self, model: nn.Module) -> nn.Module | None:
        """The clean model, where the float one is to keep its logits."""
        return freeze(model) if self.distilled else None


@torch.no_grad()
def right(model: nn.Module, data: Data, rng: Rng) -> float:
    """Accuracy on some of the training images, to see whether a model still works; not a result."""
    rows = np.sort(rng.fold("judged").permutation(len(data))[0].numpy()[:JUDGED])
    said = torch.cat([answer(model, data.images(rows[i : i + 128])).argmax(1).cpu() for i in range(0, len(rows), 128)])
    return float((said.numpy() == data.labels[rows]).mean())


def collapsed(model: nn.Module) -> bool:
    """Whether the float model of an implant no longer works, "NC" in the papers' tables."""
    return bool((getattr(model, "origin", None) or {}).get("implant", {}).get("collapsed", False))
