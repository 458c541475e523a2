"""Like table 2 of li2024, small: what quantizing a robust ResNet-4B keeps of its robustness at 2/255, by four ways.

python benchmarks/li2024_table.py CIFAR10 WEIGHTS FOLDER [IMAGES [SHARE [EPOCHS]]]

WEIGHTS is the public checkpoint that others trained adversarially (vnncomp2021, cifar10_resnet/resnet4b): all start
from it, and it teaches the matched ones. Models are kept in FOLDER, from which a stopped run goes on. Robust is what is
right under all of PGD-50, the same attack made on the float model, and AutoAttack, each at 2/255; its difference from
the float model's is paired, and both have 95% intervals.
"""

import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

import bitproof as bp
from bitproof.attacks import PGD, AutoAttack
from bitproof.conditions import Crafted
from bitproof.experiment.li2024 import Grid
from bitproof.metrics.intervals import paired_interval, wilson
from bitproof.records import Cell
from bitproof.train import NFGSM
from bitproof.train.papers import li2024
from common import record

EPS = 2 / 255


def union(cells: Sequence[Cell], name: str) -> NDArray[np.bool_]:
    """Which images a model gets right under every condition."""
    return np.all([cell.correct for cell in cells if cell.model.name == name], axis=0)


def percent(share: float) -> float:
    return round(100 * share, 1)


def main(cifar10: str, weights: str, folder: str, count: int, share: float, epochs: int) -> None:
    train, test = (bp.load_data("cifar10", root=cifar10, split=split) for split in ("train", "test"))
    robust = bp.load_model("resnet4b", weights=weights)
    how = {"epochs": epochs, "share": share, "learning_rate": 0.005}
    grid = Grid(
        architecture="resnet4b",
        starts=("robust",),
        bits=(8, 4),
        recipes={
            "vanilla": li2024.fine_tuning(**how),
            "adversarial": li2024.adversarial(**how, objective=NFGSM(eps=EPS)),
            "matching": li2024.matching(**how),
        },
    )
    models, diverged = grid.models(train, folder=folder, given={"robust": robust}, progress=False)
    pgd = PGD(eps=EPS, steps=50)
    result = bp.evaluate(
        {"robust float": robust, **models},
        bp.data.select(test, range(count)),
        conditions=[pgd, Crafted(attack=pgd, source="robust float"), AutoAttack(eps=EPS)],
        store=f"{folder}/runs.db",
        progress=False,
    )
    found: dict[str, dict[str, object]] = {name: {"measured": "NC", "epoch": nc.epoch} for name, nc in diverged.items()}
    robust_under = {name: union(result.cells, name) for name in ("robust float", *models)}
    for name, right in robust_under.items():
        cells = [cell for cell in result.cells if cell.model.name == name]
        found[name] = {cell.condition.label: percent(float(cell.correct.mean())) for cell in cells}
        found[name]["under all"] = percent(float(right.mean()))
        found[name]["interval"] = [percent(end) for end in wilson(int(right.sum()), count)]
        reference = robust_under["robust float"]
        only = int((right & ~reference).sum()), int((reference & ~right).sum())
        found[name]["less than float"] = [percent(end) for end in paired_interval(*only, count)]
    record(
        "li2024_table",
        found,
        {"n": count, "share": share, "epochs": epochs, "train": len(train), "seed": 0, "eps": "2/255"},
    )


if __name__ == "__main__":
    rest = sys.argv[4:]
    main(
        *sys.argv[1:4],
        int(rest[0]) if rest else 500,
        float(rest[1]) if len(rest) > 1 else 1.0,
        int(rest[2]) if len(rest) > 2 else 3,
    )
