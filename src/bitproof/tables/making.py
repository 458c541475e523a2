"""How the models of a table come about. Each is made once beside a store and found again by other tables."""

import abc
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import nn

from bitproof.checkpoints import load_model
from bitproof.data import Data
from bitproof.errors import InputError, lookup
from bitproof.experiment.implanting import implant
from bitproof.experiment.made import make
from bitproof.implants import Engine, Objective
from bitproof.quant import Scheme, quantize
from bitproof.settings import describe, digest
from bitproof.subjects.fingerprint import fingerprint
from bitproof.train import Diverged, Recipe

CALIBRATION = 512
"""Training images that a model is calibrated on."""


class Making(abc.ABC):
    """How one model comes about."""

    @abc.abstractmethod
    def __call__(self, shop: "Workshop") -> nn.Module:
        """The model, made now or found.

        Raises:
            Diverged: it did not converge, or one that it is made of.
        """

    @abc.abstractmethod
    def passes(self, training: int) -> int:
        """What it costs in passes, made with so many training images."""


@dataclass(kw_only=True)
class Workshop:
    """Where the models of one experiment are made, each once.

    Attributes:
        makings: of all models by name.
        train, test: the data.
        folder: keeps what was made.
        weights: files of float models, by architecture.
        seed: of random weights and training.
        device: where models are made, such as "cuda"; None = on the CPU.
        progress: show a bar for what is being made.
    """

    makings: Mapping[str, Making]
    train: Data
    test: Data
    folder: Path
    weights: Mapping[str, Path]
    seed: int
    device: str | None
    progress: bool
    _made: dict[str, nn.Module | Diverged] = field(default_factory=dict)

    def opened(self, architecture: str, weights: Path | None = None, repeat: int = 0) -> nn.Module:
        """A model from a file, or with random weights, where models are made."""
        return load_model(architecture, weights=weights, seed=self.seed + repeat, device=self.device)

    def start(self, name: str | None, architecture: str, repeat: int = 0) -> nn.Module:
        """The model of a name; without one, random weights."""
        return self.opened(architecture, repeat=repeat) if name is None else self.model(name)

    def model(self, name: str) -> nn.Module:
        """The model of a name.

        Raises:
            Diverged: as `Making`.
        """
        if name not in self._made:
            try:
                self._made[name] = lookup(self.makings, name, "model")(self)
            except Diverged as nc:
                self._made[name] = nc
        found = self._made[name]
        if isinstance(found, Diverged):
            raise found
        return found


@dataclass(frozen=True, kw_only=True)
class Trained(Making):
    """A recipe's.

    Attributes:
        recipe: how it is trained.
        architecture: of the model.
        start: the model that training starts from; None = random weights.
        teacher: the model that it learns from, where the objective learns from another one than the start.
        each: passes that a training image costs at each step.
        repeat: which one of several that differ by their seed alone.
    """

    recipe: Recipe
    architecture: str
    start: str | None = None
    teacher: str | None = None
    each: int = 2
    repeat: int = 0

    def __call__(self, shop: Workshop) -> nn.Module:
        return make(
            self.recipe,
            shop.start(self.start, self.architecture, self.repeat),
            shop.train,
            architecture=self.architecture,
            seed=shop.seed + self.repeat,
            teacher=None if self.teacher is None else shop.model(self.teacher),
            folder=shop.folder,
            progress=shop.progress,
        )

    def passes(self, training: int) -> int:
        return self.each * self.recipe.work(training)


@dataclass(frozen=True, kw_only=True)
class Given(Making):
    """A float model whose weights somebody has.

    Attributes:
        architecture: by which its file is named.
        otherwise: how it is made where there is no file; None = there has to be one.
    """

    architecture: str
    otherwise: Trained | None = None

    def __call__(self, shop: Workshop) -> nn.Module:
        if self.architecture in shop.weights:
            return shop.opened(self.architecture, shop.weights[self.architecture])
        if self.otherwise is None:
            raise InputError(
                f"no weights of {self.architecture}",
                rule="this table starts from a trained float model of it",
                remedy=f"Pass --weights {self.architecture}=FILE",
            )
        return self.otherwise(shop)

    def passes(self, training: int) -> int:
        return 0 if self.otherwise is None else self.otherwise.passes(training)


@dataclass(frozen=True, kw_only=True)
class Quantized(Making):
    """A copy of another model, quantized after training and calibrated on training images."""

    of: str
    scheme: Scheme

    def __call__(self, shop: Workshop) -> nn.Module:
        images = shop.train.images(range(min(CALIBRATION, len(shop.train))))
        return quantize(shop.model(self.of), self.scheme, images)

    def passes(self, training: int) -> int:
        return min(CALIBRATION, training)


@dataclass(frozen=True, kw_only=True)
class Changed(Making):
    """What a function makes of another model and the workshop's data, such as a defence against implants."""

    of: str
    how: Callable[[nn.Module, Workshop], nn.Module]

    def __call__(self, shop: Workshop) -> nn.Module:
        return self.how(shop.model(self.of), shop)

    def passes(self, training: int) -> int:
        return training


@dataclass(frozen=True, kw_only=True)
class Implanted(Making):
    """An implant in another model.

    Attributes:
        of: the clean model; None = random weights.
        architecture: of both.
        engine: what makes it.
        aim: what it is after, where that follows from the clean model and the test images.
        repeat: which one of several that differ by their seed alone.
    """

    of: str | None
    architecture: str
    engine: Engine
    aim: Callable[[nn.Module, Data], Objective] | None = None
    repeat: int = 0

    def __call__(self, shop: Workshop) -> nn.Module:
        clean, seed = shop.start(self.of, self.architecture, self.repeat), shop.seed + self.repeat
        engine = self.engine if self.aim is None else replace(self.engine, objective=self.aim(clean, shop.test))
        key = digest(
            describe(engine, sources=True), fingerprint(clean), shop.train.fingerprint, shop.test.fingerprint, seed
        )
        path = shop.folder / f"{key}.safetensors"
        if not path.exists():
            shop.folder.mkdir(parents=True, exist_ok=True)
            implant(
                engine,
                clean,
                shop.train,
                output=path,
                architecture=self.architecture,
                seed=seed,
                victims=shop.test,
                progress=shop.progress,
            )
        return shop.opened(self.architecture, path)

    def passes(self, training: int) -> int:
        return math.ceil(self.engine.work * 2 * (1 + len(self.engine.schemes)))
