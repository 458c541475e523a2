"""One layer at a time in the place of another, without computing again what comes before it.

The answers of all layers of a model are kept while a batch goes through it. A model of which one layer is another takes
them from there up to that layer, and computes from it on: half of the work, on average. Layers are what is kept; what
lies between them (normalisation, activations, sums) is cheap, and runs each time, so that any model can be looked at.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.core.calling import answer
from bitproof.core.copying import copied
from bitproof.quant.attached import INPUT_QUANTIZER, compute_layers
from bitproof.quant.coverage import coverage

MOST_BYTES = 2**28
"""Of the answers that are kept at once."""


class Variants:
    """A frozen model and those that differ from it in one layer.

    Args:
        model: frozen; it is copied.
        images: a few, which say how much of the work each layer is.

    Attributes:
        model: the copy.
        images: how many are best given at once.
        passes: what was computed so far in forward passes of an image, a part of one being its multiply-accumulates.
    """

    def __init__(self, model: nn.Module, images: Float[Tensor, "n c h w"]) -> None:
        self.model = copied(model)
        found = coverage(self.model, images[:1])
        self._tape: list[tuple[str, Tensor, int]] = []  # with the version that a tensor has before it is written into
        self._touched = set[str]()
        self._recording, self._place, self._skipped, self._saved = False, 0, 0, 0.0
        self._shares = dict[str, float]()
        for name, layer in compute_layers(self.model):
            self._watch(name, layer)
        self.passes = 0.0
        self.base(images[:1])
        self.passes = 0.0
        parts = found.parts if found else ()
        total, calls = sum(part.products for part in parts) or 1, Counter(name for name, *_ in self._tape)
        self._shares = {part.name: part.products / total / calls[part.name] for part in parts if calls[part.name]}
        each = sum(output.numel() * output.element_size() for _, output, _ in self._tape)
        self.images = max(1, MOST_BYTES // max(each, 1))

    @torch.no_grad()
    def base(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """The model's own logits; what its layers answer is kept for `of`.

        Answers that the model writes into afterwards, as `x += y` does, are kept as copies.
        """
        while True:
            self._recording, self._tape, self._place, self._skipped = True, [], 0, 0
            self._inputs = images
            self.passes += len(images)
            logits = answer(self.model, images)
            self._recording = False
            touched = {name for name, output, version in self._tape if output._version != version}
            if touched <= self._touched:
                return logits
            self._touched |= touched

    @torch.no_grad()
    def of(self, layers: Mapping[str, nn.Module]) -> Float[Tensor, "n k"]:
        """The logits with other layers in the places of those named, for the images of the last `base`."""
        calls = [call for call, (name, *_) in enumerate(self._tape) if name in layers]
        known = {name for name, *_ in self._tape}
        # A layer that is never called lends its weights to a function, which may run at any time.
        self._skipped = min(calls, default=0) if layers.keys() <= known else 0
        self._place, self._saved = 0, 0.0
        with self._replaced(layers):
            logits = answer(self.model, self._inputs)
        self.passes += len(self._inputs) * (1 - self._saved)
        return logits

    def _watch(self, name: str, layer: Any) -> None:
        """Let a layer answer from what was kept, as long as its turn is before the first other layer."""
        compute, quantizer = layer.forward, getattr(layer, INPUT_QUANTIZER, None)

        def play(*args: Any, **kwargs: Any) -> Tensor:
            place, self._place = self._place, self._place + 1
            if place < self._skipped and self._tape[place][0] == name:
                self._saved += self._shares.get(name, 0.0)
                output = self._tape[place][1]
                return output.clone() if name in self._touched else output
            output = compute(*args, **kwargs)
            if self._recording:
                kept = output.clone() if name in self._touched else output
                self._tape.append((name, kept, kept._version))
            return output

        layer.forward = play
        if quantizer is not None:
            quantize = quantizer.forward
            quantizer.forward = lambda x: x if self._place < self._skipped else quantize(x)

    @contextmanager
    def _replaced(self, layers: Mapping[str, nn.Module]) -> Iterator[None]:
        """The model with other layers, wherever those named are registered."""
        places = [
            (parent, key, child, layers[name])
            for name, layer in compute_layers(self.model)
            if name in layers
            for parent in self.model.modules()
            for key, child in parent._modules.items()
            if child is layer
        ]
        try:
            for parent, key, _, other in places:
                parent._modules[key] = other
            yield
        finally:
            for parent, key, layer, _ in places:
                parent._modules[key] = layer
