"""Catastrophic overfitting, provoked: FGSM training at a large eps without and with the alarm.

python benchmarks/catastrophic.py [EPS [CIFAR10]]

The digits network, or ResNet-4B on CIFAR-10 where its folder is given; FGSM from the image at EPS (0.3), 8 epochs of
AdamW on all training images but 128 that the alarm looks at, every 20 steps. Accuracy is that on the first 100 test
images, after each epoch, under the FGSM that is trained on and under PGD-20 at the same eps. Collapse: FGSM's goes up,
PGD's stays at or falls to 0.
"""

import sys

import numpy as np
import torch
from torch import nn

import bitproof as bp
from bitproof.attacks import FGSM, PGD
from bitproof.train import OBJECTIVES, Alarm, standard
from common import kept

COUNT = 100


def main(eps: float, cifar10: str | None) -> None:
    network, name, of = ("digits_cnn", "digits", "") if cifar10 is None else ("resnet4b", "cifar10", ", cifar10")
    train, test = (bp.load_data(name, root=cifar10, split=split) for split in ("train", "test"))
    test = bp.data.select(test, range(COUNT))
    images, labels, rng = test.images(np.arange(COUNT)), torch.from_numpy(test.labels), bp.Rng(0, test.ids)

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

        recipe = standard(objective=OBJECTIVES["fgsm"](eps=eps), epochs=8, alarm=alarm, holdout=128)
        recipe(bp.load_model(network, seed=0), train, seed=0, on_epoch=watched)
        claim = {
            "FGSM %, by epoch": [fgsm for fgsm, _ in curve],
            "PGD-20 %, by epoch": [pgd for _, pgd in curve],
            "alarm at step": [step for step in alarms if step is not None],
        }
        about = {"model": network, "recipe": recipe.label, "n": COUNT, "seed": 0}
        kept("catastrophic", name + of, about | claim, {"threads": torch.get_num_threads()})


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 0.3, sys.argv[2] if len(sys.argv) > 2 else None)
