"""What a diagnosis of masked gradients is: signals with their numbers, and a verdict in words. Needs no torch."""

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from bitproof.records.base import SCHEMA
from bitproof.records.data import DataRecord
from bitproof.records.model import ModelRecord
from bitproof.settings import digest

if TYPE_CHECKING:
    import pandas as pd

LEAST = 30
"""With fewer examples that the model gets right, silence says too little: a symptom that is seen on none of 29 may
still hold for a sixth of all."""

LEVEL = 0.05
"""Of a diagnosis: the chance of a false alarm where gradients are sound."""

MISLEADING = (
    "the gradient disagrees with differences, random directions",
    "the gradient disagrees with differences, its own direction",
)
"""Signals that show gradients to be poor guides, but no attack to suffer from it."""


@dataclass(frozen=True, kw_only=True)
class Signal:
    """One symptom of masked gradients.

    Attributes:
        name: what is seen where it fires.
        effect: the share of examples, or the paired difference of two shares, that it is judged by.
        limit: what the effect has to exceed significantly.
        numbers: all that was measured for it, by name.
        p_value: of the effect's being above the limit, one-sided; `p_holm` is corrected for the number of signals that
            were looked for.
        fires: the effect is above the limit and significant; None = not looked for.
        sentence: the same in words.
    """

    name: str
    effect: float | None
    limit: float
    numbers: dict[str, float]
    p_value: float | None
    p_holm: float | None
    fires: bool | None
    sentence: str


def diagnosis_key(
    model: ModelRecord, twin: ModelRecord | None, data: DataRecord, seed: int, setting: dict[str, Any]
) -> str:
    """The content address of a diagnosis: 32 hexadecimal digits over everything that determines it."""
    return digest(SCHEMA, "masking", model.identity, twin and twin.identity, data.fingerprint, seed, setting)


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Whether attacks that follow a model's gradients can be trusted, with the evidence.

    Attributes:
        model: whose gradients.
        twin: the float model whose adversarial images were tried on it; None without one.
        data, seed: on what.
        setting: the arguments of the diagnosis.
        eps: the linf budget of the comparisons.
        attacked: how many examples the model gets right; only these are attacked.
        accuracy: on all examples: "clean"; under the attack that follows "gradients"; under "all" that were tried.
        signals: one entry each, in a fixed order.
        forwards, backwards: passes spent on all examples together, those of the twin included.
        seconds: wall time, for orientation only.
        run: which run of the store computed it; None before it is stored.
    """

    DERIVED: ClassVar[tuple[str, ...]] = ("masked", "verdict")

    model: ModelRecord
    twin: ModelRecord | None
    data: DataRecord
    seed: int
    setting: dict[str, Any]
    eps: float
    attacked: int
    accuracy: dict[str, float]
    signals: tuple[Signal, ...]
    forwards: int
    backwards: int
    seconds: float
    run: int | None = field(default=None, compare=False)

    @property
    def key(self) -> str:
        """The content address under which the store keeps this diagnosis."""
        return diagnosis_key(self.model, self.twin, self.data, self.seed, self.setting)

    @property
    def firing(self) -> tuple[Signal, ...]:
        """The signals that fire."""
        return tuple(signal for signal in self.signals if signal.fires)

    @property
    def masked(self) -> bool | None:
        """Whether an attack is shown to suffer, not only gradients to be poor guides; None with too few examples."""
        if any(signal.name not in MISLEADING for signal in self.firing):
            return True
        return None if self.attacked < LEAST and not self.firing else False

    @property
    def unseen(self) -> float:
        """The largest share of images for which a symptom may hold that was seen on none (exact, for all signals)."""
        looked_for = sum(signal.fires is not None for signal in self.signals)
        return 1 - (LEVEL / max(1, looked_for)) ** (1 / max(1, self.attacked))

    @property
    def verdict(self) -> str:
        """The outcome in words."""
        looked_for = sum(signal.fires is not None for signal in self.signals)
        if self.masked is None:
            return f"Could not tell: the model gets only {self.attacked} examples right, and it takes {LEAST}."
        seen = f"{len(self.firing)} of {looked_for} signals fire on {self.attacked} examples"
        names = "; ".join(signal.name for signal in self.firing)
        if self.masked:
            said = (
                f"Gradients are masked: {seen} ({names}). What attacks that follow them fail to break is not robust "
                "for that."
            )
        elif self.firing:
            said = (
                f"Gradients are poor guides; no attack shown to suffer: {seen} ({names}). They say little about where "
                "the loss goes, but nothing that was tried does better than following them. Add attacks that need no "
                "gradient."
            )
        else:
            said = (
                f"No sign of masked gradients: none of {looked_for} signals fires on {self.attacked} examples. What "
                f"was seen on none of them may still hold for up to {self.unseen:.1%} of all."
            )
        return (
            f"{said} At linf {255 * self.eps:.4g}/255 {self.accuracy['gradients']:.1%} stand against gradients, "
            f"{self.accuracy['all']:.1%} against everything tried."
        )

    def table(self) -> "pd.DataFrame":
        """One row a signal: name, effect, limit, p-values, whether it fires, and the sentence."""
        import pandas as pd

        rows = [asdict(signal) for signal in self.signals]
        return pd.DataFrame([{k: v for k, v in row.items() if k != "numbers"} for row in rows])
