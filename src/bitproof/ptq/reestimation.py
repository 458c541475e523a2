"""BatchNorm re-estimation: running statistics of the quantized model (Sun et al. 2019, "Hybrid 8-bit floating point").

Quantization changes the mean and variance of what a BatchNorm receives, while it still subtracts those of
the float model. In order of execution, with all earlier ones re-estimated, each gets the mean and the population
variance over all images. Unlike a running average this does not depend on the batches.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from bitproof.ptq.flow import record_flow
from bitproof.ptq.watching import Moments, run_until


@torch.no_grad()
def reestimate_batch_norm(quantized: nn.Module, images: Tensor) -> nn.Module:
    """A copy whose BatchNorms have the statistics that its own activations have on these images.

    Args:
        quantized: any model; BatchNorms without running statistics, or that run not exactly once a pass, stay as
            they are, and folded ones are gone.
        images: [n, c, h, w], a few hundred.
    """
    copied = copy.deepcopy(quantized).eval()
    norms = [
        name
        for name, module in copied.named_modules()
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.running_mean is not None
    ]
    flow = record_flow(copied, images[:1], norms)
    for name in [name for name in flow.calls if flow.only_call(name)]:
        norm: Any = copied.get_submodule(name)
        seen = Moments()
        run_until(copied, name, images, lambda x, _, m=seen: m.add(x))
        norm.running_mean.copy_(seen.mean)
        norm.running_var.copy_(seen.variance)
    return copied
