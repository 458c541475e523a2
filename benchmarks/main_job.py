"""What `evaluate` costs beyond making the images and running the models: the bare loop's time over its own.

python benchmarks/main_job.py CIFAR10_ROOT IMAGENET_ROOT WEIGHTS [rounds=3] [images=16] [only=NETWORK] [part=clean]

The clean images, the eleven resize modes and the fifteen corruptions (severity 3) of a pretrained float network, whose
weights lie in the folder WEIGHTS, and its frozen w8a8 copy. Of 32 pixels there are eight times as many images. The bare
loop reads the same pictures, makes the same images by the same settings, and runs the same frozen models,
channels-last, on batches of the same size; it checks, measures, counts and stores nothing. One thread, CPU time, both
in rotation; medians over rounds. Goals: 0.95, 0.9, 0.85.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import bitproof as bp
from bitproof.conditions import as_condition
from bitproof.conditions.suites import corruptions, resizes
from bitproof.core.memory import keep_freed_memory
from bitproof.data import Data, Examples
from bitproof.judging.making import keyed
from bitproof.shifts import IMAGENET_C
from bitproof.shifts.base import Shift
from common import kept, ratio, rotate

NETWORKS = {
    "resnet20": ("cifar10_resnet20", 32, 128),
    "torchvision:squeezenet1_0": ("imagenet_squeezenet1_0", 224, 16),
    "torchvision:mobilenet_v2": ("imagenet_mobilenet_v2", 224, 16),
}
"""The file of the weights, the size of the images, and how many make a batch."""


@torch.no_grad()
def bare(models: Sequence[nn.Module], data: Data, shifts: Sequence[Shift], batch: int) -> None:
    for shift in shifts:
        rng = keyed(shift, data, 0)
        for start in range(0, len(data), batch):
            read = data.read(np.arange(start, min(start + batch, len(data))))
            examples = Examples(data=data, rows=read.rows, images=read.images)
            frames = shift.make(examples, rng=rng.select(read.rows)).frames.flatten(0, 1)
            frames = frames.contiguous(memory_format=torch.channels_last)
            for model in models:
                model(frames).argmax(1)


def measured(
    name: str, roots: Sequence[str], images: int, rounds: int, only: str
) -> Iterator[tuple[str, dict[str, object]]]:
    """Each part of the job, or the one that is named, as soon as it is measured."""
    weights, size, batch = NETWORKS[name]
    source = ("cifar10", roots[0]) if size == 32 else ("imagenet", roots[1])
    options: dict[str, Any] = {} if size == 32 else {"size": size}
    count = images * (8 if size == 32 else 1)
    data = bp.load_data(source[0], root=source[1], limit=count, **options)
    net = bp.load_model(name, weights=Path(roots[2]) / f"{weights}.safetensors")
    models = {"float": net, "w8a8": bp.quantize(net, bp.Scheme(weight_bits=8, act_bits=8), next(data.inputs(4)))}
    frozen = [bp.freeze(model) for model in models.values()]
    for model in frozen:
        model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    parts = {
        "clean": (["clean"], 0.95),
        "resizes": (resizes(data), 0.9),
        "corruptions": (corruptions(data, IMAGENET_C.values(), severities=(3,)), 0.85),
    }
    for part, (conditions, goal) in parts.items():
        if only not in (part, ""):
            continue
        shifts = [as_condition(condition) for condition in conditions]
        shifts = shifts if part == "clean" else [as_condition("clean"), *shifts]
        runs = {
            "bare": lambda shifts=shifts: bare(frozen, data, shifts, batch),
            "evaluate": lambda given=conditions: bp.evaluate(
                models, data, conditions=given, batch_size=batch, progress=False
            ),
        }
        times = rotate(runs, repeats=rounds, warmup=1, clock=time.process_time)
        found = round(ratio(times, "bare", "evaluate"), 3)
        yield part, {"goal": goal, "measured": found, "images": count, "batch": batch, "rounds": rounds}


def main() -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    roots, options = sys.argv[1:4], dict(option.split("=") for option in sys.argv[4:])
    for name in NETWORKS:
        if options.get("only", name) == name:
            sizes = int(options.get("images", 16)), int(options.get("rounds", 3))
            for part, claim in measured(name, roots, *sizes, options.get("part", "")):
                kept("main_job", f"{name}, {part}", claim, {"threads": 1, "clock": "CPU time of the process"})


if __name__ == "__main__":
    main()
