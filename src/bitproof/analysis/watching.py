"""What the layers of a model compute with: their inputs, as quantized as they are, in the order of calls."""

from collections import Counter
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bitproof.core.passes import Counted
from bitproof.quant.attached import compute_layers

LOGITS = "logits"
"""What the end of a model is called among its layers."""


@torch.no_grad()
def layer_inputs(model: Counted, images: Tensor) -> dict[str, Tensor]:
    """What each layer is given for these images, and the logits; the second call of a layer is "NAME (2)"."""
    assert isinstance(model.model, nn.Module)
    given: dict[str, Tensor] = {}
    calls: Counter[str] = Counter()

    def note(name: str, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        x, *_ = (*args, *kwargs.values())
        calls[name] += 1
        given[name if calls[name] == 1 else f"{name} ({calls[name]})"] = x

    hooks = [
        layer.register_forward_hook(partial(note, name), with_kwargs=True)
        for name, layer in compute_layers(model.model)
    ]
    try:
        logits = model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return given | {LOGITS: logits}
