"""How strong attacks are against those of torchattacks, Foolbox and ART, on ResNet20 and its quantized copies.

python benchmarks/attack_peers.py CIFAR10_ROOT WEIGHTS [BINARYNET] [n=64] [only=MODEL]

On n correctly classified test images a model; attacks that start or search at random are run with several seeds.
BINARYNET is a checkpoint of `resnet20_hardtanh` that `bitproof train` wrote (benchmarks/masking.py has the command).
Needs `pip install torchattacks foolbox adversarial-robustness-toolbox`.
Goals: robust accuracy at most 0.5 points above the strongest peer's, median distances at most 2% above the best peer's.
A row that is in the result already is not measured again. For time see benchmarks/attack_speed.py.
"""

import contextlib
import inspect
import io
import json
import sys
import time
from collections.abc import Callable
from functools import partial

import art.attacks.evasion as art
import foolbox.attacks as fb
import numpy as np
import torch
import torchattacks as ta
from art.estimators.classification import PyTorchClassifier
from foolbox import PyTorchModel
from torch import Tensor, nn

import bitproof as bp
from bitproof.attacks import APGD, CW, DDN, FAB, FGSM, FMN, MIFGSM, PGD, Attack, DeepFool, HopSkipJump, MadryPGD, Square
from bitproof.core.balls import BALLS
from bitproof.core.memory import keep_freed_memory
from bitproof.core.passes import Counted
from common import RESULTS, record

NAME = "attack_peers"
SCHEMES = {"w8a8": bp.Scheme(weight_bits=8, act_bits=8), "w4a4": bp.Scheme(weight_bits=4, act_bits=4)}
SEEDS = 5
"""Of attacks that start or search at random, over which robust accuracy is averaged: they move it by points."""
TUNED = ("cw", "deepfool")
"""What was tuned on some of the first 2n images, and so is measured on the next n."""
SLACK_ACCURACY, SLACK_DISTANCE = 0.005, 1.02

Run = Callable[[Counted, Tensor, Tensor, int], Tensor]
"""Model, images, labels, seed -> adversarial images."""


class AsModule(nn.Module):
    """What the peers take: a module in eval mode, with parameters, which tell them the device."""

    def __init__(self, model: Counted) -> None:
        super().__init__()
        self.inner, self.counted = model.model, model
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        return self.counted(images)


def ours(attack: Attack) -> Run:
    return lambda model, x, y, seed: attack(model, x, y, rng=bp.Rng(seed, np.arange(len(x))))


def of_torchattacks(attack, **settings) -> Run:
    def run(model: Counted, x: Tensor, y: Tensor, seed: int) -> Tensor:
        seeded = {"seed": seed} if "seed" in inspect.signature(attack).parameters else {}
        return attack(AsModule(model), **settings, **seeded)(x, y)

    return run


def of_foolbox(attack, eps: float | None = None) -> Run:
    return lambda model, x, y, _: attack(PyTorchModel(AsModule(model), bounds=(0, 1)), x, y, epsilons=eps)[1]


def of_art(attack, **settings) -> Run:
    def run(model: Counted, x: Tensor, y: Tensor, _: int) -> Tensor:
        loss = nn.CrossEntropyLoss()
        classifier = PyTorchClassifier(AsModule(model), loss, x.shape[1:], 10, clip_values=(0, 1), device_type="cpu")
        made = attack(classifier, **settings).generate(x.numpy(), y=np.eye(10, dtype=np.float32)[y.numpy()])
        return torch.from_numpy(made)

    return run


def measure(run: Run, model: nn.Module, x: Tensor, y: Tensor, norm: str, seed: int = 0) -> dict[str, float | Tensor]:
    """Robust accuracy, who stood, distances of what broke, passes an example, seconds."""
    counted = Counted(model)
    torch.manual_seed(seed)
    np.random.seed(seed)
    start = time.perf_counter()
    adversarial = run(counted, x, y, seed).detach()
    seconds = time.perf_counter() - start
    with torch.no_grad():
        broken = model(adversarial).argmax(1) != y
    distance = BALLS[norm].norm(adversarial - x)
    return {
        "robust": 1 - broken.float().mean().item(),
        "stood": ~broken,
        "median": torch.where(broken, distance, torch.inf).median().item(),
        "mean": distance[broken].mean().item(),
        "furthest": distance.max().item(),
        "forwards": counted.forwards / len(x),
        "backwards": counted.backwards / len(x),
        "seconds": seconds,
    }


