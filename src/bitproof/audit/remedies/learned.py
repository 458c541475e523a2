"""Roundings or weights that learn to answer as the float model does: all layers at once, no label, a minute.

    mean KL(softmax(f(x)) || softmax(Q(x)))

Both start from dithered roundings, so that nothing is left in place only because clean images do not show it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.audit.remedies.base import Remedy, logits
from bitproof.core.calling import answer
from bitproof.core.copying import copied
from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.implants.roundings import choose, settle_choices
from bitproof.quant import compute_layers, freeze
from bitproof.quant.attached import after_step, float_weight, weight_quantizer
from bitproof.train.objectives.distillation import distillation


@dataclass(frozen=True, kw_only=True)
class Learned(Remedy):
    """What is learned by Adam from the float model's answers.

    Attributes:
        steps: of Adam.
        learning_rate: falls to zero by a cosine.
        batch_size: images a step.
    """

    steps: int = 200
    learning_rate: float = 1e-3
    batch_size: int = 32

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1 or not 0 < self.learning_rate < 1:
            raise InputError(
                f"{self.steps} steps of {self.batch_size} images at a rate of {self.learning_rate}",
                rule="there is at least one of each, and the rate lies above 0 and below 1",
                remedy="Leave them out for the defaults",
            )

    def minimise(
        self,
        learned: nn.Module,
        model: nn.Module,
        images: Float[Tensor, "n c h w"],
        parameters: Sequence[Tensor],
        rng: Rng,
        settled: Callable[[], None],
    ) -> None:
        """Move the parameters of `learned`, in place; `settled` is called after every step."""
        wanted = logits(freeze(model), images)
        optimizer = torch.optim.Adam(parameters, self.learning_rate)
        falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        for _, rows in zip(range(self.steps), batches(len(images), self.batch_size, rng), strict=False):
            loss = distillation(answer(learned, images[rows]), wanted[rows.to(wanted.device)], 1.0)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            falling.step()
            settled()


@dataclass(frozen=True, kw_only=True)
class Agreeing(Learned):
    """The roundings learn: each weight goes to one of the two levels around it."""

    learning_rate: float = 0.02

    @property
    def label(self) -> str:
        return f"roundings learned for agreement, {self.steps} steps"

    def __call__(
        self, quantized: nn.Module, model: nn.Module, images: Float[Tensor, "n c h w"], *, rng: Rng
    ) -> nn.Module:
        learned = copied(quantized).eval().requires_grad_(False)
        free = {
            name: torch.ones_like(layer.weight, dtype=torch.bool)
            for name, layer in compute_layers(learned)
            if weight_quantizer(layer) is not None
        }
        choices = choose(learned, free)
        for name, choice in choices.items():
            uniform = rng.fold("start", name).uniform(tuple(choice.h.shape))[0].to(choice.h.device)
            choice.h.data = choice.h + uniform - 0.5
            choice.after_step(choice.h)
        self.minimise(
            learned,
            model,
            images,
            [choice.h.requires_grad_() for choice in choices.values()],
            rng.fold("agreeing"),
            lambda: after_step(learned),
        )
        return settle_choices(copied(quantized).eval(), learned)


@dataclass(frozen=True, kw_only=True)
class FineTuned(Learned):
    """The weights learn, and what stays float with them; grids and the statistics of BatchNorm stay as they are."""

    learning_rate: float = 5e-4
    steps: int = 300

    @property
    def label(self) -> str:
        return f"fine-tuned on the float model's answers, {self.steps} steps"

    def __call__(
        self, quantized: nn.Module, model: nn.Module, images: Float[Tensor, "n c h w"], *, rng: Rng
    ) -> nn.Module:
        learned = copied(quantized).eval()
        with torch.no_grad():
            for name, layer in compute_layers(learned):
                quantizer = weight_quantizer(layer)
                if quantizer is not None:
                    weight = float_weight(layer)
                    near, far = quantizer.neighbours(weight)
                    uniform = rng.fold("start", name).uniform(tuple(weight.shape))[0].to(weight.device)
                    weight.add_((far - near) * (uniform - 0.5))
        parameters = [parameter for parameter in learned.parameters() if parameter.requires_grad]
        self.minimise(learned, model, images, parameters, rng.fold("fine-tuned"), lambda: after_step(learned))
        return learned


def batches(count: int, size: int, rng: Rng) -> Iterator[Tensor]:
    """Rows of mini-batches without end; every epoch sees each image once, in an order drawn from `rng`."""
    epoch = 0
    while True:
        yield from rng.fold(epoch).permutation(count)[0].split(size)
        epoch += 1
