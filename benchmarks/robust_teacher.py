"""A robust float teacher of our own: ResNet-4B trained by N-FGSM at 2/255 with averaged weights, and how robust it is.

python benchmarks/robust_teacher.py CIFAR10 FOLDER [EPOCHS [IMAGES]]

Others reached 77.2% clean and 61.4% under PGD-20 at 2/255 with this network (vnncomp2021). Accuracy is that on the test
split: clean on all images; under FGSM, PGD-50 and AutoAttack on the first IMAGES. Small gaps between the three, in this
order, are evidence that the model's gradients are sound. The model is kept in FOLDER, where a stopped run goes on.
"""

import sys

import torch

import bitproof as bp
from bitproof.attacks import FGSM, PGD, AutoAttack
from bitproof.experiment import made_in, make
from bitproof.train import NFGSM, standard
from common import accuracy, record

EPS = 2 / 255


def main(cifar10: str, folder: str, epochs: int, count: int) -> None:
    train, test = (bp.load_data("cifar10", root=cifar10, split=split) for split in ("train", "test"))
    recipe = standard(
        objective=NFGSM(eps=EPS, noise=1.0), epochs=epochs, batch_size=128, learning_rate=4e-3, weight_decay=5e-4,
        augmentation="crop-flip", averaging=0.999,
    )  # fmt: skip
    model = make(recipe, bp.load_model("resnet4b"), train, architecture="resnet4b", folder=folder)
    result = bp.evaluate(
        {"teacher": model},
        bp.data.select(test, range(count)),
        conditions=[FGSM(eps=EPS), PGD(eps=EPS, steps=50), AutoAttack(eps=EPS)],
        store=f"{folder}/runs.db",
    )
    claims = {cell.condition.label: {"measured": round(100 * float(cell.correct.mean()), 1)} for cell in result.cells}
    claims["clean, all test images"] = {"measured": round(accuracy(model, test), 2), "published": 77.2}
    record(
        "robust_teacher",
        claims,
        {
            "recipe": recipe.label, "epochs": epochs, "n": count, "seed": 0, "threads": torch.get_num_threads(),
            "alarms": [made.alarms for made in made_in(folder)],
        },
    )  # fmt: skip


if __name__ == "__main__":
    main(
        *sys.argv[1:3],
        int(sys.argv[3]) if len(sys.argv) > 3 else 40,
        int(sys.argv[4]) if len(sys.argv) > 4 else 1000,
    )
