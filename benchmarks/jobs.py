"""What `evaluate(jobs=2)` saves over one process, on equal tasks, beside what this machine gives two bare processes.

    python benchmarks/jobs.py [IMAGES] [ROUNDS]

Two models under three attacks that break nothing, so that every way does the same passes. In one process PyTorch has
both cores, with two jobs each has one; the bare processes share nothing, and their ratio is the most that jobs can
reach. Starting is part of every way: jobs start two processes, and the ratio grows with the work.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

import bitproof as bp
from bitproof.attacks import PGD
from bitproof.models import build_model
from common import ratio, record, rotate

STEPS, THREADS = 10, 2


def main() -> None:
    images, rounds = (int(given) for given in (sys.argv[1:] + ["256", "3"][len(sys.argv) - 1 :]))
    torch.set_num_threads(THREADS)
    alone, beside = (
        rotate({"one": lambda c=count: bare(c, images)}, repeats=rounds, warmup=0)["one"] for count in (1, 2)
    )
    ways = {str(jobs): lambda j=jobs: run(("one", "two"), images, j) for jobs in (1, 2)}
    times = rotate(ways, repeats=rounds, warmup=0)
    claims = {
        "one process over two jobs": {
            "measured": round(ratio(times, "1", "2"), 2),
            "goal": "none",
            "one process, seconds": [round(t, 1) for t in times["1"]],
            "two jobs, seconds": [round(t, 1) for t in times["2"]],
        },
        "two bare processes of one thread, times one": {
            "measured": round(2 * float(np.median(alone)) / float(np.median(beside)), 2)
        },
    }
    record("jobs", claims, {"model": "resnet20", "images": images, "attacks": f"3 x PGD-{STEPS}", "rounds": rounds})


def run(names: tuple[str, ...], images: int, jobs: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (images, 3, 32, 32), np.uint8)
    models = {}
    for name in names:
        torch.manual_seed(0)
        models[name] = build_model("resnet20")
        with torch.no_grad():  # other logits, the same predictions
            for parameter in models[name][-1].linear.parameters():
                parameter.mul_(1 + len(models))
    labels = models[names[0]].eval()(torch.from_numpy(pixels).float() / 255).argmax(1)
    data = bp.from_arrays(pixels, labels, classes=[str(i) for i in range(10)])
    attacks = [PGD(eps=eps, steps=STEPS, start="image") for eps in (1e-7, 2e-7, 3e-7)]
    with tempfile.TemporaryDirectory() as folder:
        result = bp.evaluate(
            models, data, conditions=attacks, store=Path(folder) / "runs.db", jobs=jobs, progress=False
        )
    assert len(result.cells) == len(names) * (1 + len(attacks))


def bare(count: int, images: int) -> None:
    """`count` processes of one thread, each with one model's part of the work."""
    command = [sys.executable, __file__, "part", str(images)]
    for process in [subprocess.Popen(command) for _ in range(count)]:
        assert process.wait() == 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["part"]:
        torch.set_num_threads(1)
        run(("one",), int(sys.argv[2]), 1)
    else:
        main()
