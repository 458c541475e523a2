"""Masked gradients of ResNet-20 on CIFAR-10, float and quantized, and the rate of false alarms on digits networks.

python benchmarks/masking.py CIFAR10_ROOT WEIGHTS [TANH BINARYNET] [images=128] [only=NAME]

TANH and BINARYNET are checkpoints that `bitproof train` wrote, or these commands of one thread (5 and 55 CPU minutes):

    bitproof train qat:epochs=4,batch_size=128,learning_rate=0.003,augmentation=crop-flip resnet20 --limit 8000
        --weights WEIGHTS --scheme tanh:w32a2 --data cifar10:CIFAR10_ROOT -o tanh
    bitproof train standard:epochs=2,batch_size=128,optimizer=adam,learning_rate=0.001,weight_decay=0,holdout=2000,
        augmentation=crop-flip resnet20_hardtanh --weights WEIGHTS --data cifar10:CIFAR10_ROOT -o float
    bitproof train qat:epochs=7,batch_size=128,optimizer=adam,learning_rate=0.003,weight_decay=0,holdout=2000,
        augmentation=crop-flip,distillation=0.5,temperature=2 resnet20_hardtanh --weights float/best.safetensors
        --scheme binarynet:w1a1 --data cifar10:CIFAR10_ROOT -o binarynet

A row that is in the result already is not measured again.
"""

import contextlib
import io
import json
import sys
from functools import partial

import numpy as np
import torch
from torch import nn

import bitproof as bp
from bitproof.core.memory import keep_freed_memory
from bitproof.train import standard
from common import RESULTS, record

NAME = "masking"
SEEDS = range(200, 210)
"""Of the digits networks for false alarms, used nowhere else."""


def quantized(model: nn.Module, images: torch.Tensor, bits: tuple[int, int]) -> nn.Module:
    return bp.quantize(model, bp.Scheme(weight_bits=bits[0], act_bits=bits[1]), [images])


def outcome(diagnosis: bp.Diagnosis) -> dict[str, object]:
    return {
        "masked": diagnosis.masked,
        "eps x 255": round(255 * diagnosis.eps, 4),
        "images": diagnosis.data.count,
        "attacked": diagnosis.attacked,
        "standing %": {name: round(100 * value, 1) for name, value in diagnosis.accuracy.items()},
        "fire": [signal.name for signal in diagnosis.firing],
        "signals": {
            signal.name: {"effect": signal.effect, "p (Holm)": signal.p_holm, **signal.numbers}
            for signal in diagnosis.signals
        },
        "passes an example": round((diagnosis.forwards + diagnosis.backwards) / diagnosis.data.count),
    }


def false_alarms(seed: int) -> dict[str, object]:
    """A float network and its weight-only copies: nothing is masked."""
    train, test = bp.load_data("digits", split="train"), bp.load_data("digits", limit=100)
    run = bp.Rng(seed, np.zeros(1, np.int64))
    network = standard(epochs=4)(bp.load_model("digits_cnn", seed=seed), train, rng=run)
    copies = {bits: bp.quantize(network, bp.Scheme(weight_bits=bits, act_bits=32)) for bits in (8, 4, 3)}
    found = {"float": bp.diagnose_masking(network, test, seed=seed)}
    found |= {f"w{bits}": bp.diagnose_masking(copy, test, twin=network, seed=seed) for bits, copy in copies.items()}
    return {
        "alarms": sum(bool(diagnosis.firing) for diagnosis in found.values()),
        "diagnoses": len(found),
        "fire": {name: [signal.name for signal in diagnosis.firing] for name, diagnosis in found.items()},
    }


def main(root: str, weights: str, checkpoints: list[str], images: int, only: str | None) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    network = bp.load_model("resnet20", weights=weights)
    test = bp.load_data("cifar10", root=root, limit=images)
    calibration = bp.load_data("cifar10", root=root, split="train", limit=512).images(range(512))
    models = {"float": lambda: network}
    for name, bits in {"w4a4": (4, 4), "w4": (4, 32), "w8": (8, 32), "w8a8": (8, 8)}.items():
        models[name] = partial(quantized, network, calibration, bits)
    for (name, architecture), path in zip(
        {"tanh w32a2": "resnet20", "binarynet": "resnet20_hardtanh"}.items(), checkpoints, strict=False
    ):
        models[name] = partial(bp.load_model, architecture, weights=path)
    jobs = {name: partial(diagnosed, name, make, network, test) for name, make in models.items()}
    jobs |= {f"false alarms, digits, seed {seed}": partial(false_alarms, seed) for seed in SEEDS}

    path = RESULTS / f"{NAME}.json"
    claims = json.loads(path.read_text())["claims"] if path.exists() else {}
    for name, job in jobs.items():
        if name in claims or (only and not name.startswith(only)):
            continue
        claims[name] = job()
        print(name, claims[name], flush=True)
        with contextlib.redirect_stdout(io.StringIO()):
            record(NAME, claims, {"model": "resnet20", "threads": 1})


def diagnosed(name: str, make, network: nn.Module, test: bp.Data) -> dict[str, object]:
    model = make()
    return outcome(bp.diagnose_masking(model, test, twin=None if model is network else network, name=name))


if __name__ == "__main__":
    settings = dict(argument.split("=") for argument in sys.argv[1:] if "=" in argument)
    root, weights, *checkpoints = (argument for argument in sys.argv[1:] if "=" not in argument)
    main(root, weights, checkpoints, int(settings.get("images", 128)), settings.get("only"))
