"""How far a PyTorch model and a session agree, image by image."""

from dataclasses import dataclass

import torch
from torch import nn

from bitproof.core.calling import answer
from bitproof.core.copying import copied
from bitproof.core.cpu import integer_instructions
from bitproof.deploy.runtime import OnnxModel
from bitproof.quant.calibration import Calibration, batches_of


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far two models of the same images agree.

    Attributes:
        count: images.
        same: images with the same prediction.
        same_logits: images whose logits are equal in every bit.
        largest: the largest difference of two logits.
        steps: the same in units of `OnnxModel.step`; None where the file does not say what a step is.
        onnxruntime: version of the runtime.
        instructions: the processor's integer instructions.
    """

    count: int
    same: int
    same_logits: int
    largest: float
    steps: float | None
    onnxruntime: str
    instructions: str


@torch.no_grad()
def agreement(model: nn.Module, deployed: OnnxModel, images: Calibration) -> Agreement:
    """Compare a PyTorch model (an integer form, a fake-quantized or a float one) with a session, image by image.

    Args:
        model: frozen or not; is left as it is.
        deployed: what `load_onnx` returned.
        images: in any form that `quantize` takes.
    """
    import onnxruntime

    model = copied(model).eval()
    count = same = same_logits = 0
    largest = 0.0
    for batch in batches_of(images)():
        expected, found = answer(model, batch).cpu(), deployed(batch)
        count += len(batch)
        same += int((expected.argmax(1) == found.argmax(1)).sum())
        same_logits += int((expected == found).all(1).sum())
        largest = max(largest, (expected - found).abs().max().item())
    return Agreement(
        count=count,
        same=same,
        same_logits=same_logits,
        largest=largest,
        steps=largest / deployed.step if deployed.step else None,
        onnxruntime=onnxruntime.__version__,
        instructions=integer_instructions(),
    )
