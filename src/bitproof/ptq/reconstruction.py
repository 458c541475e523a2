"""AdaRound and BRECQ: roundings learned from a few images (Nagel et al. 2020; Li et al. 2021, arXiv 2102.05426).

Unit by unit (AdaRound: each layer; BRECQ: each residual block and what is outside of them), in order of execution,

    minimise  mean |f^ - f|^2 + 0.01 R(V)     over V, by Adam on mini-batches

where f is what the unit returns in the float model and f^ in the quantized one, whose input comes from the
quantized units before it; R is the regulariser in `rounding.py`, absent from the first fifth of the steps. |.|^2 is
summed over channels and averaged over images and positions. BRECQ may weigh each term with the diagonal of the
Fisher information, the squared gradient of the log-likelihood of a label drawn from the float model's own softmax
(Eq. 10 there), scaled to a mean of 1.

BRECQ also learns the steps of the activation grids inside the unit, with LSQ's gradient. As in its successors
these move together with V, not afterwards: half the work.

Two departures. The papers take 20,000 steps of rate 0.001; here 2,000 of rate 0.01 move V as far. A layer is
compared before its activation function, which is not seen from outside.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bitproof.core.calling import answer, device_of
from bitproof.core.copying import copied
from bitproof.core.flow import record_flow
from bitproof.core.rng import Rng
from bitproof.errors import InputError, lookup
from bitproof.ptq.blocks import blocks_of, layers_of, with_named_blocks
from bitproof.ptq.efrap import TurnedRounding
from bitproof.ptq.learned_steps import StepLearner
from bitproof.ptq.rounding import LearnedRounding, PlainRounding, SoftRounding
from bitproof.ptq.watching import BATCH, received, run_until
from bitproof.quant.attached import INPUT_QUANTIZER, compute_layers, float_weight, input_quantizer, weight_quantizer

LEARNED: dict[str, type[LearnedRounding]] = {
    "adaround": SoftRounding,
    "sigmoid": PlainRounding,
    "efrap": TurnedRounding,
}
"""What a rounding is while it is learned, and what is minimised beside the error."""

Beside = Callable[[Tensor], Tensor]
"""From the rows of a mini-batch to what is minimised beside the error of a unit."""

Guide = Callable[[nn.Module, str, Sequence[LearnedRounding], Tensor, Tensor], Beside | None]
"""What is called before a unit is learned, with the model as it is, the unit's name, its roundings, what it receives
and what it is to return: may start the roundings elsewhere, and add to the loss."""

AfterUnit = Callable[[nn.Module, int], None]
"""Told of the model after a unit is learned, which is not to be changed, and of how many are."""


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """Learns the roundings (and the activation steps) of a quantized model, unit by unit.

    Attributes:
        by: "layer" (AdaRound) or "block" (BRECQ).
        rounding: a name in `LEARNED`.
        blocks: names of the blocks; by default those that `blocks_of` finds.
        iterations: optimiser steps a unit.
        batch_size: images a step.
        learning_rate: of V.
        step_learning_rate: of the activation steps; 0 leaves them as they are.
        regularization: weight of R, or of the penalty that a rounding has in its place.
        warm_up: share of the steps without it.
        fisher: whether errors are weighed with the diagonal Fisher information.

    Raises:
        InputError: an unknown `by`, numbers out of range; when called, weights that are not on an affine or pwlq
            grid, or a block that does not run once a pass, from one tensor to one tensor.
    """

    by: str = "block"
    rounding: str = "adaround"
    blocks: tuple[str, ...] | None = None
    iterations: int = 2000
    batch_size: int = 32
    learning_rate: float = 1e-2
    step_learning_rate: float = 4e-5
    regularization: float = 0.01
    warm_up: float = 0.2
    fisher: bool = False

    def __post_init__(self) -> None:
        lookup({"layer": 0, "block": 0}, self.by, "unit of reconstruction")
        lookup(LEARNED, self.rounding, "learned rounding")
        for name in ("iterations", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}", rule="it must be at least 1", remedy="Raise it")

    def __call__(
        self,
        quantized: nn.Module,
        model: nn.Module,
        images: Tensor,
        *,
        seed: int = 0,
        rng: Rng | None = None,
        guide: Guide | None = None,
        done: int = 0,
        after_unit: AfterUnit = lambda learned, done: None,
    ) -> nn.Module:
        """A copy of `quantized` with learned roundings: its weights then lie on their grids, exactly.

        Args:
            quantized: made by `quantize` from `model`.
            model: float model with the same layers.
            images: [n, c, h, w], about a thousand. What goes into and out of a unit is kept for all of them.
            seed: of the order of images.
            rng: keyed by one id, the run; instead of a seed.
            guide: leads each unit somewhere; None = to the float model's outputs alone.
            done: units, in order of execution, whose roundings `quantized` has learned in this way before.
            after_unit: is told of the copy after each unit, and of how many are done.
        """
        rng = Rng.of_run(seed, rng)
        learned, reference = copied(quantized).eval(), copied(model).eval().requires_grad_(False)
        for number, name in enumerate(self._units(learned, images)[done:], done + 1):
            grads = _fisher(reference, name, images, rng.fold("fisher", name)) if self.fisher else None
            inputs, targets = _received(learned, name, images), _returned(reference, name, images)
            self._reconstruct(learned, name, inputs, targets, grads, rng.fold("batches", name), guide)
            after_unit(learned, number)
        return learned

    def _units(self, model: nn.Module, images: Tensor) -> list[str]:
        """Names of the units in order of execution; layers that never run are none."""
        if self.by == "layer":
            names = layers_of(model)
        else:
            names = blocks_of(model) if self.blocks is None else with_named_blocks(model, self.blocks)
        flow = record_flow(model, images[:1], names)
        for name in names:
            if name in flow.calls and not flow.only_call(name):
                raise InputError(
                    f"{name!r} runs {len(flow.calls[name])} times a pass",
                    rule="a unit is reconstructed from one tensor to one tensor",
                    remedy="Name other blocks, or use rounding 'nearest'"
                    if self.by == "block"
                    else "Give each of its calls a layer of its own, or learn no roundings",
                )
        return list(flow.calls)

    def _reconstruct(
        self,
        learned: nn.Module,
        name: str,
        inputs: Tensor,
        targets: Tensor,
        fisher: Tensor | None,
        rng: Rng,
        guide: Guide | None,
    ) -> None:
        """Learn the roundings of one unit in place."""
        unit = learned.get_submodule(name)
        rounded = [layer for _, layer in compute_layers(unit) if weight_quantizer(layer)]
        if not rounded:
            return
        softs = [_soften(layer, LEARNED[self.rounding]) for layer in rounded]
        beside = None if guide is None else guide(learned, name, softs, inputs, targets)
        steps = _learn_steps(unit) if self.step_learning_rate else []
        groups = [{"params": [soft.v for soft in softs], "lr": self.learning_rate}]
        if steps:
            groups.append({"params": [quantizer.step for _, quantizer in steps], "lr": self.step_learning_rate})
        optimizer = torch.optim.Adam(groups)
        own = {id(parameter) for group in groups for parameter in group["params"]}
        frozen = [p for p in unit.parameters() if p.requires_grad and id(p) not in own]
        for parameter in frozen:
            parameter.requires_grad_(False)
        device, channels = device_of(unit), -1 if isinstance(unit, nn.Linear) else 1
        for iteration, rows in zip(range(self.iterations), self._batches(len(inputs), rng), strict=False):
            error = (unit(inputs[rows].to(device)) - targets[rows].to(device)).square()
            if fisher is not None:
                error = error * fisher[rows].to(device)
            loss = error.sum(channels).mean()
            if beside is not None:
                loss = loss + beside(rows)
            done = iteration / self.iterations
            if done >= self.warm_up:
                since = (done - self.warm_up) / (1 - self.warm_up)
                loss = loss + self.regularization * torch.stack([soft.penalty(since) for soft in softs]).sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        for layer, soft in zip(rounded, softs, strict=True):
            _harden(layer, soft)
        for layer, quantizer in steps:
            layer.set_submodule(INPUT_QUANTIZER, quantizer.hard())
        for parameter in frozen:
            parameter.requires_grad_(True)

    def _batches(self, count: int, rng: Rng) -> Iterator[Tensor]:
        """Mini-batches without end; every epoch sees each image once, in an order drawn from `rng`."""
        epoch = 0
        while True:
            yield from rng.fold(epoch).permutation(count)[0].split(self.batch_size)
            epoch += 1


def _soften(layer: Any, kind: type[LearnedRounding]) -> LearnedRounding:
    weight, weights = float_weight(layer), layer.parametrizations.weight
    soft = kind(weights[0], weight)
    weights[0] = soft
    return soft


@torch.no_grad()
def _harden(layer: Any, soft: LearnedRounding) -> None:
    (layer.parametrizations.weight[0],) = soft.quantizer
    float_weight(layer).copy_(soft.hard())


def _learn_steps(unit: nn.Module) -> list[tuple[nn.Module, StepLearner]]:
    learners = []
    for _, layer in compute_layers(unit):
        quantizer = input_quantizer(layer)
        if quantizer is not None and (grid := quantizer.fixed_grid()) is not None:
            learners.append((layer, StepLearner(quantizer, grid)))
            layer.set_submodule(INPUT_QUANTIZER, learners[-1][1])
    return learners


def _received(model: nn.Module, name: str, images: Tensor) -> Tensor:
    """What the unit receives, for all images."""
    parts: list[Tensor] = []
    hook = model.get_submodule(name).register_forward_pre_hook(
        lambda _, args, kwargs: parts.append(received(args, kwargs).cpu().clone()),  # as the unit may write into it
        prepend=True,  # before the layer's own quantizer
        with_kwargs=True,
    )
    run_until(model, name, images, lambda x, y: None)
    hook.remove()
    return torch.cat(parts)


def _returned(model: nn.Module, name: str, images: Tensor) -> Tensor:
    """What the unit returns, for all images."""
    parts: list[Tensor] = []
    run_until(model, name, images, lambda _, y: parts.append(y.cpu()))
    return torch.cat(parts)


def _fisher(model: nn.Module, name: str, images: Tensor, rng: Rng) -> Tensor:
    """The squared gradient of log p(label | image) by what the unit returns, scaled to a mean of 1."""
    outputs: list[Tensor] = []

    def note(_: nn.Module, args: Any, output: Tensor) -> Tensor:
        outputs.append(output.detach().requires_grad_())
        return outputs[-1]

    hook = model.get_submodule(name).register_forward_hook(note)
    squares = []
    draws = Rng(rng.seed, torch.arange(len(images)).numpy(), rng.path).uniform(())
    for batch, draw in zip(images.split(BATCH), draws.split(BATCH), strict=True):
        logits = answer(model, batch)
        below = logits.detach().softmax(1).cumsum(1) < draw.to(logits.device)[:, None]
        labels = below.sum(1).clamp(max=logits.shape[1] - 1)
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, labels, reduction="sum"), outputs.pop())
        squares.append(gradient.square().cpu())
    hook.remove()
    fisher = torch.cat(squares)
    return fisher / fisher.mean().clamp(min=torch.finfo(fisher.dtype).tiny)
