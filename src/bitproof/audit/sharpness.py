"""Sharpness: does the model change faster along its own quantization error than along random directions of its size?

The error e of each layer is compared with Gaussian directions of its norm. The divergence from the float model at w + e
says how far this rounding goes, and the mean of it at w + e and w - e its curvature, in which a slope has no part. A
model made for one rounding stands out in the first and not in the second; one that any perturbation sets off has high
curvature everywhere, in which case the draws are far from float as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from bitproof.audit.case import Case, Form
from bitproof.audit.inquiry import Inquiry, Meter
from bitproof.audit.rank import ranked
from bitproof.audit.statistics import divergence
from bitproof.core.rng import Rng
from bitproof.records import Curves, Finding, Named, Reading

ALONG = (-1.0, -0.5, 0.0, 0.5, 1.0)
"""Where the model is looked at on each direction, in quantization errors."""


@dataclass(frozen=True, kw_only=True)
class Sharpness(Inquiry):
    """The divergence from float along the quantization error of the weights and along random directions.

    Attributes:
        directions: random ones.
        images: at most.
    """

    name = "sharpness"
    revision = 2

    directions: int = 19
    images: int = 250

    def passes(self, case: Case) -> int:
        return len(case.forms) * (self.directions * 2 + len(ALONG)) * min(self.images, len(case.images))

    def asks(self, case: Case) -> bool:
        return bool(case.forms)

    def look(self, case: Case, rng: Rng, meter: Meter) -> Finding:
        images = case.images[: self.images]
        before = meter.answers(case.model, images)

        def far(form: Form, direction: Mapping[str, Tensor], part: float) -> float:
            weights = {name: r.weight + part * direction[name] for name, r in form.layers.items()}
            return divergence(before, meter.answers(form.wear(weights), images))

        readings, lines = [], {}
        for form in case.forms:
            own = {name: rounded.error for name, rounded in form.layers.items()}
            lines[form.label] = [far(form, own, part) for part in ALONG]
            drawn = np.array(
                [
                    [far(form, direction, part) for part in (1.0, -1.0)]
                    for direction in (_direction(form, rng.fold(number)) for number in range(self.directions))
                ]
            )
            ends = np.array([lines[form.label][-1], (lines[form.label][0] + lines[form.label][-1]) / 2])
            among = ranked(ends, np.stack([drawn[:, 0], drawn.mean(1)], 1), np.full(2, 1e-6))
            for i, what in enumerate(("at the rounded weights", "on both sides, the mean")):
                readings.append(
                    Reading(
                        statistic=f"divergence from float, nats, {what}",
                        value=float(ends[i]),
                        scheme=form.label,
                        axis="weights",
                        z=float(among.z[i]),
                        n=len(images),
                        draws=self.directions,
                    )
                )
        readings.sort(key=lambda reading: -(reading.z or 0))
        top = readings[0]
        return Finding(
            says=None,
            sentence=f"Along the quantization error of {top.scheme} the model changes most for its size: "
            f"{top.value:.3g} nats {top.statistic.rsplit('nats, ')[1]}, z = {top.z:.1f} among {self.directions} random "
            "directions.",
            readings=tuple(readings),
            score=top.z,
            named=Named(scheme=top.scheme),
            curves=Curves(
                x=np.array(ALONG),
                y=np.array(list(lines.values())),
                names=tuple(lines),
                x_label="part of the quantization error of the weights that is added",
                y_label="divergence from float, nats",
                mark=1.0,
            ),
        )


def _direction(form: Form, rng: Rng) -> dict[str, Float[Tensor, "out ..."]]:
    """A Gaussian direction with the norm of each layer's error."""
    found = {}
    for name, rounded in form.layers.items():
        noise = rng.fold(name).normal(tuple(rounded.weight.shape))[0].to(rounded.weight)
        found[name] = noise * (rounded.error.norm() / noise.norm())
    return found
