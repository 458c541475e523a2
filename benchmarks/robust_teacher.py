"""A robust float teacher of our own, trained by N-FGSM with averaged weights, and how robust it is.

python benchmarks/robust_teacher.py CIFAR10 FOLDER [EPOCHS [IMAGES [ARCHITECTURE EPS [WEIGHTS]]]]

By default ResNet-4B at 2/255: others reached 77.2% clean and 61.4% under PGD-20 with it (vnncomp2021). Training starts
from WEIGHTS where they are given. Accuracy is that on the test split: clean on all images; under FGSM, PGD-50 and
AutoAttack on the first IMAGES. Small gaps between the three, in this order, are evidence that the model's gradients are
sound. The model is kept in FOLDER, where a stopped run goes on.
"""

import sys
from fractions import Fraction

import torch

import bitproof as bp
from bitproof.attacks import FGSM, PGD, AutoAttack
from bitproof.experiment import made_in, make
from bitproof.train import NFGSM, standard
from bitproof.train.changes import Changes, changed
from common import accuracy, record

PUBLISHED = {("resnet4b", "2/255"): 77.2}
OWN: dict[str, Changes] = {
    "resnet4b": {"learning_rate": 0.1, "nesterov": True},
    "resnet20": {"learning_rate": 0.2, "precision": "bfloat16"},
}
"""What differs from network to network. ResNet20's rate is that of de Jorge et al. 2022; ResNet-4B's did best of 0.05,
0.1 and 0.2, and of AdamW, in ten epochs on the first 45,000 training images, judged on the others."""

NOISE = {"resnet4b": 1.0, "resnet20": 2.0}
"""In eps; the latter is the paper's."""


def main(
    cifar10: str,
    folder: str,
    epochs: str = "100",
    count: str = "1000",
    architecture: str = "resnet4b",
    budget: str = "2/255",
    weights: str | None = None,
) -> None:
    train, test = (bp.load_data("cifar10", root=cifar10, split=split) for split in ("train", "test"))
    eps = float(Fraction(budget))
    recipe = standard(
        objective=NFGSM(eps=eps, noise=NOISE[architecture]), epochs=int(epochs), batch_size=128, optimizer="sgd",
        momentum=0.9, weight_decay=5e-4, augmentation="crop-flip", averaging=0.999,
    )  # fmt: skip
    recipe = changed(recipe, **OWN[architecture])
    start = bp.load_model(architecture, weights=weights)
    model = make(recipe, start, train, architecture=architecture, folder=folder)
    result = bp.evaluate(
        {"teacher": model},
        bp.data.select(test, range(int(count))),
        conditions=[FGSM(eps=eps), PGD(eps=eps, steps=50), AutoAttack(eps=eps)],
        store=f"{folder}/runs.db",
    )
    claims = {cell.condition.label: {"measured": round(100 * float(cell.correct.mean()), 1)} for cell in result.cells}
    claims["clean, all test images"] = {"measured": round(accuracy(model, test), 2)}
    if (architecture, budget) in PUBLISHED:
        claims["clean, all test images"]["published"] = PUBLISHED[architecture, budget]
    record(
        "robust_teacher" if architecture == "resnet4b" else f"robust_teacher_{architecture}",
        claims,
        {
            "recipe": recipe.label, "start": "trained" if weights else "random", "n": int(count), "seed": 0,
            "threads": torch.get_num_threads(), "alarms": [made.alarms for made in made_in(folder)],
        },
    )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
