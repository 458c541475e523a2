"""Plain supervised training."""

from dataclasses import dataclass

from torch import Tensor, nn

from bitproof.data import Data
from bitproof.train.hyperparameters import LOSSES
from bitproof.train.loop import Objective
from bitproof.train.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Standard(Recipe):
    """Trains a model on labelled images, by default with AdamW under a one-cycle schedule.

    A model that is quantized already is trained as it is, quantizers and all.

    Example:
        >>> import numpy as np, bitproof as bp
        >>> data = bp.load_data("digits", split="train", limit=64)
        >>> trained = Standard(epochs=1)(bp.load_model("digits_cnn"), data, rng=bp.Rng(0, np.array([0])))
    """

    def _start(self, model: nn.Module, data: Data) -> tuple[nn.Module, Objective]:
        def objective(model: nn.Module, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            logits = model(inputs)
            return LOSSES[self.loss](logits, labels), logits

        return model, objective
