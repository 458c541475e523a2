"""What it costs to make the images that models are tested on: with workers, for eight models, and in memory.

    python making.py workers DATA   throughput with two workers against none, by wall time and by CPU time, and what
                                    this machine gives two processes that share nothing
    python making.py models DATA    eight quantized variants against one, fifteen corruptions
    python making.py memory DATA    peak memory of a run over 2,500 and over 50,000 images

DATA is a folder of images with one sub-folder a class, such as ImageNet's `val`.
"""

import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

import bitproof as bp
from bitproof.core.memory import keep_freed_memory
from bitproof.judging.making import Maker
from bitproof.models import build_model
from bitproof.shifts import IMAGENET_C, GaussianNoise
from common import ratio, record, rotate

SEVERITY, BATCH, WORKED = 3, 32, 128


class Colours(nn.Module):
    """A model that costs next to nothing."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return nn.functional.pad(inputs.mean((2, 3)), (0, 997))


def corruptions() -> list:
    return [build(severity=SEVERITY, profile="hendrycks-224") for build in IMAGENET_C.values()]


def workers(root: str) -> None:
    data = bp.load_data("folder", root=root, limit=WORKED)
    makers = {str(count): Maker(data=data, seed=0, workers=count) for count in (0, 2)}
    wall = rotate({name: lambda m=maker: run(m) for name, maker in makers.items()}, repeats=3, warmup=1)
    makers["2"].close()
    once, several = (spent(data, count) for count in (1, 4))
    helpers = (several[1] - once[1]) / 3  # what workers need to start is in both
    main, alone = several[0], float(np.median(own_seconds(makers["0"])))
    images = len(data) * len(IMAGENET_C)
    claims = {
        "throughput with two workers, times none": {
            "goal": "at least 1.8",
            "measured": round(1 / ratio(wall, "2", "0"), 2),
            "two processes that share nothing, times one": round(2 * beside(root, 1) / beside(root, 2), 2),
            "by CPU time, with a core for each process": round(alone / max(main, helpers / 2), 2),
        },
        "CPU ms an image": {
            "without workers": round(1000 * alone / images, 2),
            "with two, in this process": round(1000 * main / images, 2),
            "with two, in both of them together": round(1000 * helpers / images, 2),
        },
    }
    record("making_workers", claims, {"images": len(data), "conditions": len(IMAGENET_C), "severity": SEVERITY})


def run(maker: Maker) -> None:
    for condition in corruptions():
        for _ in maker.batches(condition, BATCH):
            pass


def beside(root: str, count: int) -> float:
    """Seconds of a round in each of `count` processes that run at once, without workers."""
    with multiprocessing.get_context("spawn").Pool(count) as pool:
        return float(np.median(pool.map(rounds, [root] * count, chunksize=1)))


def rounds(root: str) -> list[float]:
    torch.set_num_threads(1)
    keep_freed_memory()
    maker = Maker(data=bp.load_data("folder", root=root, limit=WORKED), seed=0)
    return rotate({"here": lambda: run(maker)}, repeats=2, warmup=1)["here"]


def own_seconds(maker: Maker, count: int = 3) -> list[float]:
    """CPU seconds of this process, round by round."""
    times = [time.process_time()]
    for _ in range(count):
        run(maker)
        times.append(time.process_time())
    return np.diff(times).tolist()


def spent(data: bp.Data, count: int) -> tuple[float, float]:
    """CPU seconds with two workers: of this process a round, and of the workers in all, which show when they end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    maker = Maker(data=data, seed=0, workers=2)
    here = float(np.median(own_seconds(maker, count)))
    maker.close()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return here, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def models(root: str) -> None:
    data = bp.load_data("folder", root=root, limit=32)
    calibration = bp.load_data("folder", root=root, limit=16)
    net = build_model("timm:mobilenetv3_small_050", seed=0)
    variants = {
        f"w{bits}a{acts}": bp.quantize(net, bp.Scheme(weight_bits=bits, act_bits=acts), calibration)
        for bits in (8, 6, 5, 4)
        for acts in (8, 6)
    }
    seconds = {"making": 0.0, "models": 0.0}
    make = Maker.batches

    def timed(self, condition, size):
        batches = make(self, condition, size)
        while True:
            start = time.process_time()
            batch = next(batches, None)
            seconds["making"] += time.process_time() - start
            if batch is None:
                return
            yield batch

    Maker.batches = timed
    spent = {}
    for count in (1, 8, 1, 8, 1, 8):
        seconds["making"] = 0.0
        chosen = dict(list(variants.items())[:count])
        bp.evaluate(chosen, data, conditions=corruptions(), progress=False, batch_size=BATCH)
        spent.setdefault(count, []).append(seconds["making"])
    claims = {
        "time to make the images for eight variants, times that for one": {
            "goal": "below 1.3",
            "measured": round(float(np.median([b / a for a, b in zip(spent[1], spent[8], strict=True)])), 3),
        }
    }
    conditions = {"images": len(data), "conditions": len(IMAGENET_C), "clock": "process CPU time", "seconds": spent}
    record("making_models", claims, conditions)


def memory(root: str) -> None:
    files = sorted(Path(root).glob("*/*"))
    peaks = {}
    for count in (2_500, 50_000):
        with tempfile.TemporaryDirectory() as folder:
            for number in range(count):
                link = Path(folder) / f"class{number % 100:02}" / f"{number}.jpeg"
                link.parent.mkdir(exist_ok=True)
                link.symlink_to(files[number % len(files)].resolve())
            done = subprocess.run(
                [sys.executable, __file__, "peak", folder], capture_output=True, text=True, check=True
            )
            peaks[count] = int(done.stdout)
    small, large = peaks.values()
    claims = {
        "peak memory over 50,000 images, MiB": {"measured": large},
        "times that over 2,500": {"goal": "flat", "measured": round(large / small, 3)},
    }
    record("making_memory", claims, {"peak MiB by images": peaks, "batch": 128, "size": 224, "condition": "noise 3"})


def peak(root: str) -> None:
    """Prints the most MiB that this process ever held."""
    data = bp.load_data("folder", root=root)
    condition = GaussianNoise(severity=3, profile="hendrycks-224")
    bp.evaluate(Colours(), data, conditions=[condition], progress=False)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


if __name__ == "__main__":
    torch.set_num_threads(1)
    keep_freed_memory()
    {"workers": workers, "models": models, "memory": memory, "peak": peak}[sys.argv[1]](sys.argv[2])
