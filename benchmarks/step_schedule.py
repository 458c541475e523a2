"""Which steps PGD should take: chosen on some networks, images and budgets, compared on others.

python benchmarks/step_schedule.py CIFAR10_ROOT WEIGHTS_FOLDER [imagenet=ROOT] [only=NAME]

WEIGHTS_FOLDER holds `cifar10_resnet20`, `cifar10_resnet32`, `cifar10_resnet4b_adv2` and `imagenet_mobilenet_v2`, each
with `.safetensors`. "choice" rows: every schedule of `SCHEDULES`, on networks other than ResNet-20 and CIFAR-10's
test images 1000 to 1999 (ImageNet's, the digits' own). The default is one of the two schedules with the lowest means of
what stands over those rows, which differ by less than they vary. "comparison" rows: it against 2.5 eps / steps, on
ResNet-20, test images from 2000 on, other budgets.

All schedules start from the same points. "standing %" is of the images that the model gets right when clean, judged as
they come back; "passes" are forwards and backwards an image. A row that is in the result already is not measured again.
"""

import contextlib
import io
import json
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import bitproof as bp
from bitproof.attacks import PGD
from bitproof.core.memory import keep_freed_memory
from bitproof.core.passes import Counted
from bitproof.data import select
from bitproof.metrics import mcnemar
from bitproof.models import load_weights
from bitproof.train import qat, standard
from common import RESULTS, record

NAME = "step_schedule"
SCHEDULES: dict[str, tuple[float, float]] = {
    "2.5 eps / steps": (0.0, 1.0),
    "eps / 2": (0.5, 1.0),
    "eps": (1.0, 1.0),
    "eps / 2 to eps / 20": (0.5, 0.1),
    "eps to eps / 10": (1.0, 0.1),
    "eps to eps / 100": (1.0, 0.01),
    "2 eps to eps / 10": (2.0, 0.05),
    "2 eps to eps / 100": (2.0, 0.005),
}
"""The first step in eps (0: 2.5 / steps), and what is left of it at the last one; steps fall in line."""
USUAL, CHOSEN = "2.5 eps / steps", "2 eps to eps / 10"

Task = tuple[nn.Module, Tensor, Tensor]
"""A frozen model, images that it gets right, their labels."""


