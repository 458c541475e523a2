"""AutoAttack standard, linf, on the shared ResNet20: passes against the reference's, and time against torchattacks.

python benchmarks/autoattack.py DATA WEIGHTS ORACLE [IMAGES] [THREADS]

DATA holds cifar-10-batches-bin, ORACLE is the reference's verdicts on its first 128 test images at 1/255. Time is
measured where torchattacks can be imported; its APGD, APGD-T and FAB are set to 100 steps, as published.
"""

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


def ours(model, inputs, labels, ids, eps):
    counted, start = Counted(model), time.perf_counter()
    adversarial = AutoAttack(eps=eps)(counted, inputs, labels, rng=Rng(0, ids), batch_size=128)
    seconds = time.perf_counter() - start
    return right(model, adversarial, labels), counted, seconds


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


def main(root, weights, oracle, images=128, threads=2):
    keep_freed_memory()
    torch.set_num_threads(threads)
    data = bp.load_data("cifar10", root=root, split="test", limit=images)
    model = bp.freeze(bp.load_model("resnet20", weights=weights))
    inputs, labels = data.images(np.arange(images)), torch.from_numpy(data.labels)
    claims = {}
    for grey in (8, 1):
        robust, counted, seconds = ours(model, inputs, labels, data.ids, grey / 255)
        forwards, passes = counted.forwards / images, (counted.forwards + counted.backwards) / images
        goal = {"goal": 15} if grey == 8 else {}
        claims[f"{grey}/255, passes an image"] = {"measured": round(passes, 2), **goal}
        claims[f"{grey}/255, forwards an image"] = {"measured": round(forwards, 2)}
        claims[f"{grey}/255, robust"] = {"measured": f"{robust.sum()}/{images}"}
        if grey == 1:
            with np.load(oracle) as stored:
                first = slice(min(images, len(stored["robust"])))
                late = robust[first] & ~stored["robust"][first]
                early = ~robust[first] & stored["robust"][first]
            claims["1/255, survive though the reference breaks them"] = {"measured": int(late.sum()), "goal": 1}
            claims["1/255, broken though the reference does not"] = {"measured": int(early.sum())}
            if images == 128:
                share = round(forwards / REFERENCE_FORWARDS, 3)
                claims["1/255, forwards over the reference's"] = {"measured": share, "goal": 0.85}
        try:
            peer, peer_counted, peer_seconds = theirs(model, inputs, labels, grey / 255)
        except ImportError:
            continue
        claims[f"{grey}/255, time over torchattacks'"] = {"measured": round(seconds / peer_seconds, 3), "goal": 0.5}
        claims[f"{grey}/255, torchattacks' robust"] = {"measured": f"{peer.sum()}/{images}"}
        peer_passes = round((peer_counted.forwards + peer_counted.backwards) / images, 2)
        claims[f"{grey}/255, torchattacks' passes an image"] = {"measured": peer_passes}
    record("autoattack", claims, {"model": "resnet20", "images": images, "threads": threads, "runs": 1})


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))
