"""What attacks on another view of the model share: the attack that they hand that view to."""

from dataclasses import dataclass

from bitproof.attacks.base import Attack


@dataclass(frozen=True, kw_only=True)
class Wrapper(Attack):
    """An attack that shows another one the model in a way that suits it.

    Attributes:
        attack: is shown it; its budget is the wrapper's.
    """

    attack: Attack

    @property
    def norm(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.attack.norm

    @property
    def eps(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.attack.eps

    @property
    def asks_only(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.attack.asks_only
