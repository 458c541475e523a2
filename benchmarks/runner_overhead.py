"""Overhead of `evaluate` over a bare loop that does the same passes. Goal: at most 3%.

python benchmarks/runner_overhead.py [IMAGES [REPEATS]]

Everything a run does counts: fingerprints, freezing, checks, distances, pictures, the store on disk. The
attack's budget is so small that no example breaks, so both sides do the same passes.
"""

import sys
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


def main(count: int, repeats: int) -> None:
    keep_freed_memory()
    torch.manual_seed(0)
    model = bp.load_model("resnet20")
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, 32, 32), np.uint8)
    with torch.no_grad():
        labels = torch.cat([model(b) for b in (torch.from_numpy(pixels).float() / 255).split(BATCH)]).argmax(1)
    data = bp.from_arrays(pixels, labels, classes=[str(i) for i in range(10)])

    def bare_forward(net):
        with torch.no_grad():
            return sum(int((net(x).argmax(1) == y).sum()) for x, y in batches())

    def batches():
        for i in range(0, count, BATCH):
            yield torch.from_numpy(pixels[i : i + BATCH]).float().div_(255), labels[i : i + BATCH]

    def bare_attack(net):
        for x, y in batches():
            adversarial = x.clone()
            for _ in range(STEPS):
                adversarial.requires_grad_()
                (gradient,) = torch.autograd.grad(F.cross_entropy(net(adversarial), y, reduction="sum"), adversarial)
                with torch.no_grad():
                    step = adversarial + 2.5 * EPS / STEPS * gradient.sign()
                    adversarial = (x + (step - x).clamp(-EPS, EPS)).clamp(0, 1)
            with torch.no_grad():
                net(adversarial)

    frozen = bp.freeze(model)

    def bare(attacked):
        bare_forward(frozen)
        if attacked:
            bare_attack(frozen)

    def ours(attacked):
        with tempfile.TemporaryDirectory() as folder:
            conditions = [PGD(eps=EPS, steps=STEPS, random_start=False)] if attacked else [Clean()]
            result = bp.evaluate(model, data, conditions=conditions, store=Path(folder) / "runs.db", progress=False)
        passes = sum(c.forwards for c in result.cells), sum(c.backwards for c in result.cells)
        assert passes == ((count * (STEPS + 2), count * STEPS) if attacked else (count, 0)), passes

    claims = {}
    for name, attacked in (("clean images", False), (f"clean and PGD-{STEPS}", True)):
        times = rotate(
            {"bare": lambda a=attacked: bare(a), "evaluate": lambda a=attacked: ours(a)}, repeats=repeats, warmup=1
        )
        claims[f"evaluate over a bare loop, {name}"] = {
            "measured": round(ratio(times, "evaluate", "bare"), 4),
            "goal": 1.03,
        }
    record("runner_overhead", claims, {"model": "resnet20", "images": count, "batch": BATCH, "repeats": repeats})


if __name__ == "__main__":
    main(*(int(a) for a in (sys.argv[1:] + ["2048", "7"][len(sys.argv) - 1 :])))
