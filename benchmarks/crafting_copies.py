"""What attacks made on a faster copy leave standing, against those made on the model itself.

python benchmarks/crafting_copies.py CIFAR10_ROOT WEIGHTS [n=64] [only=MODEL]

PGD-20 on ResNet-20, the first n test images that the model gets right, each budget anew. "exact": made on the model.
"copy alone": made on the copy, judged on the model. "mode": `evaluate(crafting=...)`, which attacks again on the model
what it has to. Standing in %, passes an image; "only the mode breaks", "only exact breaks" are images. On a processor
without bfloat16 the copy computes it in steps that take long: times say nothing here.
"""

import sys

import numpy as np
import torch
from torch import Tensor, nn

import bitproof as bp
from bitproof.attacks import PGD
from bitproof.core.memory import keep_freed_memory
from bitproof.judging.copies import crafting_model
from common import record

SCHEMES = ("w4a4", "w8a8", "float")
LEVELS = (0.25, 1.0)
COPIES = ("folded", "bfloat16")


def right(model: nn.Module, data: bp.Data, n: int) -> tuple[Tensor, Tensor]:
    images, labels = data.images(range(len(data))), torch.from_numpy(data.labels)
    with torch.no_grad():
        kept = (model(images).argmax(1) == labels).nonzero()[:n, 0]
    return images[kept], labels[kept]


def mode(attack: PGD, model: nn.Module, x: Tensor, y: Tensor, how: str) -> tuple[np.ndarray, float]:
    data = bp.from_arrays(x, y, classes=[str(label) for label in range(10)])
    cell = bp.evaluate({"resnet20": model}, data, conditions=[attack], crafting=how, progress=False).cells[-1]
    return cell.correct, (cell.forwards + cell.backwards) / len(x)


def compared(model: nn.Module, data: bp.Data, level: float, n: int) -> dict[str, object]:
    frozen, attack = bp.freeze(model), PGD(eps=level / 255)
    x, y = right(frozen, data, n)
    exact, passes = mode(attack, model, x, y, "exact")
    claim: dict[str, object] = {"n": len(x), "exact": round(100 * exact.mean(), 1), "exact, passes": round(passes, 1)}
    for how in COPIES:
        copy = crafting_model(frozen, how, x[:2])
        made = attack(copy, x, y, rng=bp.Rng(0, np.arange(len(x))))
        with torch.no_grad():
            alone = (frozen(made).argmax(1) == y).float().mean().item()
        stands, passes = mode(attack, model, x, y, how)
        claim |= {
            f"{how}, copy alone": round(100 * alone, 1),
            f"{how}, mode": round(100 * stands.mean(), 1),
            f"{how}, passes": round(passes, 1),
            f"{how}, only the mode breaks": int((exact & ~stands).sum()),
            f"{how}, only exact breaks": int((stands & ~exact).sum()),
        }
    return claim


def main(root: str, weights: str, n: int, only: str | None) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    network = bp.load_model("resnet20", weights=weights)
    data = bp.load_data("cifar10", root=root, limit=2 * n)
    calibration = bp.load_data("cifar10", root=root, split="train", limit=512)
    claims = {}
    for name in SCHEMES:
        if only in (None, name):
            model = network if name == "float" else bp.quantize(network, bp.Scheme.parse(name), calibration)
            for level in LEVELS:
                claims[f"{name}, {level:g}/255"] = compared(model, data, level, n)
                record("crafting_copies", claims, {"model": "resnet20", "attack": PGD(eps=level / 255).label})


if __name__ == "__main__":
    settings = dict(argument.split("=") for argument in sys.argv[1:] if "=" in argument)
    root, weights = (argument for argument in sys.argv[1:] if "=" not in argument)
    main(root, weights, int(settings.get("n", 64)), settings.get("only"))
