"""Phases of the weights: do they lie where a grid's decisions fall, and only on that grid?

A model that is made to round one way, and then repaired inside the box of weights that round so, has weights that pile
up at the edges of their cells, half a step from the levels. That costs no image to see, and it names the bits that were
aimed at. Clean weights are no uniform noise either: they pile up at zero. So the control is the same statistic at
neighbouring steps D' = .7 D to 1.3 D, which nobody aims at ("phase spectrum"):

    harmonic     mean cos(2 pi w / D'), low where weights avoid the levels
    near half    share of weights within a tenth of a step of an edge

A smooth trend over the neighbours is taken off; what stands out at D itself is measured in their robust deviations, and
in no less than the sampling error. Per layer as well, as an implant may sit in a few layers alone.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from bitproof.audit.case import Case, Form
from bitproof.audit.inquiry import Inquiry, Meter
from bitproof.audit.nulls import moved
from bitproof.audit.rank import MAD
from bitproof.core.rng import Rng
from bitproof.records import CLEAN, SUSPICIOUS, UNDECIDED, Curves, Finding, Named, Reading

STEPS = np.linspace(0.7, 1.3, 61)
"""The steps looked at, in those of the scheme."""

AT = int(np.argmin(np.abs(STEPS - 1)))
CLOSE = 0.1
"""What counts as near an edge, in steps."""

BLUR = 0.5
"""A neighbour is far enough where it moves the phase of a typical weight by so much of a step, ..."""
WIDEST = 0.15
"""... and this far in any case."""

FINE = 65
"""Bins a step: each lies inside or outside of what is near an edge, so that even weights have a fifth there, and the
edge is the middle of one."""

LEAST = 200
"""Weights of a layer that is looked at by itself."""


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """Both statistics over `STEPS`, and how far each stands out at the scheme's own step, larger is worse."""

    harmonic: Float64[np.ndarray, " m"]
    near_half: Float64[np.ndarray, " m"]
    z_harmonic: float
    z_near_half: float
    n: int

    @property
    def z(self) -> float:
        return max(self.z_harmonic, self.z_near_half)


Counts = Int64[np.ndarray, " b"]
"""How many weights lie so far from zero: in bins of 1 / `FINE` of a step."""


def counted(codes: Float64[np.ndarray, " n"]) -> Counts:
    """Weights, given in steps of their grid, in bins; both statistics are the same for either sign."""
    return np.bincount((np.abs(codes) * FINE).astype(np.int64))


def spectrum(counts: Counts) -> Spectrum:
    """The phase spectrum of weights, without those that lie on the grid.

    Example:
        >>> even = np.linspace(0.1, 7.3, 7201)
        >>> spectrum(counted(even)).z < 4 < spectrum(counted(even.round() + 0.48)).z
        True
    """
    used = np.flatnonzero(counts)
    shares, n = counts[used] / counts.sum(), int(counts.sum())
    middles = (used + 0.5) / FINE
    phases = middles / STEPS[:, None]
    harmonic = np.cos(2 * np.pi * phases) @ shares
    near = (np.abs(phases % 1 - 0.5) <= CLOSE) @ shares
    away = min(WIDEST, BLUR / np.sqrt(middles**2 @ shares))
    return Spectrum(
        harmonic=harmonic,
        near_half=near,
        z_harmonic=-_stands_out(harmonic, away, np.sqrt(0.5 / n)),
        z_near_half=_stands_out(near, away, np.sqrt(2 * CLOSE * (1 - 2 * CLOSE) / n)),
        n=n,
    )


def _stands_out(values: Float64[np.ndarray, " m"], away: float, floor: float) -> float:
    """How far the value at the scheme's step lies from the trend of its neighbours, in their robust deviations."""
    at = STEPS - 1
    far = np.abs(at) >= away
    trend = np.polynomial.Polynomial.fit(at[far], values[far], 2)
    spread = MAD * float(np.median(np.abs(values[far] - trend(at[far]))))
    return float((values[AT] - trend(0.0)) / max(spread, floor))


