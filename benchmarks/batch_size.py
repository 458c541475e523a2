"""How much results depend on the batch size: under shifts not at all, under attacks by floating-point noise.

python benchmarks/batch_size.py CIFAR10_ROOT WEIGHTS [IMAGES]

Two kernels for two batch sizes sum in another order, so a gradient that is almost zero can change its sign, and an
attack that follows signs then takes another step. The figures say how often, for adversarial values and for verdicts.
"""

import sys

import numpy as np
import torch

import bitproof as bp
from bitproof.attacks import FGSM, PGD
from bitproof.conditions.suites import corruptions, resizes
from bitproof.core.memory import keep_freed_memory
from common import record

SIZES = (1, 7, 128)


def main(root: str, weights: str, count: int) -> None:
    keep_freed_memory()
    data = bp.load_data("cifar10", root=root, limit=count)
    model = bp.load_model("resnet20", weights=weights)
    train = bp.load_data("cifar10", root=root, split="train", limit=512)
    models = {"float": model, "w4a4": bp.quantize(model, bp.Scheme(weight_bits=4, act_bits=4), train)}

    claims = {}
    shifts = [*corruptions(data, (3,)), *resizes(data)]
    results = [bp.evaluate(models, data, conditions=shifts, batch_size=size, progress=False) for size in SIZES]
    different = sum(
        int((a.predictions != b.predictions).sum())
        for other in results[1:]
        for a, b in zip(results[0].cells, other.cells, strict=True)
    )
    claims["predictions under shifts that differ"] = {"measured": different, "of": 2 * count * len(results[0].cells)}

    labels = torch.from_numpy(data.labels)
    images = data.images(range(count))
    for attack in (FGSM(eps=2 / 255), PGD(eps=2 / 255), PGD(norm="l2", eps=0.25)):
        for name, tested in models.items():
            frozen = bp.freeze(tested)
            crafted = [in_batches(attack, frozen, images, labels, data.ids, size) for size in SIZES]
            verdicts = [frozen(x).argmax(1) == labels for x in crafted]
            gaps = torch.stack([(x - crafted[-1]).abs() for x in crafted[:-1]])
            claims[f"{attack.label}, {name}: values that differ by more than 1e-6"] = {
                "share": round((gaps > 1e-6).float().mean().item(), 6),
                "largest": round(gaps.max().item(), 6),
                "images concerned": round((gaps.flatten(2).amax(2) > 1e-6).float().mean().item(), 4),
                "verdicts that differ": sum(int((v != verdicts[-1]).sum()) for v in verdicts[:-1]),
                "of": 2 * count,
            }
    record("batch_size", claims, {"model": "resnet20", "images": count, "batch sizes": SIZES})


def in_batches(attack, model, images, labels, ids, size):
    parts = []
    for rows in np.array_split(np.arange(len(images)), range(size, len(images), size)):
        rng = bp.Rng(seed=0, ids=ids[rows])
        parts.append(attack(model, images[rows], labels[rows], rng=rng))
    return torch.cat(parts)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 256)
