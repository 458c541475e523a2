"""What explanations of ResNet-20 on CIFAR-10 say and cost: which layer, gradient alignment, error amplification.

python benchmarks/explanations.py CIFAR10_ROOT WEIGHTS [images=256] [report=FILE.html] [store=FILE.db]

The goal for which layer is at most 25 forwards of the images, clean and attacked ones together, counted by
multiply-accumulates. The time of its forwards beside that of a whole one says what those add that are not kept: sums,
normalisation, roundings.
"""

import sys
import time

import numpy as np
import torch

import bitproof as bp
from bitproof.analysis.forms import forms
from bitproof.analysis.variants import Variants
from bitproof.core.memory import keep_freed_memory
from bitproof.quant.attached import compute_layers
from bitproof.records import Alignment, Amplification, Attribution
from common import record

GOAL = 25
ASKED = ("layers", "alignment", "amplification")


def time_ratio(quantized: torch.nn.Module, images: torch.Tensor) -> dict[str, float]:
    """Seconds of all layers, one at a time, over those of a whole forward, beside what multiply-accumulates say."""
    rounded, loose = forms(quantized)
    variants = Variants(rounded, images)
    variants.base(images)
    with torch.no_grad():
        rounded(images)
        start = time.thread_time()
        rounded(images)
        whole = time.thread_time() - start
    before, start = variants.passes, time.thread_time()
    for name, layer in compute_layers(loose):
        variants.of({name: layer})
    return {
        "by time": round((time.thread_time() - start) / whole, 2),
        "by multiply-accumulates": round((variants.passes - before) / len(images), 2),
    }


def main(root: str, weights: str, images: int, report: str | None, store: str | None) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    network = bp.load_model("resnet20", weights=weights)
    test = bp.load_data("cifar10", root=root, limit=images)
    calibration = bp.load_data("cifar10", root=root, split="train", limit=512)
    models = {"float": network} | {bits: bp.quantize(network, bits, calibration) for bits in ("w8a8", "w4a4")}
    result = bp.evaluate(models, test, suite="clean", analyses=ASKED, store=store, progress=False)
    if report:
        result.report(report)
    claims = {}
    for found in result.explanations:
        claim = {"findings": found.findings, "forwards an image": round(found.forwards / images, 2)}
        claim |= {"backwards an image": round(found.backwards / images, 2), "seconds": round(found.seconds, 1)}
        if isinstance(found, Attribution):
            claim |= {"goal": GOAL, "forwards of the images": round(found.repeats, 2)}
            claim |= {"base": found.base, "whole": found.whole}
            claim |= {"layers": {layer.name: round(100 * layer.agreement.value, 1) for layer in found.layers}}
        if isinstance(found, Alignment):
            claim |= {"cosines": np.round(found.cosines, 3).tolist(), "zeros": found.zeros.tolist()}
        if isinstance(found, Amplification):
            claim |= {"layers": found.layers, "eps x 255": [round(255 * eps) for eps in found.eps]}
            claim |= {"ratio of sums": np.round(found.sums, 4).tolist()}
            claim |= {"mean of ratios": np.round(found.means, 4).tolist()}
        claims[found.title] = claim
    claims["one layer at a time over a whole forward"] = time_ratio(models["w4a4"], test.images(range(64)))
    record("explanations", claims, {"model": "resnet20", "images": images, "threads": 1})


if __name__ == "__main__":
    settings = dict(argument.split("=", 1) for argument in sys.argv[1:] if "=" in argument)
    root, weights = (argument for argument in sys.argv[1:] if "=" not in argument)
    main(root, weights, int(settings.get("images", 256)), settings.get("report"), settings.get("store"))
