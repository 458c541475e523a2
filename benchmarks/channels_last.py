"""What the layout of images in memory costs: channels-last as a multiple of channels-first.

python benchmarks/channels_last.py [n=6] [only=NETWORK]

One thread and its CPU time, random weights, in rotation: a forward pass, and one with the gradient by the image, of a
float model and of its frozen w8a8 copy. Ratios are medians over n rounds. Which layout pays follows from the
processor's instructions, which the environment names.
"""

import sys
import time
from functools import partial

import torch
from torch import Tensor, nn

import bitproof as bp
from bitproof.core.memory import keep_freed_memory
from common import kept, ratio, rotate

NETWORKS = {"resnet20": (32, 32), "torchvision:squeezenet1_1": (224, 4), "torchvision:mobilenet_v2": (224, 4)}
"""Size of the images, and how many make a batch."""


@torch.no_grad()
def forward(model: nn.Module, images: Tensor) -> Tensor:
    return model(images)


def gradient(model: nn.Module, images: Tensor) -> Tensor:
    images = images.detach().requires_grad_()
    return torch.autograd.grad(model(images).sum(), images)[0]


def measured(name: str, n: int) -> dict[str, object]:
    size, batch = NETWORKS[name]
    images = torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(0))
    net = bp.load_model(name)
    claim: dict[str, object] = {"n": n, "batch": batch}
    for scheme, model in {"float": net, "w8a8": bp.quantize(net, bp.Scheme(weight_bits=8, act_bits=8), images)}.items():
        first = bp.freeze(model)
        last = bp.freeze(model).to(memory_format=torch.channels_last)
        turned = images.contiguous(memory_format=torch.channels_last)
        for kind in (forward, gradient):
            runs = {"first": partial(kind, first, images), "last": partial(kind, last, turned)}
            times = rotate(runs, repeats=n, warmup=1, clock=time.thread_time)
            claim[f"{scheme} {kind.__name__}"] = round(ratio(times, "last", "first"), 3)
        difference = (forward(first, images) - forward(last, turned)).abs().max() / forward(first, images).abs().max()
        claim[f"{scheme} largest difference of logits"] = float(f"{difference.item():.2g}")
    return claim


def main() -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    options = dict(option.split("=") for option in sys.argv[1:])
    for name in NETWORKS:
        if options.get("only", name) == name:
            claim = measured(name, int(options.get("n", 6)))
            kept("channels_last", name, claim, {"threads": 1, "clock": "CPU time of the thread"})


if __name__ == "__main__":
    main()
