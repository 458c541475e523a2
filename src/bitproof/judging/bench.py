"""The bench: everything live that a run works with, apart from the setting that describes it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import nn

from bitproof.core.calling import device_of
from bitproof.core.defended import defended
from bitproof.core.devices import sent
from bitproof.core.layout import channels_last
from bitproof.core.room import Room
from bitproof.data import Data, Read
from bitproof.judging.checks import check_class_names, check_hidden, predict_in
from bitproof.judging.copies import crafting_model
from bitproof.judging.making import Maker, check_read
from bitproof.quant import freeze
from bitproof.subjects import Subject
from bitproof.subjects.probing import COUNT, Probe, probe

Advance = Callable[[int], None]
"""Told how many examples (times passes) are done, for progress bars."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Bench:
    """Models, images and workers of one run; closed after it.

    Attributes:
        subjects: the models under test, by name; none is changed.
        maker: makes the images.
        batch_size: images a pass.
        crafting: on what attacks are made, a name in `judging.copies.CRAFTING`.
    """

    subjects: Mapping[str, Subject]
    maker: Maker
    batch_size: int
    crafting: str = "exact"

    @property
    def data(self) -> Data:
        """The examples."""
        return self.maker.data

    @property
    def seed(self) -> int:
        """Of all randomness."""
        return self.maker.seed

    @cached_property
    def room(self) -> Room:
        """How many images a pass there is room for."""
        return Room(self.batch_size)

    @cached_property
    def exact(self) -> dict[str, nn.Module]:
        """The frozen models, which are what is judged, in the layout that they are fastest in.

        Raises:
            InputError: one that works with a network in train mode which is no part of it, or whose classes are others.
        """
        frozen = {name: freeze(subject.model) for name, subject in self.subjects.items()}
        for name, model in frozen.items():
            check_hidden(model, name)
            check_class_names(self.subjects[name], self.data, name)
            channels_last(model, sent(self.first.images[:2], device_of(model)))
        return frozen

    @cached_property
    def crafted_on(self) -> dict[str, nn.Module]:
        """What attacks see of each model; of defended ones always these themselves, as attacks look behind defences."""
        if self.crafting == "exact":
            return self.exact
        images = next(self.data.inputs(2))
        return {
            name: model if defended(model) else crafting_model(model, self.crafting, images)
            for name, model in self.exact.items()
        }

    @cached_property
    def probes(self) -> dict[str, Probe]:
        """What each model says to the first images that can be read.

        Raises:
            InputError: a model that cannot take the images, or none that can be read.
        """
        return {
            name: probe(
                partial(predict_in, Room(COUNT), model, data=self.data, name=name),
                sent(self.first.images, device_of(model)),
            )
            for name, model in self.exact.items()
        }

    @property
    def probed(self) -> Int64[np.ndarray, " k"]:
        """The numbers of the examples that the probes are of."""
        return self.data.ids[self.first.rows]

    @cached_property
    def first(self) -> Read:
        """The first examples that can be read."""
        read = self.data.read(range(min(COUNT, len(self.data))))
        if not len(read.rows):
            read = self.data.read(range(len(self.data)))
        check_read(len(read.rows), replace(self.data.record, left_out=read.left_out))
        return replace(read, rows=read.rows[:COUNT], images=read.images[:COUNT])

    def __reduce__(self) -> Any:
        """How it travels to another process: with the frozen models, as torch pickles no quantizers in training."""
        frozen = {name: self.subjects[name].with_model(model) for name, model in self.exact.items()}
        return _unpacked, (frozen, self.data, self.seed, self.batch_size, self.crafting)

    def on(self, device: torch.device) -> "Bench":
        """The same, with all models on a device."""
        return replace(self, subjects={name: subject.on(device) for name, subject in self.subjects.items()})

    def close(self) -> None:
        """End what was started."""
        self.maker.close()

    def __enter__(self) -> "Bench":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _unpacked(subjects: Mapping[str, Subject], data: Data, seed: int, batch_size: int, crafting: str) -> Bench:
    return Bench(subjects=subjects, maker=Maker(data=data, seed=seed), batch_size=batch_size, crafting=crafting)
