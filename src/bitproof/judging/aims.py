"""Which examples are attacked, which class each attack goes for, and whether it got there."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bitproof.conditions import Crafted, chosen_targets
from bitproof.conditions.targets import OF_THE_MODEL
from bitproof.core.rng import Rng
from bitproof.core.room import Room
from bitproof.data import Data
from bitproof.judging.bench import Bench
from bitproof.judging.checks import predict_in
from bitproof.judging.draft import Draft
from bitproof.judging.making import chunks
from bitproof.records import KEPT, Cell


def targets_of(bench: Bench, crafted: Crafted, name: str) -> NDArray[np.int64] | None:
    """The class that each example's attack goes for, [n]; -1 for none."""
    if crafted.targets is None:
        return None
    data, logits = bench.data, None
    if crafted.targets in OF_THE_MODEL:
        logits = np.zeros((len(data), len(data.classes)))
        for part in chunks(np.arange(len(data)), bench.batch_size):
            read = data.read(part)
            if len(read.rows):
                said = predict_in(Room(len(part)), bench.exact[name], read.images, data, name)
                logits[read.rows] = said[:, : len(data.classes)].cpu().numpy()
    rng = Rng(bench.seed, data.ids, ("targets",))  # whatever the budget
    return chosen_targets(str(crafted.targets), data.labels, data.classes, rng=rng, logits=logits)


def to_attack(
    crafted: Crafted, data: Data, needed: Mapping[str, Cell], targets: NDArray[np.int64] | None
) -> NDArray[np.bool_]:
    """Which examples are attacked: not fooled by the clean image, or all, but none that a smaller budget fooled."""
    clean = needed["clean"]
    chosen = np.zeros(len(data), bool)
    chosen[np.isin(data.ids, clean.ids)] = (clean.fooled < 1) | (crafted.examples == "all")
    if targets is not None:
        chosen &= targets >= 0
    if "after" in needed:
        after = needed["after"]
        before = Draft.like(after, data)
        hit = reached(before.predictions, data.labels, targets, np.arange(len(data)))
        hit &= before.values.get(KEPT, data.labels) == data.labels
        hit[np.isin(data.ids, after.ids)] &= after.fooled == 1
        chosen &= before.read & ~hit
    return chosen


def reached(
    predictions: NDArray[np.int64],
    labels: NDArray[np.int64],
    targets: NDArray[np.int64] | None,
    rows: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Whether the goal is reached: any wrong class, or the target."""
    return predictions != labels if targets is None else predictions == targets[rows]
