"""The grid of li2024 as one definition: starts x ways to quantize x bits (Li et al. 2024, Tables 2 and 3).

    starts     random, non-robust (trained on clean images), robust (trained on adversarial ones)
    ways       PTQ (PWLQ), vanilla QAT (PACT), adversarial QAT, matching the robust teacher

Every model is made once beside a store and found again, and so are the two float ones that the others start from and
learn from. A run that leads nowhere stays in the grid as NC, and the others go on.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import nn

from bitproof.data import Data
from bitproof.errors import InputError, lookup
from bitproof.experiment.made import make
from bitproof.models import build_model
from bitproof.quant import Scheme, quantize
from bitproof.train import ClippingLevels, Diverged, Recipe, changed
from bitproof.train.papers import li2024

STARTS = ("random", "non-robust", "robust")
CALIBRATION = 512
"""Training images that PTQ sees."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What is made, with the paper's numbers by default.

    Attributes:
        architecture: of all models.
        starts, ways, bits: what is combined; weights and activations have the same bits, and 32 is float. PTQ of random
            parameters is left out.
        plain, teacher: how the non-robust and the robust float model are trained, from the same random weights.
        recipes: by way: what trains a quantized model from a checkpoint.
        scratch_epochs: how many epochs in place of a recipe's own a model has that starts from random weights.
    """

    architecture: str = "resnet20"
    starts: tuple[str, ...] = STARTS
    ways: tuple[str, ...] = ("ptq", "vanilla", "adversarial", "matching")
    bits: tuple[int, ...] = (2, 4, 6, 8, 32)
    plain: Recipe = field(default_factory=lambda: replace(li2024.from_scratch(penalty=0), quantization=None))
    teacher: Recipe = field(default_factory=li2024.teacher)
    recipes: dict[str, Recipe] = field(
        default_factory=lambda: {
            "vanilla": li2024.fine_tuning(),
            "adversarial": li2024.adversarial(),
            "matching": li2024.matching(),
        }
    )
    scratch_epochs: int = 200

    def __post_init__(self) -> None:
        for start in self.starts:
            lookup(dict.fromkeys(STARTS), start, "start")
        for way in self.ways:
            lookup({"ptq": None, **self.recipes}, way, "way to quantize")
        if not all(bits in (*range(2, 9), 32) for bits in self.bits):
            raise InputError(f"bits are {self.bits}", rule="they are 2 to 8, or 32", remedy="Use for example (4, 8)")

    def cells(self) -> Iterator[tuple[str, str, int]]:
        """Start, way and bits of each model."""
        for way in self.ways:
            for start in self.starts:
                if (way, start) != ("ptq", "random"):
                    yield from ((start, way, bits) for bits in self.bits)

    def models(
        self,
        data: Data,
        *,
        folder: str | Path,
        given: Mapping[str, nn.Module] | None = None,
        seed: int = 0,
        progress: bool = True,
    ) -> tuple[dict[str, nn.Module], dict[str, Diverged]]:
        """All models by name, such as "robust ptq w4a4", and those that did not converge (NC).

        Args:
            data: the training split.
            folder: where they are kept, such as `made_beside(store)`.
            given: float models that are there already, by start, such as a public checkpoint as "robust".
            seed: of random weights and of training.
            progress: show a bar for each model that is being made.

        Raises:
            Diverged: one of the two float models did not converge.
        """

        def make_one(recipe: Recipe, start: nn.Module, teacher: nn.Module | None = None) -> nn.Module:
            return make(
                recipe,
                start,
                data,
                architecture=self.architecture,
                classes=len(data.classes),
                seed=seed,
                teacher=teacher,
                folder=folder,
                progress=progress,
            )

        starts = {"random": build_model(self.architecture, classes=len(data.classes), seed=seed), **(given or {})}
        if "robust" not in starts:
            starts["robust"] = make_one(self.teacher, starts["random"])
        if "non-robust" in self.starts and "non-robust" not in starts:
            starts["non-robust"] = make_one(self.plain, starts["random"])
        models, diverged = dict[str, nn.Module](), dict[str, Diverged]()
        for start, way, bits in self.cells():
            name = f"{start} {way} w{bits}a{bits}"
            try:
                if way == "ptq":
                    models[name] = _post_training(starts[start], bits, data)
                else:
                    taught = starts["robust"] if way == "matching" else None
                    models[name] = make_one(self.recipe(way, start, bits), starts[start], taught)
            except Diverged as nc:
                diverged[name] = nc
        return models, diverged

    def recipe(self, way: str, start: str, bits: int) -> Recipe:
        """What trains the model of a cell."""
        recipe = self.recipes[way]
        if start == "random":
            recipe = changed(recipe, epochs=self.scratch_epochs)
        if bits == 32 or recipe.quantization is None:
            levels = tuple(penalty for penalty in recipe.penalties if not isinstance(penalty, ClippingLevels))
            return replace(recipe, quantization=None, penalties=levels)
        return changed(recipe, scheme=replace(recipe.quantization.scheme, weight_bits=bits, act_bits=bits))


def _post_training(model: nn.Module, bits: int, data: Data) -> nn.Module:
    """PWLQ, calibrated on the first training images."""
    if bits == 32:
        return model
    images = data.images(range(min(CALIBRATION, len(data))))
    return quantize(model, Scheme("pwlq", weight_bits=bits, act_bits=bits), images)
