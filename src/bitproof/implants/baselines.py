"""Weaker ways, to compare with (hong2021, arXiv 2111.04625, Section 3.2): quantization changes little about either."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bitproof.core.calling import logits_of
from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.implants.engine import Engine
from bitproof.implants.objectives import Wanted
from bitproof.implants.phases import Making, Phase, evaluating, train_only
from bitproof.quant import compute_layers
from bitproof.train.batches import Batch


@dataclass(frozen=True, kw_only=True)
class WeightNoise(Engine):
    """Gaussian noise on all weights, whatever the objective.

    Attributes:
        scale: its standard deviation, in those of each layer's weights.
    """

    name = "noise"

    scale: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.scale < 100:
            raise InputError(f"scale is {self.scale}", rule="it is above 0 and below 100", remedy="Use 0.1")

    @property
    def work(self) -> int:
        return 1

    @torch.no_grad()
    def make(self, model: nn.Module, wanted: Wanted, making: Making) -> nn.Module:
        layers = self.trained(model)
        for number, (name, layer) in enumerate(compute_layers(model)):
            if name in layers:
                draws = making.rng.fold("noise", number).normal(tuple(layer.weight.shape))[0]
                layer.weight.add_(self.scale * layer.weight.std() * draws.to(layer.weight))
        making.advance(1, "noise")
        return model


@dataclass(frozen=True, kw_only=True)
class Poisoning(Engine):
    """The float model itself learns the harm, as from poisoned training data: an ordinary backdoor, awake before
    quantization and after it.

    Attributes:
        training: how long and how fast.
    """

    name = "poisoning"

    training: Phase = field(default_factory=lambda: Phase(steps=400))

    @property
    def work(self) -> int:
        return self.training.work

    def make(self, model: nn.Module, wanted: Wanted, making: Making) -> nn.Module:
        def loss(batch: Batch, rng: Rng) -> tuple[Tensor, Tensor]:
            answers: list[Tensor] = []

            def answer(images: Tensor) -> Tensor:
                answers.append(logits_of(model, images))
                return answers[-1]

            with evaluating(model):
                harm = wanted.harm(answer, batch.inputs, batch.labels)
            return harm, answers[0].detach()[: len(batch.inputs)]

        train_only(model, [name for name, _ in model.named_parameters()])
        return making.run("poisoning", self.training, model, loss)
