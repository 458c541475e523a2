"""Top-1 of every post-training method on all CIFAR-10 test images, ResNet-20, at 8, 6, 4 and 3 bits.

python benchmarks/ptq_accuracy.py CIFAR10_ROOT WEIGHTS [BITS...] [only=NAME]

Weights and activations have the same bits, weights a grid a channel, first and last layer 8 bits. 512 unlabelled
training images calibrate, 1024 where roundings are learned. Each figure is written down when it is there, and the same
command goes on with the missing ones. Nothing here was chosen by looking at test images.
"""

import contextlib
import io
import json
import sys
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

import bitproof as bp
from bitproof.core.memory import keep_freed_memory
from bitproof.ptq import PostTraining
from bitproof.quant import METHODS
from bitproof.quant.range_rules import ACT_RANGES, WEIGHT_RANGES
from common import RESULTS, accuracy, record

NAME = "ptq_accuracy"


def plain(bits: int, method: str = "affine", **fields: object) -> PostTraining:
    """Quantization without any further step."""
    scheme = bp.Scheme(METHODS[method](**fields), weight_bits=bits, act_bits=bits)
    return PostTraining(scheme=scheme, fold=False, correct_bias=False)


def composed(bits: int, method: str = "affine", *, act_range: str = "omse", **fields: object) -> PostTraining:
    """Quantization with further steps, on the activation ranges that suit few bits."""
    scheme = bp.Scheme(METHODS[method](act_range=act_range), weight_bits=bits, act_bits=bits)  # pyright: ignore
    return PostTraining(scheme=scheme, **{"correct_bias": False, **fields})  # pyright: ignore


def split(model: nn.Module, images: Tensor, bits: int) -> nn.Module:
    scheme = bp.Scheme(bp.quant.Affine(act_range="omse"), weight_bits=bits, act_bits=bits)
    return bp.quantize(bp.quant.split_outliers(model, scheme), scheme, images.split(128))


def post_training(make: Callable[[int], PostTraining], model: nn.Module, images: Tensor, bits: int) -> nn.Module:
    setting = make(bits)
    return setting(model, images.split(128) if setting.rounding != "nearest" else images[:512].split(128))


SETTINGS: dict[str, Callable[[int], PostTraining]] = {
    "nearest, omse": composed,
    "bias correction": partial(composed, correct_bias=True),
    "bias correction, not folded": partial(composed, fold=False, correct_bias=True),
    "re-estimation": partial(composed, fold=False, reestimate=True),
    "equalisation": partial(composed, equalize=True),
    "equalisation, bias correction": partial(composed, equalize=True, correct_bias=True),
    "AdaRound": partial(composed, rounding="adaround"),
    "AdaRound, bias correction": partial(composed, rounding="adaround", correct_bias=True),
    "BRECQ": partial(composed, rounding="brecq"),
    "BRECQ, Fisher": partial(composed, rounding="brecq", fisher=True),
    "PWLQ, re-estimation, omse": partial(composed, method="pwlq", fold=False, reestimate=True),
    "PWLQ, bias correction, omse": partial(composed, method="pwlq", fold=False, correct_bias=True),
    "PWLQ, BRECQ, omse": partial(composed, method="pwlq", rounding="brecq"),
    "pwlq": partial(plain, method="pwlq"),
    "pwlq-gauss": partial(plain, method="pwlq", breakpoint="gauss"),
    "pwlq-laplace": partial(plain, method="pwlq", breakpoint="laplace"),
    "pwlq-overlapping": partial(plain, method="pwlq", overlapping=True),
    **{f"activations {rule}": partial(plain, act_range=rule) for rule in ACT_RANGES},
    **{
        f"weights {rule}, activations omse": partial(plain, act_range="omse", weight_range=rule)
        for rule in WEIGHT_RANGES
    },
}


def main(root: str, weights: str, widths: list[int], only: str | None) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    model = bp.load_model("resnet20", weights=weights)
    test = bp.load_data("cifar10", root=root)
    images = bp.load_data("cifar10", root=root, split="train", limit=1024).images(range(1024))
    makers = {name: partial(post_training, make) for name, make in SETTINGS.items()} | {"OCS, activations omse": split}
    jobs = {f"{name}, w{bits}a{bits}": partial(make, bits=bits) for bits in widths for name, make in makers.items()}
    jobs = {"float": lambda model, images: model} | jobs

    path = RESULTS / f"{NAME}.json"
    claims = json.loads(path.read_text())["claims"] if path.exists() else {}
    for name, make in jobs.items():
        if name in claims or (only and not name.startswith(only)):
            continue
        start, wall = time.process_time(), time.perf_counter()
        quantized = make(model, images)
        made = time.process_time() - start
        claims[name] = {
            "top-1 %": round(accuracy(bp.freeze(quantized), test), 2),
            "CPU seconds to make it": round(made, 1),
            "CPU seconds in all": round(time.process_time() - start, 1),
            "seconds in all": round(time.perf_counter() - wall, 1),
        }
        print(name, claims[name], flush=True)
        with contextlib.redirect_stdout(io.StringIO()):
            record(NAME, claims, {"model": "resnet20", "test images": len(test), "threads": 1})


if __name__ == "__main__":
    chosen = [argument.removeprefix("only=") for argument in sys.argv[3:] if argument.startswith("only=")]
    numbers = [int(argument) for argument in sys.argv[3:] if not argument.startswith("only=")]
    main(sys.argv[1], sys.argv[2], numbers or [4, 8, 6, 3], chosen[0] if chosen else None)