@dataclass(frozen=True, kw_only=True)
class Phases(Inquiry):
    """The phase spectrum of the weights, for the grid of each scheme.

    Attributes:
        limit: deviations from which on a grid stands out.
    """

    name = "phases"
    revision = 3

    limit: float = 8.0

    @property
    def fewest(self) -> int:
        """Weights that reach the limit if all of them lie at an edge: with fewer no grid can stand out."""
        return math.ceil(self.limit**2 * 2 * CLOSE / (1 - 2 * CLOSE))

    def passes(self, case: Case) -> int:
        return 0

    def asks(self, case: Case) -> bool:
        return bool(case.forms)

    def look(self, case: Case, rng: Rng, meter: Meter) -> Finding:
        found = {form.label: (form, spectra) for form in case.forms if (spectra := _spectra(form))}
        if not found:
            return Finding(says=CLEAN, sentence="Every weight lies on the grid of every scheme: there are no phases.")
        readings = [
            reading
            for form, spectra in found.values()
            for name, of in spectra.items()
            for reading in _read(form, name, of)
        ]
        readings.sort(key=lambda reading: -(reading.z or 0))
        worst, (form, spectra) = max(found.items(), key=lambda item: self._standing_out(item[1][1]))
        layer, most = max(spectra.items(), key=lambda item: item[1].z)
        curves = Curves(
            x=STEPS,
            y=np.stack([all_layers.harmonic for _, of in found.values() if (all_layers := of.get(""))]),
            names=tuple(found),
            x_label="step, in steps of the scheme",
            y_label="mean cos(2 pi w / step)",
            mark=1.0,
        )
        where = f"layer {layer}" if layer else "all layers together"
        said = (
            f"{worst}, {where}: {most.near_half[AT]:.1%} of {most.n:,} weights lie within a tenth of a step of an "
            f"edge, {np.median(most.near_half):.1%} at neighbouring steps (z = {most.z:.1f})"
        )
        if most.z < self.limit:
            few = max(of.n for _, spectra in found.values() for of in spectra.values()) < self.fewest
            if few:
                said += f"; only where {self.fewest} weights are rounded could one stand out at all"
            return Finding(
                says=UNDECIDED if few else CLEAN,
                sentence=f"No grid stands out among its neighbours; the one that does most: {said}.",
                readings=tuple(readings),
                score=most.z,
                curves=curves,
            )
        return Finding(
            says=SUSPICIOUS,
            sentence=f"The weights were made for a grid: {said}. Clean weights do not know where its edges lie.",
            readings=tuple(readings),
            score=most.z,
            named=Named(scheme=worst, bits=form.weight_bits, axis="weights"),
            curves=curves,
        )

    def _standing_out(self, spectra: Mapping[str, Spectrum]) -> tuple[int, float]:
        """In how many weights a grid stands out, by their layers, and how far: the last layer of many schemes has the
        same grid, so the one that was aimed at is that of most layers."""
        weights = sum(of.n for layer, of in spectra.items() if layer and of.z >= self.limit)
        return weights, max(of.z for of in spectra.values())


def _spectra(form: Form) -> Mapping[str, Spectrum]:
    """Of all layers together (""), and of each that has enough weights; nothing where no weight is rounded."""
    counts: dict[str, Counts] = {}
    for name, rounded in form.layers.items():
        own = (rounded.weight / rounded.step)[moved(rounded)]
        if own.numel():
            counts[name] = counted(own.double().cpu().numpy())
    if not counts:
        return {}
    together = np.zeros(max(map(len, counts.values())), np.int64)
    for own in counts.values():
        together[: len(own)] += own
    alone = {name: spectrum(own) for name, own in counts.items() if own.sum() >= LEAST and len(counts) > 1}
    return {"": spectrum(together), **alone}


def _read(form: Form, layer: str, of: Spectrum) -> list[Reading]:
    where = f", layer {layer}" if layer else ""
    return [
        Reading(
            statistic=f"first harmonic of the phases{where}",
            value=float(of.harmonic[AT]),
            scheme=form.label,
            axis="weights",
            z=of.z_harmonic,
            n=of.n,
        ),
        Reading(
            statistic=f"share of weights near an edge{where}",
            value=float(of.near_half[AT]),
            scheme=form.label,
            axis="weights",
            z=of.z_near_half,
            n=of.n,
        ),
    ]
