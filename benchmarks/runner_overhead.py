"""Overhead of `evaluate` over a bare loop that does the same passes. Goal: at most 3%.

python benchmarks/runner_overhead.py

Everything a run does counts: fingerprints, freezing, checks, distances, pictures, the store on disk. The attack's
budget is so small that no example breaks, so both sides do the same passes.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

import bitproof as bp
from bitproof.attacks import PGD
from bitproof.core.memory import keep_freed_memory
from bitproof.experiment import Clean
from common import ratio, record, rotate

BATCH, STEPS, EPS = 128, 5, 1e-7
WORKLOADS = {"clean images": (4096, False, 15), f"clean and PGD-{STEPS}": (1024, True, 5)}  # images, attacked, repeats


def main() -> None:
    keep_freed_memory()
    torch.manual_seed(0)
    model = bp.load_model("resnet20")
    frozen = bp.freeze(model)
    claims = {}
    for name, (count, attacked, repeats) in WORKLOADS.items():
        pixels = np.random.default_rng(0).integers(0, 256, (count, 3, 32, 32), np.uint8)
        labels = bare_clean(frozen, pixels)
        data = bp.from_arrays(pixels, labels, classes=[str(i) for i in range(10)])
        sides = {
            "bare": lambda p=pixels, y=labels, a=attacked: bare(frozen, p, y, a),
            "evaluate": lambda d=data, a=attacked: ours(model, d, a),
        }
        measured = round(ratio(rotate(sides, repeats=repeats, warmup=1), "evaluate", "bare"), 4)
        claims[f"evaluate over a bare loop, {name}"] = {
            "measured": measured,
            "goal": 1.03,
            "images": count,
            "repeats": repeats,
        }
    record("runner_overhead", claims, {"model": "resnet20", "batch": BATCH})


def batches(pixels):
    return (torch.from_numpy(pixels[i : i + BATCH]).float().div_(255) for i in range(0, len(pixels), BATCH))


def bare(model, pixels, labels, attacked):
    bare_clean(model, pixels)
    if attacked:
        bare_attack(model, pixels, labels)


@torch.no_grad()
def bare_clean(model, pixels):
    return torch.cat([model(x).argmax(1) for x in batches(pixels)])


def bare_attack(model, pixels, labels):
    for x, y in zip(batches(pixels), labels.split(BATCH), strict=True):
        adversarial = x.clone()
        for _ in range(STEPS):
            adversarial.requires_grad_()
            (gradient,) = torch.autograd.grad(F.cross_entropy(model(adversarial), y, reduction="sum"), adversarial)
            with torch.no_grad():
                step = adversarial + 2.5 * EPS / STEPS * gradient.sign()
                adversarial = (x + (step - x).clamp(-EPS, EPS)).clamp(0, 1)
        with torch.no_grad():
            model(adversarial)


def ours(model, data, attacked):
    with tempfile.TemporaryDirectory() as folder:
        conditions = [PGD(eps=EPS, steps=STEPS, start="image")] if attacked else [Clean()]
        result = bp.evaluate(model, data, conditions=conditions, store=Path(folder) / "runs.db", progress=False)
    passes = sum(c.forwards for c in result.cells), sum(c.backwards for c in result.cells)
    assert passes == (len(data) * (STEPS + 2 if attacked else 1), len(data) * STEPS * attacked), passes


if __name__ == "__main__":
    main()
