"""What tasks side by side are worth: a grid by `evaluate(jobs=2)`, each in a process with its share of the cores.

python benchmarks/jobs.py CIFAR10_ROOT WEIGHTS
"""

import sys

import torch

import bitproof as bp
from bitproof.attacks import FGSM, PGD
from bitproof.core.memory import keep_freed_memory
from common import ratio, record, rotate

IMAGES = 512


def main(root: str, weights: str) -> None:
    keep_freed_memory()
    data = bp.load_data("cifar10", root=root, limit=IMAGES)
    plain = bp.load_model("resnet20", weights=weights)
    calibration = bp.load_data("cifar10", root=root, split="train", limit=512)
    schemes = {bits: bp.Scheme.parse(bits) for bits in ("w8a8", "w4a4")}
    models = {"float": plain} | {bits: bp.quantize(plain, scheme, calibration) for bits, scheme in schemes.items()}
    attacks = [FGSM(eps=1 / 255), *(PGD(eps=eps / 255) for eps in (0.5, 1, 2))]

    def run(jobs: int) -> None:
        bp.evaluate(models, data, conditions=attacks, suite="imagenet-c", jobs=jobs, progress=False)

    times = rotate({"one": lambda: run(1), "two": lambda: run(2)}, repeats=3, warmup=1)
    claims = {
        "time with two jobs over that with one, start included": {"measured": round(ratio(times, "two", "one"), 3)}
    }
    record("jobs", claims, {"rounds": 3, "threads": torch.get_num_threads(), "images": IMAGES, "models": len(models)})


if __name__ == "__main__":
    main(*sys.argv[1:])
