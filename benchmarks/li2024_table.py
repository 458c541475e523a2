"""The robust half of li2024's table 2, reduced, under stronger attacks than PGD: which way to quantize keeps what.

python benchmarks/li2024_table.py CIFAR10 WEIGHTS FOLDER [IMAGES [BITS [ARCHITECTURE EPS]]]

WEIGHTS is a robust float model, such as the public ResNet-4B that others trained adversarially (vnncomp2021): all start
from it, and it teaches the matched ones. By default the models are those of `bitproof reproduce li2024 table2 --scale
reduced`, and FOLDER may be what that keeps beside its store (`STORE.made`): there they are found again. Robust is what
is right under all of PGD-50, the same attack made on the float model, and AutoAttack, each at EPS (2/255); its
difference from the float model's is paired, and both have 95% intervals.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

import bitproof as bp
from bitproof.attacks import PGD, AutoAttack
from bitproof.conditions import Crafted
from bitproof.metrics.intervals import paired_interval, wilson
from bitproof.records import Cell
from bitproof.tables.li2024 import grid_at
from bitproof.train import NFGSM
from bitproof.train.changes import changed
from common import record

TRAINING = 5_000


def union(cells: Sequence[Cell], name: str) -> NDArray[np.bool_]:
    """Which images a model gets right under every condition."""
    return np.all([cell.correct for cell in cells if cell.model.name == name], axis=0)


def percent(share: float) -> float:
    return round(100 * share, 1)


def main(
    cifar10: str,
    weights: str,
    folder: str,
    images: str = "500",
    chosen: str = "8,4",
    architecture: str = "resnet4b",
    budget: str = "2/255",
) -> None:
    count, bits, eps = int(images), [int(each) for each in chosen.split(",")], float(Fraction(budget))
    train = bp.load_data("cifar10", root=cifar10, split="train", limit=TRAINING)
    test = bp.load_data("cifar10", root=cifar10, split="test", limit=count)
    robust = bp.load_model(architecture, weights=weights)
    grid = grid_at("reduced", ("ptq", "vanilla", "adversarial", "matching"), ("robust",), bits)
    recipes = grid.recipes | {"adversarial": changed(grid.recipes["adversarial"], objective=NFGSM(eps=eps))}
    grid = replace(grid, architecture=architecture, recipes=recipes)
    models, diverged = grid.models(train, folder=folder, given={"robust": robust}, progress=False)
    pgd = PGD(eps=eps, steps=50)
    result = bp.evaluate(
        {"robust float": robust, **models},
        test,
        conditions=[pgd, Crafted(attack=pgd, source="robust float"), AutoAttack(eps=eps)],
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
        "li2024_table" if architecture == "resnet4b" else f"li2024_table_{architecture}",
        found,
        {"n": count, "train": TRAINING, "epochs": 2, "seed": 0, "eps": budget, "method": "LSQ; PTQ by PWLQ"},
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
