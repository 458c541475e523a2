"""AutoAttack standard, linf, on the shared ResNet20: passes against the reference's, and time against torchattacks.

python benchmarks/autoattack.py DATA WEIGHTS ORACLE [IMAGES]

DATA holds cifar-10-batches-bin, ORACLE is the reference's verdicts on its first 128 test images at 1/255. Time is
measured where torchattacks can be imported; its APGD, APGD-T and FAB are set to 100 steps, as published. Ours is
timed by `evaluate`, the clean pass and the last look at every image included: on the model itself, and with
`crafting="folded"`, which makes the attack on a copy with folded BatchNorm, judges it on the model itself and attacks
what only the copy lost again.
"""

import contextlib
import sys
import time

import numpy as np
import torch

import bitproof as bp
from bitproof.attacks import AutoAttack
from bitproof.core.memory import keep_freed_memory
from bitproof.core.passes import Counted
from bitproof.core.rng import Rng
from common import record

REFERENCE_FORWARDS = 1140.7  # an image, all 128 of the oracle


class _AsModule(torch.nn.Module):
    """What torchattacks takes: a module with parameters, which tell it the device."""

    def __init__(self, counted):
        super().__init__()
        self.inner, self.counted = counted.model, counted

    def forward(self, images):
        return self.counted(images)


def theirs(model, inputs, labels, eps):
    import torchattacks

    counted = Counted(model)
    module = _AsModule(counted).eval()  # it would leave a model in train mode that came so
    attack = torchattacks.AutoAttack(module, norm="Linf", eps=eps, version="standard", n_classes=10, seed=0)
    for member in attack._autoattack.attacks:
        if hasattr(member, "steps"):
            member.steps = 100
    start = time.perf_counter()
    parts = [attack(inputs[i : i + 128], labels[i : i + 128]) for i in range(0, len(inputs), 128)]
    seconds = time.perf_counter() - start
    return right(model, torch.cat(parts), labels), counted, seconds


@torch.no_grad()
def right(model, images, labels):
    hits = [model(images[i : i + 128]).argmax(1) == labels[i : i + 128] for i in range(0, len(images), 128)]
    return torch.cat(hits).numpy()


def ours(model, data, eps, crafting):
    start = time.perf_counter()
    result = bp.evaluate({"resnet20": model}, data, conditions=[AutoAttack(eps=eps)], crafting=crafting, progress=False)
    seconds, cell = time.perf_counter() - start, result.cells[-1]
    return cell.correct, cell, seconds


def against_the_oracle(model, data, oracle, claims):
    inputs, labels = data.images(np.arange(128)), torch.from_numpy(data.labels[:128])
    counted = Counted(model)
    adversarial = AutoAttack(eps=1 / 255)(counted, inputs, labels, rng=Rng(0, data.ids[:128]), batch_size=128)
    robust = right(model, adversarial, labels)
    with np.load(oracle) as stored:
        theirs = stored["robust"]
    claims["1/255, first 128, robust"] = {"measured": int(robust.sum()), "reference": int(theirs.sum())}
    claims["1/255, first 128, survive though the reference breaks them"] = {
        "measured": int((robust & ~theirs).sum()),
        "goal": 1,
    }
    claims["1/255, first 128, broken though the reference does not"] = {"measured": int((~robust & theirs).sum())}
    share = counted.forwards / 128 / REFERENCE_FORWARDS
    claims["1/255, first 128, forwards over the reference's"] = {"measured": round(share, 3), "goal": 0.85}


def main(root, weights, oracle, images=500):
    keep_freed_memory()
    data = bp.load_data("cifar10", root=root, split="test", limit=max(images, 128))
    model = bp.freeze(bp.load_model("resnet20", weights=weights))
    claims = {}
    against_the_oracle(model, data, oracle, claims)
    data = bp.load_data("cifar10", root=root, split="test", limit=images)
    inputs, labels = data.images(np.arange(images)), torch.from_numpy(data.labels)
    for grey in (8, 2, 1):
        eps = grey / 255
        runs = {
            "ours": lambda e=eps: ours(model, data, e, "exact"),
            "ours, folded": lambda e=eps: ours(model, data, e, "folded"),
            "torchattacks": lambda e=eps: theirs(model, inputs, labels, e),
        }
        found = {}
        with contextlib.suppress(ImportError):
            for name, run in runs.items():
                found[name] = run()
                robust, spent, seconds = found[name]
                claims[f"{grey}/255, {name}"] = {
                    "robust": int(robust.sum()),
                    "forwards an image": round(spent.forwards / images, 2),
                    "passes an image": round((spent.forwards + spent.backwards) / images, 2),
                    "seconds": round(seconds, 1),
                }
                if name == "torchattacks":
                    for mine in ("ours", "ours, folded"):
                        share = round(found[mine][2] / seconds, 3)
                        claims[f"{grey}/255, {mine}"] |= {"time over torchattacks'": share, "goal": 0.5}
        if grey == 8:
            claims["8/255, ours"]["goal for passes"] = 15
        record("autoattack", claims, {"model": "resnet20", "images": images, "runs": 1})


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))
