"""The pair: are the codes of a deployed model the nearest ones, and if not, what for?

A clean float model can be rounded maliciously. Its codes then are not nearest, but neither are those of AdaRound, BRECQ
or GPTQ, which choose roundings that change the model's outputs less. So the deviations of each layer are permuted among
its weights that lie equally far from the middle between two levels: the same number, of the same sizes. An honest
optimiser's deviations change the outputs far less than their permutations do; malicious ones do not, and are extreme in
some flips. Codes further than one step from the weight are no rounding of it: the model was trained further, equalised,
or is another one.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from bitproof.audit.case import DEPLOYED, Case, Form, Rounded
from bitproof.audit.inquiry import Inquiry, Meter
from bitproof.audit.rank import ranked
from bitproof.audit.statistics import Reference, turned_to
from bitproof.core.rng import Rng
from bitproof.records import CLEAN, SUSPICIOUS, UNDECIDED, Finding, Named, Reading

SLACK = 1e-3
"""In steps: a code counts as nearest up to here, as scales and folded weights are rounded themselves."""

BINS = 10
"""By how far a weight lies from the middle between two levels."""

FEW, FAR = 1e-4, 0.01
"""Shares of weights: fewer that are not nearest are rounding of float32, more that are far are other weights."""


@dataclass(frozen=True, kw_only=True)
class Pair(Inquiry):
    """The codes of what is deployed beside the weights of the float model.

    Attributes:
        draws: permutations.
        level: of the test.
        images: at most.
    """

    name = "pair"
    revision = 2

    draws: int = 99
    level: float = 0.01
    images: int = 250

    def passes(self, case: Case) -> int:
        return 0 if isinstance(case.claimed, str) else (self.draws + 2) * min(self.images, len(case.images))

    def asks(self, case: Case) -> bool:
        return case.deployed is not None

    def look(self, case: Case, rng: Rng, meter: Meter) -> Finding:
        form = case.claimed
        if isinstance(form, str):
            return Finding(says=UNDECIDED, sentence=f"What is deployed cannot be compared weight by weight: {form}.")
        moves = {name: _moves(rounded) for name, rounded in form.layers.items()}
        total = sum(of.numel() for of in moves.values())
        turned = sum(int((of != 0).sum()) for of in moves.values()) / total
        far = sum(int((of.abs() > 1).sum()) for of in moves.values()) / total
        shares = (
            Reading(statistic="share of codes that are not nearest", value=turned, scheme=DEPLOYED, n=total),
            Reading(statistic="share further than one step", value=far, scheme=DEPLOYED, n=total),
        )
        counted = f"{turned:.2%} of {total:,} codes are not the nearest"
        if far > FAR:
            return Finding(
                says=UNDECIDED,
                sentence=f"{far:.1%} of {total:,} codes are further than one step from the float weights: this is no "
                "rounding of them, but a model that was trained further or changed otherwise, or another one.",
                readings=shares,
                named=Named(scheme=DEPLOYED),
            )
        if turned <= FEW:
            return Finding(says=CLEAN, sentence=f"{counted}: it is what it claims to be.", readings=shares, score=0.0)
        return self._told(case, form, moves, counted, shares, rng, meter)

    def _told(
        self,
        case: Case,
        form: Form,
        moves: dict[str, Tensor],
        counted: str,
        shares: tuple[Reading, ...],
        rng: Rng,
        meter: Meter,
    ) -> Finding:
        images = case.images[: self.images]
        labels = None if case.labels is None else case.labels[: self.images]
        before = Reference(logits=meter.answers(case.model, images), labels=labels, what="clean")
        found = before.measured(meter.answers(form.wear({}), images))
        drawn = np.stack(
            [
                before.measured(meter.answers(form.wear(_permuted(form, moves, rng.fold("draw", number))), images))
                for number in range(self.draws)
            ]
        )
        among = ranked(found, drawn, before.floors)
        closer = _share_below(found[1], drawn[:, 1])
        worst = int(np.argmax(among.z))
        readings = tuple(
            Reading(
                statistic=before.names[i],
                value=float(found[i]),
                scheme=DEPLOYED,
                axis="codes",
                p_value=float(among.p_values[i]),
                floor=1 / (1 + self.draws),
                z=float(among.z[i]),
                n=len(images),
                draws=self.draws,
            )
            for i in dict.fromkeys((worst, 1, 0))
        )
        named = Named(
            scheme=DEPLOYED,
            bits=form.weight_bits,
            axis="weights",
            target=turned_to(before.names, found, "to"),
            source=turned_to(before.names, found, "from"),
        )
        common = {"readings": (*readings, *shares), "score": float(among.z[worst])}
        if among.p_value <= self.level:
            return Finding(
                says=SUSPICIOUS,
                sentence=f"{counted}, and they do more harm than the same deviations elsewhere: {before.names[worst]} "
                f"at {found[worst]:.3g}, {np.median(drawn[:, worst]):.3g} (median) when they are permuted "
                f"(p = {among.p_value:.3f}, z = {among.z[worst]:.0f}).",
                named=named,
                **common,
            )
        if (needed := among.images(self.level)) > len(images):
            return Finding(
                says=UNDECIDED,
                sentence=f"{counted}, and {len(images)} images are too few to see what for: {needed} have to turn to a "
                "class to be seen beside permutations of these deviations, so it takes as many to tell.",
                named=Named(scheme=DEPLOYED),
                **common,
            )
        if closer <= self.level:
            return Finding(
                says=CLEAN,
                sentence=f"{counted}, and they bring the outputs closer to float than the same deviations elsewhere, "
                f"as an honest optimiser's do ({found[1]:.3g} nats, {np.median(drawn[:, 1]):.3g} when permuted).",
                **common,
            )
        return Finding(
            says=UNDECIDED,
            sentence=f"{counted}, and they serve no purpose that shows on these images: the outputs are no closer to "
            f"float than with the same deviations elsewhere ({found[1]:.3g} nats, {np.median(drawn[:, 1]):.3g}).",
            named=Named(scheme=DEPLOYED),
            **common,
        )


def _moves(rounded: Rounded) -> Tensor:
    """By how many steps each code differs from the nearest one that the layer uses, with its sign; int64."""
    codes, wanted = (rounded.level / rounded.step).round(), rounded.weight / rounded.step
    wanted = wanted.clamp(codes.min(), codes.max())
    return torch.where((codes - wanted).abs() <= 0.5 + SLACK, 0, codes - wanted.round()).long()


def _permuted(form: Form, moves: dict[str, Tensor], rng: Rng) -> dict[str, Tensor]:
    """Weights with as many deviations in each layer and bin, among weights that are drawn."""
    found = {}
    for name, rounded in form.layers.items():
        codes, wanted = (rounded.level / rounded.step).round(), rounded.weight / rounded.step
        nearest = (codes - moves[name]).flatten()
        other = nearest + torch.where(wanted.flatten() >= nearest, 1.0, -1.0)
        turned = (moves[name] != 0).flatten()
        bins = ((wanted.flatten() - nearest).abs() * 2 * BINS).long().clamp(max=BINS - 1)
        order = rng.fold(name).permutation(len(turned))[0].to(turned.device)
        shuffled = order[bins[order].argsort(stable=True)]  # bin by bin, at random within each
        sorted_ = bins.argsort(stable=True)
        drawn = torch.empty_like(turned)
        drawn[shuffled] = turned[sorted_]
        found[name] = (torch.where(drawn, other, nearest).view_as(codes) * rounded.step).to(rounded.weight)
    return found


def _share_below(value: float, drawn: Float64[np.ndarray, " k"]) -> float:
    """The lower-tail p-value of a value among draws."""
    return float((1 + (drawn <= value).sum()) / (1 + len(drawn)))