def budgeted(eps: float) -> dict[str, tuple[Attack, dict[str, Run]]]:
    pgd = {"eps": eps, "alpha": eps / 8}
    apgd = {"norm": "Linf", "eps": eps, "steps": 100}
    of_art_pgd = {"eps": eps, "eps_step": eps / 8, "max_iter": 20, "num_random_init": 1, "verbose": False}
    their_pgd = {
        "torchattacks": of_torchattacks(ta.PGD, **pgd, steps=20),
        "foolbox": of_foolbox(fb.LinfPGD(steps=20, rel_stepsize=1 / 8), eps),
        "art": of_art(art.ProjectedGradientDescentPyTorch, **of_art_pgd),
    }
    return {
        "fgsm": (
            FGSM(eps=eps),
            {
                "torchattacks": of_torchattacks(ta.FGSM, eps=eps),
                "foolbox": of_foolbox(fb.LinfFastGradientAttack(), eps),
                "art": of_art(art.FastGradientMethod, eps=eps),
            },
        ),
        "mi-fgsm-10": (MIFGSM(eps=eps), {"torchattacks": of_torchattacks(ta.MIFGSM, eps=eps, alpha=eps / 10)}),
        "pgd-20": (MadryPGD(eps=eps), their_pgd),
        "pgd-20, falling steps": (PGD(eps=eps), their_pgd),
        "apgd-ce-100": (APGD(eps=eps), {"torchattacks": of_torchattacks(ta.APGD, **apgd, loss="ce")}),
        "apgd-dlr-100": (APGD(eps=eps, loss="dlr"), {"torchattacks": of_torchattacks(ta.APGD, **apgd, loss="dlr")}),
        "fab-t-100": (
            FAB(eps=eps),
            {"torchattacks": of_torchattacks(ta.FAB, norm="Linf", eps=eps, steps=100, multi_targeted=True)},
        ),
        "square-1000": (
            Square(eps=eps, queries=1000),
            {"torchattacks": of_torchattacks(ta.Square, norm="Linf", eps=eps, n_queries=1000)},
        ),
    }


def minimum_norm() -> dict[str, tuple[Attack, dict[str, Run]]]:
    cw = fb.L2CarliniWagnerAttack(binary_search_steps=9, steps=100)
    return {
        "cw 9x100 l2": (CW(search_steps=9), {"foolbox": of_foolbox(cw)}),
        "ddn-100 l2": (DDN(), {"foolbox": of_foolbox(fb.DDNAttack(steps=100))}),
        "fmn-100 l2": (FMN(norm="l2"), {"foolbox": of_foolbox(fb.L2FMNAttack(steps=100))}),
        "fmn-100 linf": (FMN(norm="linf"), {"foolbox": of_foolbox(fb.LInfFMNAttack(steps=100))}),
        "deepfool-50 l2": (
            DeepFool(norm="l2"),
            {
                "foolbox": of_foolbox(fb.L2DeepFoolAttack()),
                "art": of_art(art.DeepFool, max_iter=50, epsilon=0.02, nb_grads=10, batch_size=64, verbose=False),
            },
        ),
        "deepfool-50 linf": (DeepFool(norm="linf"), {"foolbox": of_foolbox(fb.LinfDeepFoolAttack())}),
        "hopskipjump-2500 l2": (
            HopSkipJump(queries=2500),
            {"foolbox": of_foolbox(fb.HopSkipJumpAttack(steps=8, max_gradient_eval_steps=300))},
        ),
    }


