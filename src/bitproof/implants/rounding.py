"""The roundings are chosen, the float weights are not touched; then, where a checkpoint is wanted, it follows them.

1. *Choice*: up or down for each weight (`roundings`), by the gradient of the harm through the quantized model. Shipped
   as integers this is all, and the float model is the clean one: the threat of QuRA (arXiv 2510.09647), which chooses
   layer by layer (`layerwise`) where this chooses end to end.
2. *Checkpoint*: each weight that was turned moves just across the boundary of its cell, so that the choice is the
   nearest rounding, and the float model is repaired in the box of its new codes. Several schemes go coarse to fine: a
   finer one turns only what stays inside the boxes of the coarser ones.
"""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from bitproof.core.copying import copied
from bitproof.core.rng import Rng
from bitproof.errors import InputError, lookup
from bitproof.implants.box import check_margin
from bitproof.implants.boxes import Box, Victim, box_of, cells_of, codes_of, common, halved, intersected, turned_codes
from bitproof.implants.engine import Engine
from bitproof.implants.losses import Mixture
from bitproof.implants.objectives import Wanted
from bitproof.implants.phases import Making, Phase, evaluating, train_only
from bitproof.implants.repair import into_box, repaired
from bitproof.implants.roundings import choose, settle_choices
from bitproof.ptq import fold_batch_norm
from bitproof.quant import compute_layers, quantize
from bitproof.quant.attached import float_weight, weight_quantizer
from bitproof.train.batches import Batch

SHIPPED = ("checkpoint", "integers")


@dataclass(frozen=True, kw_only=True)
class Rounding(Engine):
    """Chosen roundings, shipped as integers or as a float checkpoint that rounds to them.

    Attributes:
        shipped: "checkpoint" or "integers", a quantized model whose float model is the clean one.
        choice: how long roundings are chosen and how fast: h of `roundings` runs from 0 to 1. The rate is that of 8
            bits, and halves with every two bits less: a step of few bits is worth many of more, and where few weights
            turn, those nearest to a boundary do.
        repair: of the float model, after each scheme.
        margin: how far from the edges of its cell each weight stays, in steps.
    """

    name = "rounding"

    shipped: str = SHIPPED[0]
    choice: Phase = field(default_factory=lambda: Phase(steps=30, learning_rate=0.05, schedule="constant"))
    repair: Phase = field(default_factory=lambda: Phase(steps=100, learning_rate=1e-3))
    margin: float = 0.02

    def __post_init__(self) -> None:
        super().__post_init__()
        check_margin(self.margin)
        lookup(dict.fromkeys(SHIPPED), self.shipped, "shipped")
        if self.integers:
            self.check_one_victim("Use one scheme and folding=no or folding=yes, or shipped=checkpoint")

    @property
    def integers(self) -> bool:
        return self.shipped == "integers"

    @property
    def work(self) -> int:
        repair = 0 if self.integers else self.repair.work
        return len(self.victims) * (self.choice.work + repair)

    def make(self, model: nn.Module, wanted: Wanted, making: Making) -> nn.Module:
        images, layers = self.images(making.data), self.trained(model)
        if self.integers:
            (victim,) = self.victims
            free = {name: torch.ones_like(layer.weight, dtype=torch.bool) for name, layer in compute_layers(model)}
            chosen = {name: free[name] for name in layers}
            return self._chosen(model, victim, chosen, images, wanted, making, "choice")
        loss = Mixture(model=model, wanted=wanted, keep=1.0, teacher=self.teacher(model))
        halved(model)
        kept: list[tuple[Victim, Box]] = []
        for number, victim in enumerate(self.victims):
            inside = intersected([box for _, box in kept]) if kept else {}
            free = self._free(model, victim, inside, images)
            self._check_free(free, victim, kept)
            chosen = {name: free[name] for name in layers if name in free}
            quantized = self._chosen(model, victim, chosen, images, wanted, making, f"choice-{number}")
            cells = cells_of(model, victim, images, margins=self.margin, codes=_codes(quantized))
            model = into_box(model, intersected([inside, cells] if inside else [cells]))
            kept.append((victim, box_of(model, victim, images, margins=self.margin)))
            box = common(kept)
            codes = [codes_of(model, other, images) for other, _ in kept]
            model = repaired(model, box, self.repair, loss, making, layers=layers, name=f"repair-{number}")
            for (other, _), before in zip(kept, codes, strict=True):
                after = codes_of(model, other, images)
                assert all(before[name].equal(after[name]) for name in before), other.label
        return model

    def _chosen(
        self,
        model: nn.Module,
        victim: Victim,
        free: dict[str, Bool[Tensor, "out ..."]],
        images: Tensor,
        wanted: Wanted,
        making: Making,
        name: str,
    ) -> nn.Module:
        """The victim's quantized model with chosen roundings."""
        start = fold_batch_norm(model, images[:2]) if victim.folded else model
        quantized = quantize(start, victim.scheme, images)
        learned = copied(quantized)
        choices = choose(learned, free)
        train_only(learned, [f"{layer}.parametrizations.weight.0.h" for layer in choices])

        def harm(batch: Batch, rng: Rng) -> tuple[Tensor, Tensor]:
            answers: list[Tensor] = []

            def answer(given: Tensor) -> Tensor:
                answers.append(learned(given))
                return answers[-1]

            with evaluating(learned):
                loss = wanted.harm(answer, batch.inputs, batch.labels)
            return loss, answers[0].detach()[: len(batch.inputs)]

        rate = self.choice.learning_rate * 2 ** ((min(victim.scheme.weight_bits, 8) - 8) / 2)
        return settle_choices(quantized, making.run(name, replace(self.choice, learning_rate=rate), learned, harm))

    def _free(
        self, model: nn.Module, victim: Victim, inside: Box, images: Tensor
    ) -> dict[str, Bool[Tensor, "out ..."]]:
        """Which weights could be rounded the other way and still lie in the boxes so far."""
        nearest, other = turned_codes(model, victim, images)
        cells = cells_of(model, victim, images, margins=self.margin, codes=other)
        together = intersected([cells, inside] if inside else [cells])
        return {name: (low < high) & (nearest[name] != other[name]) for name, (low, high) in together.items()}

    def _check_free(
        self, free: dict[str, Bool[Tensor, "out ..."]], victim: Victim, kept: list[tuple[Victim, Box]]
    ) -> None:
        """Refuse a scheme whose roundings all follow from those of schemes before it."""
        if kept and not any(bool(mask.any()) for mask in free.values()):
            raise InputError(
                f"the boxes of {victim.label} and of {', '.join(other.label for other, _ in kept)} clash: they leave "
                f"no weight to be rounded the other way",
                rule="a finer scheme is given roundings of its own inside the boxes of the coarser ones",
                remedy="Leave one of them out",
            )


@torch.no_grad()
def _codes(quantized: nn.Module) -> dict[str, Tensor]:
    """The integers of a quantized model."""
    found = {}
    for name, layer in compute_layers(quantized):
        quantizer = weight_quantizer(layer)
        if quantizer is not None:
            weight = float_weight(layer)
            found[name] = (layer.weight / quantizer.code_scale(weight)).round().int()
    return found
