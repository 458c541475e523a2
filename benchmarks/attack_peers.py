"""Attacks against those of torchattacks and Foolbox, on ResNet20 and CIFAR-10: quality, passes and time in one run.

python benchmarks/attack_peers.py CIFAR10_ROOT WEIGHTS [N]       N correctly classified test images a model

Needs `pip install torchattacks foolbox`. Goals: robust accuracy at most 0.5 points above the strongest peer's,
median distances at most 2% above the best peer's.
"""

import sys
import time

import foolbox
import numpy as np
import torch
import torchattacks
from torch import nn

import bitproof as bp
from bitproof.attacks import CW, DDN, FMN, PGD, DeepFool
from bitproof.core.balls import BALLS
from bitproof.core.memory import keep_freed_memory
from bitproof.core.passes import Counted
from common import record

SCHEMES = {
    "w8a8": bp.Scheme(weight_bits=8, act_bits=8),
    "w4a4": bp.Scheme(weight_bits=4, act_bits=4),
    "binaryconnect": bp.Scheme("binaryconnect", weight_bits=1, act_bits=32, first_last="float"),
}
MINIMUM = {
    "cw 9x100 l2": (
        CW(search_steps=9, learning_rate=0.01),
        foolbox.attacks.L2CarliniWagnerAttack(binary_search_steps=9, steps=100),
    ),
    "ddn l2": (DDN(), foolbox.attacks.DDNAttack(steps=100)),
    "fmn l2": (FMN(norm="l2"), foolbox.attacks.L2FMNAttack(steps=100)),
    "fmn linf": (FMN(norm="linf"), foolbox.attacks.LInfFMNAttack(steps=100)),
    "deepfool l2": (DeepFool(norm="l2"), foolbox.attacks.L2DeepFoolAttack()),
    "deepfool linf": (DeepFool(norm="linf"), foolbox.attacks.LinfDeepFoolAttack()),
}


class AsModule(nn.Module):
    """What the peers take: a module in eval mode."""

    def __init__(self, model):
        super().__init__()
        self.counted = model
        self.eval()

    def forward(self, x):
        return self.counted(x)


def ours(attack):
    return lambda model, x, y: attack(model, x, y, rng=bp.Rng(0, np.arange(len(x))))


def theirs(attack, eps=None):
    return lambda model, x, y: attack(foolbox.PyTorchModel(AsModule(model), bounds=(0, 1)), x, y, epsilons=eps)[1]


def measure(run, model, x, y, norm):
    """Robust accuracy, median distance of what broke, passes an example, seconds."""
    counted = Counted(model)
    start = time.perf_counter()
    adversarial = run(counted, x, y).detach()
    seconds = time.perf_counter() - start
    broken = model(adversarial).argmax(1) != y
    distance = torch.where(broken, BALLS[norm].norm(adversarial - x), torch.inf).median().item()
    passes = f"{counted.forwards / len(x):.0f}/{counted.backwards / len(x):.0f}"
    return {"robust": 1 - broken.float().mean().item(), "median": distance, "passes": passes, "seconds": seconds}


def main(root: str, weights: str, n: int) -> None:
    keep_freed_memory()
    data = bp.load_data("cifar10", root=root, split="test", limit=12 * n)
    calibration = bp.load_data("cifar10", root=root, split="train", limit=256)
    plain = bp.load_model("resnet20", weights=weights)
    models = {"float": plain, **{name: bp.quantize(plain, scheme, calibration) for name, scheme in SCHEMES.items()}}
    claims = {}
    for name, model in models.items():
        frozen = bp.freeze(model)
        images, labels = data.images(np.arange(len(data))), torch.from_numpy(data.labels)
        right = (frozen(images).argmax(1) == labels).nonzero()[:n, 0]
        x, y = images[right], labels[right]
        for level in (1, 2, 8):
            eps = level / 255
            runs = {
                "ours": ours(PGD(eps=eps)),
                "torchattacks": lambda m, x, y, e=eps: torchattacks.PGD(AsModule(m), eps=e, alpha=e / 8, steps=20)(
                    x, y
                ),
                "foolbox": theirs(foolbox.attacks.LinfPGD(steps=20, rel_stepsize=1 / 8), eps),
            }
            got = {k: measure(run, frozen, x, y, "linf") for k, run in runs.items()}
            best = min(got[k]["robust"] for k in runs if k != "ours")
            claims[f"{name}, pgd-20 linf {level}/255, robust accuracy"] = {
                "goal": f"<= {best + 0.005:.4f}",
                "measured": round(got["ours"]["robust"], 4),
                **{f"{k}, passes": v["passes"] for k, v in got.items()},
                "seconds over torchattacks": round(got["ours"]["seconds"] / got["torchattacks"]["seconds"], 2),
            }
        for attack, (mine, peer) in MINIMUM.items():
            a, b = (measure(run, frozen, x, y, mine.norm) for run in (ours(mine), theirs(peer)))
            claims[f"{name}, {attack}, median"] = {
                "goal": f"<= {1.02 * b['median']:.4f}",
                "measured": round(a["median"], 4),
                "robust": f"{a['robust']:.3f}, foolbox {b['robust']:.3f}",
                "passes": f"{a['passes']}, foolbox {b['passes']}",
                "seconds over foolbox": round(a["seconds"] / b["seconds"], 2),
            }
            print(name, attack, claims[f"{name}, {attack}, median"], flush=True)
        record("attack_peers", claims, {"n": n, "threads": torch.get_num_threads(), "runs": 1})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 64)
