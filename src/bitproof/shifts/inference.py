"""The model run otherwise than it was trained: in 16 bits, with pooling that rounds sizes up (SysNoise, 2023).

Two of the deployment mismatches of SysNoise (arXiv 2307.00280) that lie behind the pixels.
"""

from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.core.calling import logits_in
from bitproof.core.copying import copied
from bitproof.errors import InputError, lookup
from bitproof.records import ConditionRecord
from bitproof.settings import describe
from bitproof.shifts.base import Rerun

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
POOLING = {"model": None, "ceil": True, "floor": False}


@dataclass(frozen=True, kw_only=True)
class Inference(Rerun):
    """Run the model in 16 bits, or with pooling layers that round sizes the other way.

    Weights, buffers, images and everything between are of `dtype`; of a fake-quantized model that includes the
    arithmetic of its quantizers.

    Attributes:
        dtype: "float16", "bfloat16", or "float32".
        pooling: how strided pooling layers round the size of what they return: "ceil", "floor", or as the "model" does.

    Raises:
        InputError: an unknown dtype or rounding, or neither changed.

    Example:
        >>> Inference(dtype="bfloat16").label
        'inference bfloat16'
    """

    dtype: str = "float16"
    pooling: str = "model"

    def __post_init__(self) -> None:
        lookup(DTYPES, self.dtype, "dtype")
        lookup(POOLING, self.pooling, "rounding of pooling")
        if (self.dtype, self.pooling) == ("float32", "model"):
            raise InputError(
                "inference in float32 with the model's own pooling",
                rule="that is how models are run anyway",
                remedy="Set dtype=float16, dtype=bfloat16, pooling=ceil or pooling=floor",
            )

    @property
    def label(self) -> str:
        """What is changed, e.g. "inference float16" or "inference pooling-ceil"."""
        return f"inference {self._variant}"

    @property
    def _variant(self) -> str:
        changed = [self.dtype] * (self.dtype != "float32") + [f"pooling-{self.pooling}"] * (self.pooling != "model")
        return " ".join(changed)

    def record(self) -> ConditionRecord:
        return ConditionRecord(
            kind="systematic",
            label=self.label,
            group="inference",
            variant=self._variant,
            setting=describe(self, sources=True),
        )

    def __call__(self, model: nn.Module) -> nn.Module:
        """A copy that is run this way; images [n, c, h, w] and logits [n, k] stay float32.

        Raises:
            InputError: no pooling layer would change, or no number of the model is a float, as in an ONNX Runtime
                session. Raised by the copy: a layer that cannot run in this type, logits beyond its largest number.
        """
        changed = copied(model)
        wanted = POOLING[self.pooling]
        if wanted is not None:
            layers = [layer for layer in changed.modules() if _strided(layer) and layer.ceil_mode != wanted]
            if not layers:
                raise InputError(
                    f"no strided pooling layer of the model rounds otherwise than by {self.pooling}",
                    rule="pooling is changed in MaxPool2d and AvgPool2d layers with a stride above 1",
                    remedy=f"Leave out pooling={self.pooling} for this model",
                )
            for layer in layers:
                layer.ceil_mode = wanted
        return changed if self.dtype == "float32" else _Cast(changed, self.dtype)


class _Cast(nn.Module):
    """A model in another floating-point type, from float32 images to float32 logits."""

    def __init__(self, model: nn.Module, dtype: str) -> None:
        super().__init__()
        if not any(tensor.is_floating_point() for tensor in (*model.parameters(), *model.buffers())):
            raise InputError(
                f"{type(model).__name__} has no floating-point weights",
                rule=f"inference in {dtype} casts the weights of a PyTorch model",
                remedy="Leave this model out, or test the PyTorch model that it was made from",
            )
        self.dtype = DTYPES[dtype]
        self.model = model.to(self.dtype)

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        try:
            logits = logits_in(self.model(images.to(self.dtype)), len(images)).float()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise InputError(
                f"the model does not run in {self.dtype} ({str(error).splitlines()[0]})",
                rule="each layer needs an implementation for this type on its device",
                remedy="Try the other 16-bit type, a GPU, or leave this condition out",
            ) from error
        bad = ~torch.isfinite(logits).flatten(1).all(1)
        if bad.any():
            raise InputError(
                f"in {self.dtype} the model returned NaN or infinity for {int(bad.sum())} of {len(images)} images",
                rule=f"its numbers must stay below {torch.finfo(self.dtype).max:g}",
                remedy="Use bfloat16, which holds larger ones, or leave this condition out",
            )
        return logits


def _strided(layer: nn.Module) -> bool:
    if not isinstance(layer, (nn.MaxPool2d, nn.AvgPool2d)):
        return False
    stride = cast("int | tuple[int, int]", layer.stride)
    return stride > 1 if isinstance(stride, int) else max(stride) > 1
