"""What robust training costs: time of one step as a multiple of a plain one, ResNet20, batch 128, in one run.

python benchmarks/training_speed.py [REPEATS]

Goals: N-FGSM at most 2.0 plain steps and PGD-7 at most 8.0, float and inside quantization-aware training (LSQ w4a4,
over its own plain step); Defensive Quantization's regulariser at most 5% of a step; matching at most 1.6. Each step is
that of the training loop: loss, backward, SGD with momentum, in the memory format that it trains in.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

import bitproof as bp
from bitproof.core.copying import copied
from bitproof.core.memory import keep_freed_memory
from bitproof.core.rng import Rng
from bitproof.train import NFGSM, CrossEntropy, Matching, Objective, Orthogonality
from bitproof.train.batches import Batch
from bitproof.train.objectives.adversarial import pgd
from common import ratio, record, rotate

BATCH = 128


def batch() -> Batch:
    """Random images and labels."""
    images = torch.rand(BATCH, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return Batch(
        inputs=images.contiguous(memory_format=torch.channels_last),
        labels=torch.arange(BATCH) % 10,
        ids=np.arange(BATCH),
        epoch=0,
        step=0,
        progress=0.0,
    )


def step(
    model: nn.Module, objective: Objective, penalty: Callable[[nn.Module], torch.Tensor] | None = None
) -> Callable[[], None]:
    """A function that makes one training step of a copy of the model."""
    model = copied(model).train().to(memory_format=torch.channels_last)  # pyright: ignore
    loss, number = objective.start(bp.load_model("resnet20", seed=1)), 0
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    given = batch()

    def run() -> None:
        nonlocal number
        here = replace(given, step=number)
        value, _ = loss(model, here, Rng(0, given.ids, ("objective", number)))
        if penalty is not None:
            value = value + penalty(model)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
        number += 1

    return run


def main(repeats: int) -> None:
    keep_freed_memory()
    model = bp.load_model("resnet20")
    quantized = bp.quantize(model, bp.Scheme("lsq", weight_bits=4, act_bits=4), torch.rand(BATCH, 3, 32, 32))
    alternatives = {
        "plain": step(model, CrossEntropy()),
        "plain again": step(model, CrossEntropy()),
        "N-FGSM": step(model, NFGSM()),
        "PGD-7": step(model, pgd()),
        "DQ's regulariser": step(model, CrossEntropy(), Orthogonality()),
        "matching": step(model, Matching()),
        "LSQ w4a4": step(quantized, CrossEntropy()),
        "LSQ w4a4, N-FGSM": step(quantized, NFGSM()),
        "LSQ w4a4, PGD-7": step(quantized, pgd()),
    }
    times = rotate(alternatives, repeats=repeats, warmup=1)
    goals = {
        "N-FGSM": 2.0, "PGD-7": 8.0, "DQ's regulariser": 1.05, "matching": 1.6,
        "LSQ w4a4, N-FGSM": 2.0, "LSQ w4a4, PGD-7": 8.0,
    }  # fmt: skip
    claims: dict[str, dict[str, Any]] = {}
    for name in alternatives:
        base = "LSQ w4a4" if name.startswith("LSQ w4a4,") else "plain"
        if name != base:
            goal = {"goal": goals[name]} if name in goals else {}
            claims[f"{name} over {base}"] = {"measured": round(ratio(times, name, base), 3), **goal}
    record("training_speed", claims, {"model": "resnet20", "batch": BATCH, "repeats": repeats})


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 11)
