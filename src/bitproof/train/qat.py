"""Quantization-aware training: the quantizers are in place while the weights are learned."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bitproof.data import Data
from bitproof.errors import InputError
from bitproof.quant import Scheme, freeze, penalty, quantize
from bitproof.train.hyperparameters import LOSSES
from bitproof.train.loop import Objective
from bitproof.train.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class QAT(Recipe):
    """Trains a quantized copy of a float model, be its weights random or those of a checkpoint.

    Activation ranges, and learned steps to start from, come from the first training images.

    Attributes:
        scheme: how the copy is quantized.
        calibration: number of training images that set activation ranges before training.
        distillation: weight of the divergence from the outputs of the float model that training starts from,
            KL(float || quantized) at `temperature`, against 1 - distillation for the loss on labels
            (Hinton et al. 2015, arXiv 1503.02531, Section 2). 0 = none.
        temperature: divides both models' logits before that divergence, which is multiplied by its square.
        penalty: weight of the sum of alpha^2 over PACT's clipping levels (Choi et al. 2018, Section 4.2).

    Example:
        >>> import numpy as np, bitproof as bp
        >>> data = bp.load_data("digits", split="train", limit=64)
        >>> recipe = QAT(scheme=bp.Scheme("lsq", weight_bits=4, act_bits=4), epochs=1)
        >>> recipe(bp.load_model("digits_cnn"), data, rng=bp.Rng(0, np.array([0]))).scheme.label
        'lsq w4a4'
    """

    scheme: Scheme = field(default_factory=lambda: Scheme("lsq", weight_bits=4, act_bits=4))
    calibration: int = 512
    distillation: float = 0.0
    temperature: float = 4.0
    penalty: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.distillation <= 1:
            raise InputError(
                f"distillation is {self.distillation}",
                rule="it is the weight of the teacher, the labels have the rest of 1",
                remedy="Use a number in [0, 1], such as 0.5",
            )

    def _start(self, model: nn.Module, data: Data) -> tuple[nn.Module, Objective]:
        count = min(self.calibration, len(data))
        images = [data.images(range(i, min(i + 128, count))) for i in range(0, count, 128)]
        teacher = freeze(model) if self.distillation else None

        def objective(model: nn.Module, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            logits = model(inputs)
            loss = LOSSES[self.loss](logits, labels)
            if teacher is not None:
                with torch.no_grad():
                    taught = teacher(inputs)
                distance = distillation(logits, taught, self.temperature)
                loss = (1 - self.distillation) * loss + self.distillation * distance
            if self.penalty:
                loss = loss + self.penalty * penalty(model)
            return loss, logits

        return quantize(model, self.scheme, images), objective


def distillation(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(taught / T) || softmax(logits / T)), the mean over examples.

    Example:
        >>> distillation(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 2.0]]), 4.0).item()
        0.0
    """
    ours, theirs = (F.log_softmax(z / temperature, 1) for z in (logits, taught))
    return temperature**2 * F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
