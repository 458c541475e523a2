"""What attacks cost in wall time against their peers, on ResNet20 and CIFAR-10, all in one run.

python benchmarks/attack_speed.py CIFAR10_ROOT WEIGHTS

Needs `pip install torchattacks foolbox adversarial-robustness-toolbox`, which get the model with frozen weights (so
none computes the gradients of weights). "Folded" is what `evaluate(crafting="folded")` makes attacks on. ART's CW is
asked about 8 images only: it takes half a minute each.
"""

import sys
from functools import partial

import art.attacks.evasion as art
import foolbox
import numpy as np
import torch
import torchattacks
from torch import Tensor, nn

import bitproof as bp
from attack_peers import Run, measure, of_art, of_foolbox, of_torchattacks, ours
from bitproof.attacks import CW, PGD, ZOO, Attack
from bitproof.core.memory import keep_freed_memory
from bitproof.core.passes import Counted
from bitproof.experiment.crafting import crafting_model
from common import ratio, record, rotate

BATCH = 128
PGD_IMAGES, CW_IMAGES, ART_IMAGES, ZOO_IMAGES = 256, 64, 8, 4


def on_folded(attack: Attack, model: nn.Module, x: Tensor) -> Run:
    """Ours on the faster copy that `evaluate(crafting="folded")` attacks."""
    copy = crafting_model(model, "folded", x[:2])

    def run(counted: Counted, x: Tensor, y: Tensor) -> Tensor:
        mine = Counted(copy)
        adversarial = ours(attack)(mine, x, y)
        counted.forwards, counted.backwards = mine.forwards, mine.backwards
        return adversarial

    return run


def in_batches(run, model, x: Tensor, y: Tensor) -> Counted:
    counted = Counted(model)
    for part in torch.arange(len(x)).split(BATCH):
        run(counted, x[part], y[part])
    return counted


def pgd(model, x: Tensor, y: Tensor, claims: dict) -> None:
    for level in (1, 2, 8):
        eps = level / 255
        runs = {
            "ours": ours(PGD(eps=eps)),
            "ours, folded": on_folded(PGD(eps=eps), model, x),
            "torchattacks": of_torchattacks(torchattacks.PGD, eps=eps, alpha=eps / 8, steps=20),
            "foolbox": of_foolbox(foolbox.attacks.LinfPGD(steps=20, rel_stepsize=1 / 8), eps),
        }
        times = rotate({name: partial(in_batches, run, model, x, y) for name, run in runs.items()}, repeats=3, warmup=1)
        counted = in_batches(runs["ours"], model, x, y)
        fastest = min(("torchattacks", "foolbox"), key=lambda name: sum(times[name]))
        claims[f"pgd-20 linf {level}/255, time over the fastest peer's"] = {
            "goal": 0.6,
            "measured": round(ratio(times, "ours", fastest), 3),
            "folded": round(ratio(times, "ours, folded", fastest), 3),
            "fastest": fastest,
            "forwards an image": round(counted.forwards / len(x), 2),
            "backwards": round(counted.backwards / len(x), 2),
        }


def cw(model, x: Tensor, y: Tensor, claims: dict) -> None:
    peers = {
        "foolbox": of_foolbox(foolbox.attacks.L2CarliniWagnerAttack(binary_search_steps=9, steps=100)),
        "art": of_art(art.CarliniL2Method, binary_search_steps=9, max_iter=100, batch_size=ART_IMAGES, verbose=False),
    }
    peers["ours"] = ours(CW(search_steps=9))
    peers["ours, folded"] = on_folded(CW(search_steps=9), model, x)
    for count in (CW_IMAGES, ART_IMAGES):
        for name, run in peers.items():
            if name == "art" and count > ART_IMAGES:
                continue
            found = measure(run, model, x[:count], y[:count], "l2")
            claims[f"cw 9x100, {count} images, {name}"] = {
                "seconds an image": round(found["seconds"] / count, 3),
                "mean l2": round(found["mean"], 4),
                "median l2": round(found["median"], 4),
                "passes": f"{found['forwards']:.0f} + {found['backwards']:.0f}",
                "robust": found["robust"],
            }


def zoo(model, x: Tensor, y: Tensor, claims: dict) -> None:
    runs = {
        "art": of_art(
            art.ZooAttack,
            max_iter=100,
            binary_search_steps=1,
            use_resize=False,
            use_importance=False,
            nb_parallel=128,
            verbose=False,
        ),
        "ours": ours(ZOO(steps=20, search_steps=1)),
        "ours, folded": on_folded(ZOO(steps=20, search_steps=1), model, x),
    }
    rates = {}
    for name, run in runs.items():
        found = measure(run, model, x[:ZOO_IMAGES], y[:ZOO_IMAGES], "l2")
        rates[name] = found["forwards"] * ZOO_IMAGES / found["seconds"]
    claims["zoo, queries a second, times ART's"] = {
        "goal": 8,
        "measured": round(rates["ours"] / rates["art"], 1),
        "folded": round(rates["ours, folded"] / rates["art"], 1),
        **{f"{name}, queries a second": round(rate) for name, rate in rates.items()},
    }


def main(root: str, weights: str) -> None:
    keep_freed_memory()
    data = bp.load_data("cifar10", root=root, split="test", limit=PGD_IMAGES + 64)
    model = bp.freeze(bp.load_model("resnet20", weights=weights))
    images, labels = data.images(np.arange(len(data))), torch.from_numpy(data.labels)
    right = (model(images).argmax(1) == labels).nonzero()[:PGD_IMAGES, 0]
    claims = {}
    for part in (pgd, cw, zoo):
        part(model, images[right], labels[right], claims)
        record("attack_speed", claims, {"model": "resnet20", "batch": BATCH, "images for PGD": PGD_IMAGES, "runs": 1})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