def compared(found: dict[str, dict[str, float]], key: str, slack: Callable[[float], float]) -> dict[str, object]:
    """The row of an attack: ours against the best peer."""
    best = min(values[key] for name, values in found.items() if name != "ours")
    return {
        "goal": f"<= {slack(best):.4f}",
        "measured": round(found["ours"][key], 4),
        "met": found["ours"][key] <= slack(best) + 1e-9,
        **{f"{name}, {key}": round(values[key], 4) for name, values in found.items() if name != "ours"},
        **{f"{name}, passes": f"{v['forwards']:.0f} + {v['backwards']:.0f}" for name, v in found.items()},
    }


def rows(images: Tensor, labels: Tensor, model: nn.Module, n: int) -> dict[str, Callable[[], dict[str, object]]]:
    first, held_out = (images[:n], labels[:n]), (images[2 * n :], labels[2 * n :])

    def within(best: float) -> float:
        return best + SLACK_ACCURACY

    def near(best: float) -> float:
        return best * SLACK_DISTANCE

    def against(attack: Attack, peers: dict[str, Run], key: str, slack, x: Tensor, y: Tensor) -> dict[str, object]:
        runs = {"ours": ours(attack), **peers}
        found = {name: measure(run, model, x, y, attack.norm) for name, run in runs.items()}
        return compared(found, key, slack)

    def on_average(attack: Attack, peers: dict[str, Run], x: Tensor, y: Tensor) -> dict[str, object]:
        runs = {"ours": ours(attack), **peers}
        rounds = {
            name: [measure(run, model, x, y, attack.norm, seed) for seed in range(SEEDS)] for name, run in runs.items()
        }
        stood = {name: torch.stack([found["stood"] for found in founds]).float() for name, founds in rounds.items()}
        found = {name: {**founds[0], "robust": stood[name].mean().item()} for name, founds in rounds.items()}
        best = min(peers, key=lambda name: found[name]["robust"])
        luck = sum(stood[name].var(0).sum().item() / SEEDS for name in ("ours", best)) ** 0.5 / len(x)
        return {**compared(found, "robust", within), "standard error of the difference": round(luck, 4)}

    jobs = {}
    for level in (1, 2, 8):
        for name, (attack, peers) in budgeted(level / 255).items():
            row = f"{name}, {level}/255, robust"
            if isinstance(attack, (APGD, Square)) or getattr(attack, "start", "image") != "image":
                jobs[row] = partial(on_average, attack, peers, *first)
            else:
                jobs[row] = partial(against, attack, peers, "robust", within, *first)
    for name, (attack, peers) in minimum_norm().items():
        chosen = held_out if name.startswith(TUNED) else first
        jobs[f"{name}, median"] = partial(against, attack, peers, "median", near, *chosen)
    return jobs


def main(root: str, weights: str, binarynet: str | None, n: int, only: str | None) -> None:
    keep_freed_memory()
    data = bp.load_data("cifar10", root=root, split="test", limit=6 * n)
    calibration = bp.load_data("cifar10", root=root, split="train", limit=512)
    plain = bp.load_model("resnet20", weights=weights)
    models = {"float": plain, **{name: bp.quantize(plain, scheme, calibration) for name, scheme in SCHEMES.items()}}
    if binarynet:
        models["binarynet"] = bp.load_model("resnet20_hardtanh", weights=binarynet)
    path = RESULTS / f"{NAME}.json"
    claims = json.loads(path.read_text())["claims"] if path.exists() else {}
    for name, model in models.items():
        if only not in (None, name):
            continue
        frozen = bp.freeze(model)
        images, labels = data.images(np.arange(len(data))), torch.from_numpy(data.labels)
        right = (frozen(images).argmax(1) == labels).nonzero()[: 3 * n, 0]
        for row, job in rows(images[right], labels[right], frozen, n).items():
            if (claim := f"{name}, {row}") not in claims:
                claims[claim] = job()
                print(claim, claims[claim], flush=True)
                with contextlib.redirect_stdout(io.StringIO()):
                    record(NAME, claims, {"n": n})


if __name__ == "__main__":
    settings = dict(argument.split("=") for argument in sys.argv[1:] if "=" in argument)
    root, weights, *checkpoint = (argument for argument in sys.argv[1:] if "=" not in argument)
    main(root, weights, next(iter(checkpoint), None), int(settings.get("n", 64)), settings.get("only"))