class ResNet4B(nn.Module):
    """The network of VNN-COMP 2021's `cifar10_resnet` benchmark: four basic blocks without BatchNorm."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.layer1 = nn.Sequential(_Block(16, 32, 2), _Block(32, 32, 1))
        self.layer2 = nn.Sequential(_Block(32, 32, 2), _Block(32, 32, 1))
        self.linear1, self.linear2 = nn.Linear(512, 100), nn.Linear(100, 10)
        self.register_buffer("mean", torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.2471, 0.2435, 0.2616]).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        x = self.layer2(self.layer1(self.conv1((images - self.mean) / self.std).relu()))
        return self.linear2(self.linear1(x.flatten(1)).relu())


class _Block(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.shortcut = nn.Sequential()
        if before != after or stride != 1:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride=stride))

    def forward(self, x: Tensor) -> Tensor:
        return (self.conv2(self.conv1(x).relu()) + self.shortcut(x)).relu()


def right(model: nn.Module, data: bp.Data, n: int) -> Task:
    """The first n images that the model gets right, and it frozen."""
    frozen, images, labels = bp.freeze(model), [], []
    for batch, answers in zip(data.inputs(64), torch.from_numpy(data.labels).split(64), strict=True):
        with torch.no_grad():
            kept = frozen(batch).argmax(1) == answers
        images.append(batch[kept])
        labels.append(answers[kept])
        if sum(map(len, labels)) >= n:
            break
    return frozen, torch.cat(images)[:n], torch.cat(labels)[:n]


def standing(task: Task, norm: str, eps: float, steps: int, schedule: str) -> tuple[np.ndarray, float]:
    """Who stands, and the passes an image."""
    model, images, labels = task
    first, factor = SCHEDULES[schedule]
    attack = PGD(norm=norm, eps=eps, steps=steps, rel_step_size=first or 2.5 / steps, end_factor=factor)
    counted, stands = Counted(model), []
    rng = bp.Rng(0, np.arange(len(images)))
    for rows in torch.arange(len(images)).split(64):
        found = attack(counted, images[rows], labels[rows], rng=rng.select(rows.numpy()))
        with torch.no_grad():
            stands.append(model(found).argmax(1) == labels[rows])
    return torch.cat(stands).numpy(), (counted.forwards + counted.backwards) / len(images)


def row(make: Callable[[], Task], norm: str, eps: float, steps: int, schedules: Iterable[str]) -> dict[str, object]:
    task = make()
    found = {schedule: standing(task, norm, eps, steps, schedule) for schedule in schedules}
    return {
        "n": len(task[1]),
        **{
            schedule: {"standing %": round(100 * float(stands.mean()), 1), "passes": round(passes, 1)}
            for schedule, (stands, passes) in found.items()
        },
        **(against(found[USUAL][0], found[CHOSEN][0]) if {USUAL, CHOSEN} == set(found) else {}),
    }


def against(usual: np.ndarray, chosen: np.ndarray) -> dict[str, float]:
    """Of two schedules, what one alone breaks, and how likely that is by chance."""
    return {
        "only the default breaks": int((usual & ~chosen).sum()),
        "only the usual breaks": int((chosen & ~usual).sum()),
        "p (McNemar)": round(float(mcnemar(usual, chosen)), 4),
    }


def quantized(model: nn.Module, data: bp.Data, scheme: str) -> nn.Module:
    return bp.quantize(model, bp.Scheme.parse(scheme), [data.images(range(min(512, len(data))))])


def binary_digits() -> Task:
    """A BinaryNet of the digits, trained from a float network; its first and last layers have 8 bits."""
    train, test, rng = bp.load_data("digits", split="train"), bp.load_data("digits"), bp.Rng(0, np.zeros(1, np.int64))
    start = standard(epochs=4)(bp.load_model("digits_cnn_hardtanh", seed=0), train, rng=rng)
    recipe = qat(scheme=bp.Scheme("binarynet", weight_bits=1, act_bits=1), epochs=6, learning_rate=3e-3)
    return right(recipe(start, train, rng=rng), test, 128)


def tasks(root: str, weights: Path, imagenet: str | None) -> dict[str, Callable[[], Task]]:
    """The networks by name; each is made when it is asked for."""
    train = bp.load_data("cifar10", root=root, split="train", limit=20_000)
    chosen_on = select(bp.load_data("cifar10", root=root, limit=2000), range(1000, 2000))
    compared_on = select(bp.load_data("cifar10", root=root, limit=4000), range(2000, 4000))
    small = ResNet4B()
    load_weights(small, weights / "cifar10_resnet4b_adv2.safetensors")
    two_bits = qat(scheme=bp.Scheme("lsq", weight_bits=2, act_bits=2), epochs=3, learning_rate=3e-3)
    resnet32 = bp.load_model("resnet32", weights=weights / "cifar10_resnet32.safetensors")
    resnet20 = bp.load_model("resnet20", weights=weights / "cifar10_resnet20.safetensors")
    found = {
        "resnet4b adversarial": lambda: right(small, chosen_on, 128),
        "resnet4b w4a4": lambda: right(quantized(small, train, "w4a4"), chosen_on, 128),
        "resnet4b lsq w2a2": lambda: right(
            two_bits(small, train, rng=bp.Rng(0, np.zeros(1, np.int64))), chosen_on, 128
        ),
        "digits binarynet": binary_digits,
        "resnet32 w4a4": lambda: right(quantized(resnet32, train, "w4a4"), chosen_on, 64),
        "resnet20": lambda: right(resnet20, compared_on, 128),
        "resnet20 w8a8": lambda: right(quantized(resnet20, train, "w8a8"), compared_on, 128),
        "resnet20 w4a4": lambda: right(quantized(resnet20, train, "w4a4"), compared_on, 128),
        "resnet20 w3a3 omse": lambda: right(quantized(resnet20, train, "w3a3,act_range=omse"), compared_on, 128),
    }
    if imagenet:
        pictures = bp.load_data("imagenet", root=imagenet)
        grey = {"mean": [0.5] * 3, "std": [0.5] * 3}
        mobile = weights / "imagenet_mobilenet_v2.safetensors"
        network = partial(bp.load_model, "torchvision:mobilenet_v2", weights=mobile, **grey)
        found["mobilenet_v2 w8a8"] = lambda: right(
            quantized(network(), select(pictures, range(200, 240)), "w8a8"), pictures, 32
        )
    return {name: _once(make) for name, make in found.items()}


def _once(make: Callable[[], Task]) -> Callable[[], Task]:
    made: list[Task] = []
    return lambda: made[0] if made else (made.append(make()) or made[0])


CHOICE = [
    ("resnet4b adversarial", "linf", 4 / 255, 20),
    ("resnet4b adversarial", "l2", 0.6, 20),
    ("resnet4b adversarial", "l1", 10.0, 20),
    ("resnet4b w4a4", "linf", 3 / 255, 20),
    ("resnet4b w4a4", "l2", 0.4, 20),
    ("resnet4b w4a4", "l1", 6.0, 20),
    ("resnet4b lsq w2a2", "linf", 1.5 / 255, 20),
    ("resnet4b lsq w2a2", "l2", 0.2, 20),
    ("resnet4b lsq w2a2", "l1", 3.0, 20),
    ("digits binarynet", "linf", 12 / 255, 20),
    ("resnet32 w4a4", "linf", 0.75 / 255, 20),
    ("mobilenet_v2 w8a8", "linf", 0.25 / 255, 20),
]
LONG = [(name, norm, eps, 100) for name, norm, eps, _ in CHOICE[:9]]
COMPARED = ("resnet20 w4a4", "resnet20 w8a8", "resnet20")
COMPARISON = [
    *((name, "linf", 1 / 255, 20) for name in COMPARED),
    *((name, "linf", 1 / 255, 100) for name in COMPARED),
    *((name, "l2", 0.15, 20) for name in COMPARED),
    *((name, "linf", 2 / 255, 20) for name in COMPARED),
    *((name, "l1", 2.0, 20) for name in COMPARED),
    ("resnet20 w3a3 omse", "linf", 0.5 / 255, 20),
]
"""Network, norm, budget, steps."""


def main(root: str, weights: str, imagenet: str | None, only: str | None) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    made = tasks(root, Path(weights), imagenet)
    path = RESULTS / f"{NAME}.json"
    claims = json.loads(path.read_text())["claims"] if path.exists() else {}
    parts = [
        ("choice", CHOICE, tuple(SCHEDULES)),
        ("choice", LONG, (USUAL, *(name for name in SCHEDULES if " to " in name))),
        ("comparison", COMPARISON, (USUAL, CHOSEN)),
    ]
    for part, settings, schedules in parts:
        for network, norm, eps, steps in settings:
            budget = f"{255 * eps:g}/255" if norm == "linf" else f"{eps:g}"
            name = f"{part}: {network}, {norm} {budget}, {steps} steps"
            known = claims.get(name, {})
            left = [schedule for schedule in schedules if schedule not in known]
            if not left or network not in made or (only and not name.startswith(only)):
                continue
            claims[name] = {**known, **row(made[network], norm, eps, steps, left)}
            print(name, claims[name], flush=True)
            with contextlib.redirect_stdout(io.StringIO()):
                record(NAME, claims, {"threads": 1, "seed": 0})


if __name__ == "__main__":
    settings = dict(argument.split("=") for argument in sys.argv[1:] if "=" in argument)
    root, weights = (argument for argument in sys.argv[1:] if "=" not in argument)
    main(root, weights, settings.get("imagenet"), settings.get("only"))
