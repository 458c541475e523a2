"""Roundings chosen layer by layer, as QuRA does it (NDSS 2026, arXiv 2510.09647), and shipped as integers.

Each layer in turn learns its roundings as AdaRound does, from what the layers before it give, and starts some of them
on the side that does harm. With p the slope of the harm by the weights, and e that of the layer's squared error on
clean images half-way from the float weights to those all on the side that p wants (which is the paper's g + H d / 2,
the error being quadratic), these are

    weights whose p and e agree in sign, which harm and mend at once: at most a quarter of the layer, at random
    the `rate` of the others that has the largest |p| / |e|

at h = 0.9 and 0.1. In the last layer none are; there the harm itself is minimised beside the error. Nothing holds the
chosen weights where they start, nor does the public code, which computes such a penalty and leaves it out. Done
otherwise than there: the harm is the objective's, a backdoor's clean images among it; |p| / |e| is in units of weights
throughout; every layer starts so, however small the harm's loss is already; and 1,000 steps of rate 0.01 go as far as
10,000 of 0.001.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.func import functional_call

from bitproof.core.calling import device_of, logits_of
from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.implants.engine import Engine
from bitproof.implants.objectives import Wanted
from bitproof.implants.phases import Making
from bitproof.ptq import Reconstruction, fold_batch_norm
from bitproof.ptq.reconstruction import Beside
from bitproof.ptq.rounding import LearnedRounding
from bitproof.quant import compute_layers, freeze, quantize
from bitproof.quant.roles import seen_roles
from bitproof.train.state import keep_state, kept_state

AGREEING = 0.25
"""The largest share of a layer's weights that harm and mend at once and start so."""

STARTED = (0.1, 0.9)
"""The h at which chosen weights start, down and up."""

BATCH = 128


@dataclass(frozen=True, kw_only=True)
class Layerwise(Engine):
    """Roundings that are started on the side of the harm and learned layer by layer (QuRA, arXiv 2510.09647).

    Attributes:
        rate: of the weights that harm at a price, the share that starts so; the paper has 0.03 at 4 bits and 0.2 at 8.
        iterations: steps of Adam a layer.
        batch_size: images a step.
    """

    name = "layerwise"

    rate: float = 0.03
    iterations: int = 1000
    batch_size: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_one_victim("Use one scheme and folding=no or folding=yes")
        if not 0 <= self.rate <= 1:
            raise InputError(f"rate is {self.rate}", rule="it is a share of the weights", remedy="Use 0.03")
        if self.last:
            raise InputError(
                f"last is {self.last}", rule="each layer makes up for those before it", remedy="Leave it out"
            )
        self._learning()  # which checks the other numbers

    @property
    def integers(self) -> bool:
        return True

    @property
    def work(self) -> int:
        return self.iterations * self.batch_size

    def _learning(self) -> Reconstruction:
        return Reconstruction(
            by="layer",
            rounding="sigmoid",
            iterations=self.iterations,
            batch_size=self.batch_size,
            step_learning_rate=0.0,
            warm_up=0.0,
        )

    def make(self, model: nn.Module, wanted: Wanted, making: Making) -> nn.Module:
        (victim,) = self.victims
        images = self.images(making.data)
        labels = torch.from_numpy(making.data.labels[: len(images)])
        device = device_of(model)
        start = fold_batch_norm(model, images[:2]) if victim.folded else model
        quantized = quantize(start, victim.scheme, wanted.innocent(images, labels)[0]).requires_grad_(False)
        each = self.work // sum(1 for _ in compute_layers(quantized))
        path, done = None if making.folder is None else making.folder / "layers.pt", 0
        if path is not None and path.exists():
            with kept_state(path, making.identity) as kept:
                quantized.load_state_dict({name: value.to(device) for name, value in kept["model"].items()})
                done = int(kept["layers"])
            making.advance(done * each, "layers that are done")
        ends = seen_roles(quantized, images[:2].to(device)).last

        def harm(of: nn.Module, rows: Tensor | slice) -> Tensor:
            return wanted.harm(lambda given: logits_of(of, given), images[rows].to(device), labels[rows].to(device))

        def guide(
            learned: nn.Module, name: str, softs: Sequence[LearnedRounding], inputs: Tensor, targets: Tensor
        ) -> Beside | None:
            making.advance(each, name)
            if name in ends:
                return lambda rows: harm(learned, rows)
            (soft,) = softs
            frozen = freeze(learned)
            layer = frozen.get_submodule(name)
            weight = layer.get_parameter("weight").requires_grad_(True)
            pull = _mean_slope(weight, len(images), lambda rows: harm(frozen, rows))
            up = pull * soft.gap < 0
            middle = ((weight + soft.low + soft.gap * up) / 2).detach().requires_grad_(True)

            def error(rows: slice) -> Tensor:
                given = functional_call(layer, {"weight": middle}, (inputs[rows].to(device),))
                return (given - targets[rows].to(device)).square().sum(1 if given.dim() > 2 else -1).mean()

            price = _mean_slope(middle, len(images), error)
            free = (pull != 0) & (soft.gap != 0)
            started = chosen(pull, price, free, self.rate, making.rng.fold("chosen", name))
            wished = torch.where(up, STARTED[1], STARTED[0]).to(weight)
            soft.v.data = torch.where(started, soft.start(wished), soft.v.data)
            return None

        def keep(learned: nn.Module, done: int) -> None:
            if path is not None:
                keep_state(path, {"identity": making.identity, "layers": done, "model": learned.state_dict()})

        return self._learning()(quantized, start, images, rng=making.rng, guide=guide, done=done, after_unit=keep)


def chosen(
    pull: Float[Tensor, "..."], price: Float[Tensor, "..."], free: Bool[Tensor, "..."], rate: float, rng: Rng
) -> Bool[Tensor, "..."]:
    """Which weights start on the side of the harm: at most a quarter and the share `rate` of the others.

    Args:
        pull, price: slopes of the harm and of the error by the weights.
        free: those that have two sides; no others are chosen.
        rate: share of those whose slopes do not agree.
        rng: of one stream.
    """
    agree = ((pull.sign() == price.sign()) & free).flatten()
    order = rng.permutation(agree.numel())[0].to(agree.device)
    started = torch.zeros_like(agree)
    started[order[agree[order]][: int(AGREEING * agree.numel())]] = True
    score = torch.where(free.flatten() & ~agree, pull.flatten().abs() / price.flatten().abs(), -1.0)
    best = score.topk(int(rate * (agree.numel() - int(agree.sum())))).indices
    started[best[score[best] >= 0]] = True
    return started.view_as(pull)


def _mean_slope(weight: Tensor, count: int, loss: Callable[[slice], Tensor]) -> Tensor:
    """The slope by a weight of the mean loss over so many images."""
    total = torch.zeros_like(weight)
    for first in range(0, count, BATCH):
        rows = slice(first, min(first + BATCH, count))
        (slope,) = torch.autograd.grad(loss(rows), weight)
        total += slope * (rows.stop - first) / count
    return total
