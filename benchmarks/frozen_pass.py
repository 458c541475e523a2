"""What a frozen w8a8 pass costs beside the float one, and how near it is to the least that it could cost.

python benchmarks/frozen_pass.py [n=9] [only=NETWORK]

One thread and its CPU time, random weights, channels-last, in rotation; multiples of the float pass, medians over n
rounds. "copied" is the float network whose layers get a fresh copy of their input: one read and one write of each
activation, below which no kernel goes that rounds into a tensor of its own. Goal for MobileNetV2: 1.15.
"""

import sys
import time
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import bitproof as bp
from bitproof.core.memory import keep_freed_memory
from bitproof.quant.attached import compute_layers
from common import kept, ratio, rotate

NETWORKS = {"resnet20": (32, 128), "torchvision:squeezenet1_1": (224, 16), "torchvision:mobilenet_v2": (224, 16)}
"""Size of the images, and how many make a batch."""


def copied(net: nn.Module) -> nn.Module:
    """The frozen float network, whose layers compute with a copy of what they are given."""

    def copy(_: nn.Module, given: tuple[Any, ...]) -> tuple[Tensor]:
        return (torch.empty_like(given[0]).copy_(given[0]),)

    frozen = bp.freeze(net)
    for _, layer in compute_layers(frozen):
        layer.register_forward_pre_hook(copy)
    return frozen


@torch.no_grad()
def forward(model: nn.Module, images: Tensor) -> Tensor:
    return model(images)


def main() -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    options = dict(option.split("=") for option in sys.argv[1:])
    n = int(options.get("n", 9))
    for name, (size, batch) in NETWORKS.items():
        if options.get("only", name) != name:
            continue
        images = torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(0))
        net = bp.load_model(name, seed=0)
        models = {"float": bp.freeze(net), "w8a8": bp.freeze(bp.quantize(net, "w8a8", images)), "copied": copied(net)}
        images = images.contiguous(memory_format=torch.channels_last)
        runs = {
            kind: partial(forward, model.to(memory_format=torch.channels_last), images)
            for kind, model in models.items()
        }
        times = rotate(runs, repeats=n, warmup=1, clock=time.thread_time)
        claim = {kind: round(ratio(times, kind, "float"), 3) for kind in ("w8a8", "copied")}
        settings = {"threads": 1, "clock": "CPU time of the thread"}
        kept("frozen_pass", name, {"goal": 1.15, "n": n, "batch": batch} | claim, settings)


if __name__ == "__main__":
    main()
