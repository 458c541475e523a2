"""BatchNorm re-estimation: statistics of the quantized model (Sun et al. 2019, "Hybrid 8-bit floating point").

Quantization changes the mean m and variance v of what a BatchNorm receives, while it still normalises by those of
the float model. In order of execution, with all earlier ones re-estimated,

    running mean + m_quantized - m_float      running variance x v_quantized / v_float

with m and v over all images, so that nothing depends on batches. The paper replaces the statistics by
m_quantized and v_quantized. But those of a checkpoint come from augmented images, and on plain ones even
the float model loses: resnet20 on CIFAR-10 falls from 99.2% to 95.6% of 500 training images. A ratio leaves it alone.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bitproof.core.calling import answer
from bitproof.core.copying import copied
from bitproof.core.flow import record_flow
from bitproof.ptq.watching import BATCH, Moments, received, run_until


@torch.no_grad()
def reestimate_batch_norm(quantized: nn.Module, model: nn.Module, images: Tensor) -> nn.Module:
    """A copy whose BatchNorms make up for what quantization did, on these images, to what they receive.

    Args:
        quantized: made by `quantize` from `model`. BatchNorms without running statistics, or that run not exactly
            once a pass, stay as they are, and folded ones are gone.
        model: float model with the same layers.
        images: [n, c, h, w], a few hundred.
    """
    estimated = copied(quantized).eval()
    norms = [
        name
        for name, module in estimated.named_modules()
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.running_mean is not None
    ]
    flow = record_flow(estimated, images[:1], norms)
    once = [name for name in flow.calls if flow.only_call(name)]
    wanted = _input_moments(model, once, images)
    for name in once:
        norm: Any = estimated.get_submodule(name)
        found = Moments()
        run_until(estimated, name, images, lambda x, _, m=found: m.add(x))
        norm.running_mean.add_(found.mean - wanted[name].mean)
        change = found.variance / wanted[name].variance
        norm.running_var.mul_(torch.where(wanted[name].variance > 0, change, torch.ones_like(change)))
    return estimated


def _input_moments(model: nn.Module, names: list[str], images: Tensor) -> dict[str, Moments]:
    watched = copied(model).eval()
    moments = {name: Moments() for name in names}

    def see(name: str, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        moments[name].add(received(args, kwargs))

    for name in names:
        watched.get_submodule(name).register_forward_pre_hook(partial(see, name), with_kwargs=True)
    for batch in images.split(BATCH):
        answer(watched, batch)
    return moments
