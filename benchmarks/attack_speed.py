"""What attacks cost in wall time against their peers, on ResNet20 and CIFAR-10, all in one run.

python benchmarks/attack_speed.py CIFAR10_ROOT WEIGHTS [pgd] [cw] [zoo]

Of parts that are named, only those are measured again. Needs `pip install torchattacks foolbox
adversarial-robustness-toolbox`, which get the model with frozen weights (so none computes the gradients of weights).
Ours is timed twice: called as the peers are, and by `evaluate(crafting="folded")`, which makes the attack on a copy
with folded BatchNorm, a lane a core, and judges it on the model itself. ART's CW is asked about 8 images only: it
takes half a minute each.
"""

import json
import sys
import time
from functools import partial

import art.attacks.evasion as art
import foolbox
import numpy as np
import torch
import torchattacks
from torch import Tensor, nn

import bitproof as bp
from attack_peers import measure, of_art, of_foolbox, of_torchattacks, ours
from bitproof.attacks import CW, ZOO, Attack, MadryPGD
from bitproof.core.memory import keep_freed_memory
from bitproof.core.passes import Counted
from common import RESULTS, ratio, record, rotate

BATCH = 128
PGD_IMAGES, CW_IMAGES, ART_IMAGES, ZOO_IMAGES = 256, 64, 8, 4


def evaluated(attack: Attack, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
    """Ours by `evaluate`, its clean pass and its last look included: what `measure` says of a run."""
    data, start = bp.from_arrays(x, y, classes=[str(label) for label in range(10)]), time.perf_counter()
    result = bp.evaluate({"resnet20": model}, data, conditions=[attack], crafting="folded", progress=False)
    seconds, cell = time.perf_counter() - start, result.cells[-1]
    return {
        "robust": cell.correct.mean(),
        "median": np.median(np.where(cell.correct, np.inf, cell.l2)).item(),
        "mean": cell.l2[~cell.correct].mean().item(),
        "forwards": cell.forwards / len(x),
        "backwards": cell.backwards / len(x),
        "seconds": seconds,
    }


def in_batches(run, model, x: Tensor, y: Tensor) -> Counted:
    counted = Counted(model)
    for part in torch.arange(len(x)).split(BATCH):
        run(counted, x[part], y[part], 0)
    return counted


def pgd(model, x: Tensor, y: Tensor, claims: dict) -> None:
    for level in (1, 2, 8):
        eps = level / 255
        runs = {
            "ours": ours(MadryPGD(eps=eps)),
            "torchattacks": of_torchattacks(torchattacks.PGD, eps=eps, alpha=eps / 8, steps=20),
            "foolbox": of_foolbox(foolbox.attacks.LinfPGD(steps=20, rel_stepsize=1 / 8), eps),
        }
        jobs = {name: partial(in_batches, run, model, x, y) for name, run in runs.items()}
        jobs["evaluated"] = partial(evaluated, MadryPGD(eps=eps), model, x, y)
        times = rotate(jobs, repeats=3, warmup=1)
        counted = in_batches(runs["ours"], model, x, y)
        fastest = min(("torchattacks", "foolbox"), key=lambda name: sum(times[name]))
        claims[f"pgd-20 linf {level}/255, time over the fastest peer's"] = {
            "goal": 0.6,
            "measured": round(ratio(times, "ours", fastest), 3),
            "evaluated": round(ratio(times, "evaluated", fastest), 3),
            "fastest": fastest,
            "forwards an image": round(counted.forwards / len(x), 2),
            "backwards": round(counted.backwards / len(x), 2),
        }


def cw(model, x: Tensor, y: Tensor, claims: dict) -> None:
    runs = {
        "foolbox": of_foolbox(foolbox.attacks.L2CarliniWagnerAttack(binary_search_steps=9, steps=100)),
        "art": of_art(art.CarliniL2Method, binary_search_steps=9, max_iter=100, batch_size=ART_IMAGES, verbose=False),
    }
    attack = CW(search_steps=9)
    jobs = {name: partial(measure, run, norm="l2") for name, run in (runs | {"ours": ours(attack)}).items()}
    jobs["evaluated"] = partial(evaluated, attack)
    for count in (CW_IMAGES, ART_IMAGES):
        for name, job in jobs.items():
            if name == "art" and count > ART_IMAGES:
                continue
            found = job(model=model, x=x[:count], y=y[:count])
            claims[f"cw 9x100, {count} images, {name}"] = {
                "seconds an image": round(found["seconds"] / count, 3),
                "mean l2": round(found["mean"], 4),
                "median l2": round(found["median"], 4),
                "passes": f"{found['forwards']:.0f} + {found['backwards']:.0f}",
                "robust": found["robust"],
            }


def zoo(model, x: Tensor, y: Tensor, claims: dict) -> None:
    peer = of_art(
        art.ZooAttack,
        max_iter=100,
        binary_search_steps=1,
        use_resize=False,
        use_importance=False,
        nb_parallel=128,
        verbose=False,
    )
    attack = ZOO(steps=20, search_steps=1)
    jobs = {name: partial(measure, run, norm="l2") for name, run in {"art": peer, "ours": ours(attack)}.items()}
    jobs["evaluated"] = partial(evaluated, attack)
    rates = {}
    for name, job in jobs.items():
        found = job(model=model, x=x[:ZOO_IMAGES], y=y[:ZOO_IMAGES])
        rates[name] = found["forwards"] * ZOO_IMAGES / found["seconds"]
    claims["zoo, queries a second, times ART's"] = {
        "goal": 8,
        "measured": round(rates["ours"] / rates["art"], 1),
        "evaluated": round(rates["evaluated"] / rates["art"], 1),
        **{f"{name}, queries a second": round(rate) for name, rate in rates.items()},
    }


PARTS = {"pgd": pgd, "cw": cw, "zoo": zoo}


def main(root: str, weights: str, *parts: str) -> None:
    keep_freed_memory()
    data = bp.load_data("cifar10", root=root, split="test", limit=PGD_IMAGES + 64)
    model = bp.freeze(bp.load_model("resnet20", weights=weights))
    images, labels = data.images(np.arange(len(data))), torch.from_numpy(data.labels)
    right = (model(images).argmax(1) == labels).nonzero()[:PGD_IMAGES, 0]
    claims = json.loads((RESULTS / "attack_speed.json").read_text())["claims"] if parts else {}
    for part in parts or PARTS:
        PARTS[part](model, images[right], labels[right], claims)
        record("attack_speed", claims, {"model": "resnet20", "batch": BATCH, "images for PGD": PGD_IMAGES, "runs": 1})


if __name__ == "__main__":
    main(*sys.argv[1:])
