"""A table or a figure of a paper as a value: what is measured for it, how its numbers follow, what it concludes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bitproof.attacks import Attack
from bitproof.conditions import Condition, Crafted
from bitproof.core.calling import device_of
from bitproof.core.devices import sent
from bitproof.data import Data
from bitproof.records import Cell
from bitproof.tables.claims import Claim
from bitproof.tables.making import Making
from bitproof.tables.printed import Key, Printed, published
from bitproof.tables.readings import Reading

SCALES = {
    "smoke": "seconds to a few minutes, on the embedded digits: that everything works, not what a number is",
    "reduced": "an hour or so on two cores, on the paper's data where a small network serves",
    "full": "the paper's own data, networks and epochs",
}

CLEAN = "clean"
"""The name of the clean images among the conditions."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """The experiment of a table at a scale.

    Attributes:
        data: the name of a data set, read from the root that is given.
        images: random test images, of each class its share; None = all.
        training: random training images; None = all.
        network: the architecture that most passes go through, by which pictures are framed.
        models: how each comes about, by name.
        tested: which of them are tested, the reference first.
        conditions: by name, from the test data; the clean images, `CLEAN`, are there without being named.
        differs: in what it is not the paper's, for readers.
        differs_in: the same of single columns, by how their names start.
        printed_images: how many random images the paper's numbers are from; None = the whole test set.
        training_size: training images there are where `training` is None, for the cost.
        test_size: the same of test images.
    """

    data: str
    images: int | None
    network: str
    models: Mapping[str, Making]
    tested: tuple[str, ...]
    conditions: Callable[[Data], Mapping[str, Condition | Attack]]
    training: int | None = None
    differs: tuple[str, ...] = ()
    differs_in: Mapping[str, str] = field(default_factory=dict)
    printed_images: int | None = None
    training_size: int = 50_000
    test_size: int = 10_000

    def reasons(self, column: str) -> tuple[str, ...]:
        """In what a number of this column is not the paper's."""
        own = (reason for start, reason in self.differs_in.items() if column.startswith(start))
        return (*self.differs, *own)


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """What a study gave.

    Attributes:
        cells: by model and name of the condition.
        models: those that were tested, the reference first.
        diverged: those that did not converge, and in which epoch.
        setting: of the table.
        test: the images.
        open: opens a model by its name, for looks at it that are no cells.
    """

    cells: Mapping[tuple[str, str], Cell]
    models: tuple[str, ...]
    diverged: Mapping[str, int]
    setting: str
    test: Data
    open: Callable[[str], nn.Module]

    def under(self, model: str, *conditions: str) -> list[Cell]:
        """The cells of a model, in the order of the conditions."""
        return [self.cells[model, condition] for condition in conditions]

    def named(self, start: str) -> list[str]:
        """The conditions whose names start so, in order."""
        first = self.models[0]
        return [condition for model, condition in self.cells if model == first and condition.startswith(start)]

    def pictures(self, rows: Sequence[int], model: nn.Module) -> tuple[Tensor, Tensor]:
        """Images [n, c, h, w] in [0, 1] and labels [n] of some rows of the data, where the model computes."""
        images, device = self.test.images(rows), device_of(model)
        return sent(images, device), torch.from_numpy(self.test.labels[list(rows)]).to(device)

    @property
    def changed(self) -> list[str]:
        """All conditions but the clean images."""
        return [condition for condition in self.named("") if condition != CLEAN]


def nothing_claimed(_: Measured) -> Iterable[Claim]:
    """A table without a conclusion that is an order of its numbers."""
    return ()


@dataclass(frozen=True, kw_only=True)
class Table:
    """One numbered table or figure.

    Attributes:
        paper: a name in `PAPERS`.
        number: "table3" or "figure1".
        title: what it shows, in our own words.
        settings: data set and network of each experiment in it; the first is the one that other scales stand for.
        study: the experiment at a scale, for a setting.
        read: the numbers.
        claims: the conclusions that the paper draws.
        figures: figures of the paper that show the same numbers.
        unit: of numbers that the paper does not print.
    """

    paper: str
    number: str
    title: str
    settings: tuple[str, ...] = ("",)
    study: Mapping[str, Callable[[str], Study]]
    read: Callable[[Measured], Iterable[Reading]]
    claims: Callable[[Measured], Iterable[Claim]] = nothing_claimed
    figures: tuple[str, ...] = ()
    unit: str = "percent"

    @property
    def name(self) -> str:
        """Paper and number."""
        return f"{self.paper} {self.number}"

    def printed(self, setting: str) -> Mapping[Key, Printed]:
        """What the paper prints of a setting."""
        return published(self.paper, self.number).get(setting, {})


def source_of(condition: Condition) -> str | None:
    """The one model that images are made on, where they are given to all."""
    return condition.source if isinstance(condition, Crafted) else None
