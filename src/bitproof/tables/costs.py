"""What a table costs, about, before anything is made."""

import functools
from dataclasses import dataclass

from bitproof.conditions import Clean
from bitproof.conditions.base import as_condition
from bitproof.data import Data, load_data
from bitproof.tables.table import Study, Table, source_of

MACS = {
    "digits_cnn": 820_000,
    "resnet4b": 6_400_000,
    "wrn_10_1": 12_500_000,
    "bernhard2019_cnn_quarter": 39_000_000,
    "resnet20": 41_000_000,
    "alexnet": 63_000_000,
    "mobilenetv2": 88_000_000,
    "vgg16": 313_000_000,
    "vgg16_bn": 313_000_000,
    "mobilenetv2_64px": 352_000_000,
    "wrn_16_4": 393_000_000,
    "bernhard2019_svhn_cnn": 504_000_000,
    "resnet18": 556_000_000,
    "bernhard2019_cnn": 616_000_000,
    "vgg16_64px": 1_252_000_000,
    "wrn_28_10": 5_250_000_000,
    "torchvision:mobilenet_v2": 301_000_000,
    "timm:regnetx_006": 606_000_000,
    "torchvision:resnet18": 1_814_000_000,
    "torchvision:resnet50": 4_089_000_000,
}
"""Multiply-accumulates of a pass through each network."""

SPEED = {"smoke": 2e10, "reduced": 2e10, "full": 5e12}
"""Multiply-accumulates a second: of two cores, and of one large GPU in float32; well below what they can at most."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Passes of making all models and of testing them, at most, and about how many hours these take."""

    passes: int
    hours: float


def cost(table: Table, scale: str) -> Cost:
    """Of a table's first setting."""
    study = table.study[scale](table.settings[0])
    training = study.training or study.training_size
    made = sum(making.passes(training) for making in study.models.values())
    passes = made + (study.images or study.test_size) * _each(study)
    return Cost(passes=passes, hours=passes * MACS[study.network] / SPEED[scale] / 3600)


def told(table: Table) -> str:
    """A table in a line: what it shows, the scales that it can be had at, and their costs."""
    also = f" ({', '.join(table.figures)} too)" if table.figures else ""
    costs = {scale: cost(table, scale) for scale in table.study}
    said = [f"{scale} {_count(cost.passes)} passes, {_time(cost.hours)}" for scale, cost in costs.items()]
    return f"{table.title}{also}. At most: {'; '.join(said)}."


@functools.cache
def _images() -> Data:
    """Conditions are fitted to the size of images; their passes are not."""
    return load_data("digits", limit=2)


def _each(study: Study) -> int:
    """Passes that a test image costs on all models together, at most."""
    conditions = [as_condition(c) for c in (Clean(), *study.conditions(_images()).values())]
    models = len(study.tested)
    once = [source_of(condition) is not None for condition in conditions]  # made on one, shown to all
    return sum(c.passes + models if single else models * c.passes for c, single in zip(conditions, once, strict=True))


def _count(passes: int) -> str:
    for size, word in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if passes >= size:
            return f"{passes / size:.3g} {word}"
    return str(passes)


def _time(hours: float) -> str:
    return f"{hours:,.0f} h" if hours >= 10 else f"{hours:.1f} h" if hours >= 0.1 else f"{60 * hours:.1f} min"
