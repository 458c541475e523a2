"""Asking an attack: for how many examples at once, with what, and whether it may be believed what it returns."""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bitproof.attacks import Attack
from bitproof.core.calling import device_of
from bitproof.core.devices import sent
from bitproof.core.passes import Counted
from bitproof.core.rng import Rng
from bitproof.core.room import Room
from bitproof.data import Data
from bitproof.judging.believing import believed_images, check_repeated
from bitproof.judging.bench import Bench
from bitproof.judging.checks import check_budget
from bitproof.judging.share import Share
from bitproof.settings.source import holds_foreign

ASKED_TWICE = 4
"""Examples that an attack with somebody's own code is given twice, before it is given all."""

POOL_BYTES = 2**27
"""How much of the images an attack that fills its own batches is given at once."""


def part_size(attack: Attack, data: Data, batch_size: int, attacked: int, lanes: int, share: Share) -> int:
    """Examples that the attack is given at once: a batch, or as many as fill its batches for long.

    All lanes get some; such long parts come in two a lane, as one may take longer than another. All shares get some of
    them too.
    """
    most = batch_size
    if attack.pooled:
        attacked = math.ceil(attacked / share.of)
        fair = math.ceil(attacked / (2 * lanes)) if lanes > 1 else attacked
        most = max(batch_size, min(fair, POOL_BYTES // (4 * math.prod(data.shape))))
    return max(1, min(most, math.ceil(attacked / lanes)))


def craft(
    attack: Attack,
    model: Counted,
    inputs: Tensor,
    data: Data,
    rows: NDArray[np.int64],
    targets: NDArray[np.int64] | None,
    rng: Rng,
    room: Room,
) -> Tensor:
    """What the attack returns for the examples at `rows`, checked. What it asks in vain, for lack of memory, counts."""

    def made(start: int, most: int) -> tuple[Tensor, int]:
        end, options = (len(rows), {"batch_size": most}) if attack.pooled else (start + most, {})
        here, clean = rows[start:end], inputs[start:end]
        labels = torch.from_numpy(data.labels[here]).to(inputs.device)
        aims = None if targets is None else torch.from_numpy(targets[here]).to(inputs.device)
        returned = attack(model, clean.clone(), labels, targets=aims, rng=rng.select(here), **options)
        return believed_images(returned, clean, f"attack {attack.label!r}"), end

    parts, start = list[Tensor](), 0
    while start < len(rows):
        part, start = room.fit(partial(made, start))
        parts.append(part)
    adversarial = torch.cat(parts)
    check_budget(attack, inputs, adversarial)
    return adversarial


def check_same_again(
    bench: Bench,
    attack: Attack,
    given: Sequence[tuple[str, nn.Module]],
    model: nn.Module,
    attacked: NDArray[np.int64],
    targets: NDArray[np.int64] | None,
    rng: Rng,
) -> None:
    """Refuse an attack with somebody's own code that returns other images for the same examples each time."""
    rows = attacked[:ASKED_TWICE]
    if not len(rows) or not holds_foreign(attack) or any(bench.probes[name].random for name, _ in given):
        return
    inputs, room = sent(bench.data.images(rows), device_of(model)), Room(len(rows))

    def ask() -> Tensor:
        return craft(attack, Counted(model), inputs, bench.data, rows, targets, rng, room)

    check_repeated(f"attack {attack.label!r}", ask, given, bench.first.images[:1])
