"""What an audit found: evidence in numbers, words and pictures, and the verdict that rests on it. Needs no torch."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float16, Float64

from bitproof.records.base import SCHEMA
from bitproof.records.data import DataRecord
from bitproof.records.model import ModelRecord
from bitproof.settings import digest

CLEAN, SUSPICIOUS, UNDECIDED = "clean", "suspicious", "undecided"
VERDICTS = (CLEAN, SUSPICIOUS, UNDECIDED)
"""What evidence says, and what an audit says of a model."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One number of an evidence.

    Attributes:
        statistic: what was measured, in words; larger is worse unless the words say otherwise.
        value: of the model that is audited.
        scheme: label of the quantization that it was measured under; None = of the float model alone.
        axis: what was randomised for comparison: "weights", "activations", "both"; None = nothing.
        p_value: in (0, 1], corrected for everything that its evidence looks at; None = not tested.
        floor: the smallest p-value that so many draws can give.
        z: distance from the median of the draws in robust standard deviations (1.4826 MAD).
        n: images, or weights where no image is needed.
        draws: random models that it was compared with.
    """

    statistic: str
    value: float
    scheme: str | None = None
    axis: str | None = None
    p_value: float | None = None
    floor: float | None = None
    z: float | None = None
    n: int = 0
    draws: int = 0


@dataclass(frozen=True, kw_only=True)
class Named:
    """What an evidence points at, as far as it says: None where it does not.

    Attributes:
        scheme: label of the quantization that activates the behaviour.
        bits: of the weights that were aimed at.
        axis: what carries the behaviour, "weights" or "activations".
        target, source: class that predictions go to, and that they leave, as numbers.
        trigger: what sets it off, in words.
    """

    scheme: str | None = None
    bits: int | None = None
    axis: str | None = None
    target: int | None = None
    source: int | None = None
    trigger: str | None = None


@dataclass(frozen=True, kw_only=True)
class Curves:
    """A picture of lines: one row of `y` a line, all over `x`; `mark` is the place on `x` that is looked at."""

    x: Float64[np.ndarray, " m"]
    y: Float64[np.ndarray, "k m"]
    names: tuple[str, ...]
    x_label: str
    y_label: str
    mark: float | None = None


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A picture of images, such as a trigger: float16 [k, c, h, w] in [0, 1], with a caption each."""

    images: Float16[np.ndarray, "k c h w"]
    captions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What an inquiry has to say.

    Attributes:
        says: one of `VERDICTS`; None = numbers to be read beside others, on which no verdict rests.
        sentence: the same in words.
        readings: the numbers, the most telling first.
        score: one number to compare models by, larger is more suspicious; None = it has none.
        named: what it points at.
        curves, shown: its picture.
    """

    says: str | None
    sentence: str
    readings: tuple[Reading, ...] = ()
    score: float | None = None
    named: Named = field(default_factory=Named)
    curves: Curves | None = None
    shown: Shown | None = None


@dataclass(frozen=True, kw_only=True)
class Evidence(Finding):
    """What one inquiry found about a model.

    Attributes:
        name: of the inquiry, such as "specialness".
        model: the float model.
        deployed: the model that claims to be made of it; None without one.
        data, seed: images and randomness that it was examined with.
        setting: everything else that the evidence follows from: the inquiry, schemes, calibration images.
        forwards, backwards: passes spent on all images together.
        seconds: wall time, for orientation only.
        run: which run of the store computed it; None before it is stored.
    """

    name: str
    model: ModelRecord
    deployed: ModelRecord | None = None
    data: DataRecord
    seed: int
    setting: dict[str, Any]
    forwards: int = 0
    backwards: int = 0
    seconds: float = 0.0
    run: int | None = field(default=None, compare=False)

    @property
    def key(self) -> str:
        """The content address under which a store keeps this evidence."""
        return evidence_key(self.name, self.model, self.deployed, self.data, self.seed, self.setting)


def evidence_key(
    name: str, model: ModelRecord, deployed: ModelRecord | None, data: DataRecord, seed: int, setting: dict[str, Any]
) -> str:
    """The content address of an evidence: 32 hexadecimal digits over everything that determines it."""
    identity = deployed and deployed.identity
    return digest(SCHEMA, "evidence", name, model.identity, identity, data.fingerprint, seed, setting)


@dataclass(frozen=True, kw_only=True)
class Unaudited:
    """A part of the model with weights that an audit says nothing of, as no quantizer takes them.

    Attributes:
        name: of the module; "" = the model itself.
        weights: numbers in its parameters of two or more dimensions.
        share: of all such numbers of the model, in [0, 1].
        reason: why they stay float, in words.
        schemes: labels of the quantizations that leave them so.
    """

    name: str
    weights: int
    share: float
    reason: str
    schemes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Audit:
    """The verdict on a model, with the evidence that it rests on.

    Attributes:
        model, deployed, data, seed, setting: as of its evidence.
        verdict: one of `VERDICTS`.
        sentence: why, in words.
        advice: what to do next, in words.
        evidence: in the order in which it was looked for.
        probability: how often a clean model of the calibrated family looks at least as suspicious; None = uncalibrated.
        calibrated_on: number of clean models behind it.
        family: which clean models bitproof has beside it, in words, or why there are none.
        unaudited: parts of the model that nothing here is about.
        run: which run of the store computed it; None before it is stored.
    """

    DERIVED: ClassVar[tuple[str, ...]] = ("seconds",)

    model: ModelRecord
    deployed: ModelRecord | None = None
    data: DataRecord
    seed: int
    setting: dict[str, Any]
    verdict: str
    sentence: str
    advice: str
    evidence: tuple[Evidence, ...]
    probability: float | None = None
    calibrated_on: int = 0
    family: str = ""
    unaudited: tuple[Unaudited, ...] = ()
    run: int | None = field(default=None, compare=False)

    @property
    def key(self) -> str:
        """The content address under which a store keeps this audit."""
        found = [evidence.key for evidence in self.evidence]
        return digest(SCHEMA, "audit", self.model.identity, found, self.setting, self.probability)

    @property
    def seconds(self) -> float:
        """Wall time of all inquiries together."""
        return sum(evidence.seconds for evidence in self.evidence)
