"""Catastrophic overfitting, provoked: FGSM training at a large eps without and with the alarm.

python benchmarks/catastrophic.py CIFAR10_ROOT [EPOCHS [IMAGES [EPS]]]

ResNet-4B on the first IMAGES (3,000) training images, FGSM from the image at EPS (16) /255, one-cycle SGD with a high
peak, as Andriushchenko & Flammarion 2020 (arXiv 2007.02617) provoke it. Accuracy is that on the first 128 test images,
after each epoch, under the FGSM that is trained on and under PGD-20 at the same eps. Collapse: FGSM's goes up, PGD's to
0. The alarm looks every 20 steps at 64 images that are held out.
"""

import sys

import numpy as np
import torch
from torch import nn

import bitproof as bp
from bitproof.attacks import FGSM, PGD
from bitproof.train import OBJECTIVES, Alarm, standard
from common import kept


def main(root: str, epochs: int, count: int, level: float) -> None:
    train = bp.load_data("cifar10", root=root, split="train", limit=count)
    test = bp.load_data("cifar10", root=root, split="test", limit=128)
    images, labels, rng = test.images(np.arange(128)), torch.from_numpy(test.labels), bp.Rng(0, test.ids)
    eps = level / 255

    def accuracy(model: nn.Module, attack: PGD) -> float:
        made = attack(model, images, labels, rng=rng)
        with torch.no_grad():
            return round(100 * float((model(made).argmax(1) == labels).double().mean()), 1)

    for name, alarm in (("without the alarm", None), ("with the alarm", Alarm(every=20))):
        curve: list[tuple[float, float]] = []
        alarms: list[int | None] = []

        def watched(history, model, curve=curve, alarms=alarms) -> None:
            curve.append((accuracy(model, FGSM(eps=eps)), accuracy(model, PGD(eps=eps, rel_step_size=0.25))))
            alarms.append(history[-1].alarm)

        recipe = standard(
            objective=OBJECTIVES["fgsm"](eps=eps), epochs=epochs, batch_size=64, optimizer="sgd", learning_rate=0.1,
            weight_decay=5e-4, alarm=alarm, holdout=128,
        )  # fmt: skip
        recipe(bp.load_model("resnet4b", seed=0), train, seed=0, on_epoch=watched)
        claim = {
            "FGSM %, by epoch": [fgsm for fgsm, _ in curve],
            "PGD-20 %, by epoch": [pgd for _, pgd in curve],
            "alarm at step": [step for step in alarms if step is not None],
        }
        about = {
            "model": "resnet4b", "eps x 255": level, "train": count, "n": 128, "epochs": epochs, "seed": 0,
            "threads": torch.get_num_threads(), "recipe": recipe.label,
        }  # fmt: skip
        kept("catastrophic", name, claim, about)


if __name__ == "__main__":
    numbers = [float(text) for text in sys.argv[2:]] + [12, 3000, 16][len(sys.argv) - 2 :]
    main(sys.argv[1], int(numbers[0]), int(numbers[1]), numbers[2])
