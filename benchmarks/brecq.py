"""How long BRECQ takes on ResNet-20 at 4 bits, with two threads, and what it reaches on all CIFAR-10 test images.

python benchmarks/brecq.py CIFAR10_ROOT WEIGHTS
"""

import sys
import time

import torch

import bitproof as bp
from bitproof.core.memory import keep_freed_memory
from bitproof.ptq import PostTraining
from common import accuracy, record

THREADS = 2


def main(root: str, weights: str) -> None:
    torch.set_num_threads(THREADS)
    keep_freed_memory()
    model = bp.load_model("resnet20", weights=weights)
    images = bp.load_data("cifar10", root=root, split="train", limit=1024)
    scheme = bp.Scheme(bp.quant.Affine(act_range="omse"), weight_bits=4, act_bits=4)
    start, processor = time.perf_counter(), time.process_time()
    quantized = PostTraining(scheme=scheme, rounding="brecq", correct_bias=False)(model, images)
    claims = {
        "minutes": {"goal": "below 10", "measured": round((time.perf_counter() - start) / 60, 1)},
        "CPU minutes": {"measured": round((time.process_time() - processor) / 60, 1)},
        "top-1 %": {"measured": round(accuracy(bp.freeze(quantized), bp.load_data("cifar10", root=root)), 2)},
    }
    record("brecq", claims, {"model": "resnet20", "calibration images": len(images), "threads": THREADS})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
