"""What every attack is: a frozen setting that can be called, and that says of itself what its callers need to know."""

import abc
import dataclasses
import math
from operator import attrgetter
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from bitproof.attacks.checks import check_gradients, check_task
from bitproof.attacks.goal import Goal
from bitproof.core.balls import BALLS, check_eps
from bitproof.core.calling import Model
from bitproof.core.rng import Rng
from bitproof.errors import InputError

Images = Float[Tensor, "n c h w"]
"""Images in [0, 1]."""

Classes = Int[Tensor, " n"]
"""A class an example."""


TO_THE_END: dict[bool, list[str]] = {True: [], False: ["to the end"]}
"""What a label says, by `stop_at_hit`."""


class Attack(abc.ABC):
    """Looks for images near the given ones that the model gets wrong (or takes for the targets).

    Subclasses are frozen dataclasses: fields for what can be set, plain class attributes for what cannot (the norm of
    an attack that has only one), `label`, `passes` and `__call__`.

    Attributes:
        norm, eps: the budget, in [0, 1] pixel units. The evaluator checks it; the attack is not believed.
            An infinite eps means that the attack looks for the nearest image: its distances answer
            every budget at once (`bitproof.metrics.robust_accuracy_curve`).
        asks_only: whether answers are enough; the others follow gradients.
        takes_targets: whether it can be sent to a class; the others look for any wrong one.
        beside: whether it is about a second model, too, and so is made on a `core.defended.Beside`.
        pooled: whether it takes any number of examples and fills its passes itself: its `__call__` has a further
            argument `batch_size`, the most images a pass. The others make one batch of what they are given.
    """

    norm: str
    eps: float
    asks_only: bool = False
    takes_targets: bool = True
    beside: bool = False
    pooled: bool = False

    @property
    def averaged(self) -> int:
        """Answers that are averaged at every point; with one, a model that answers at random is refused."""
        return 1

    @property
    def undefended(self) -> "Attack | None":
        """The attack that this one is on models without a defence, where it is another one."""
        return None

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """Short form for people, e.g. "pgd-20 linf 8/255"."""

    @property
    @abc.abstractmethod
    def passes(self) -> int:
        """Most forward and backward passes an example can cost, for progress bars."""

    @abc.abstractmethod
    def __call__(
        self, model: Model, inputs: Images, labels: Classes, *, targets: Classes | None = None, rng: Rng
    ) -> Images:
        """Adversarial images in [0, 1] within the budget; where none is found, the strongest try.

        Args:
            model: maps images in [0, 1] to logits, in eval mode.
            inputs: clean images in [0, 1].
            labels: true classes.
            targets: classes to reach; None = any class but the label.
            rng: keyed randomness for these examples.

        Raises:
            InputError: what `goal` refuses, a class that the model does not have, logits that are not finite, a
                gradient that does not exist.
        """

    @property
    def budget(self) -> str:
        """Norm and eps for labels, e.g. "linf 8/255"; the norm alone if eps is infinite."""
        return self.norm if math.isinf(self.eps) else f"{self.norm} {BALLS[self.norm].text(self.eps)}"

    def goal(self, model: Model, inputs: Images, labels: Classes, targets: Classes | None) -> Goal:
        """What a call is to reach, after a look at its arguments: how a `__call__` begins.

        Raises:
            InputError: an eps beyond the images, targets for an attack that takes none, targets that equal labels,
                a model in train mode, inputs outside [0, 1], gradients switched off for an attack that follows them.
        """
        check_eps(self.eps, self.norm, inputs.shape[1:].numel(), endless=True)
        if targets is not None and not self.takes_targets:
            raise InputError(
                f"{type(self).__name__} got targets",
                rule="it looks for any wrong class, and is untargeted by definition",
                remedy="Use PGD, APGD, FAB, Square, CW, DDN or FMN",
            )
        if not self.asks_only:
            check_gradients(self.pooled)
        check_task(model, inputs, labels, targets)
        return Goal(labels, targets, targeted=targets is not None)

    def to_the_end(self) -> "Attack":
        """The same setting that does not leave an example at its first hit; equal to itself without such a choice.

        Images beyond the first hit lie deeper in the wrong class, and so deceive other models more often; they are also
        the ones that papers measure distances of. Every iterative attack with a budget has the field `stop_at_hit`.
        Attacks that look for the nearest image always go to their end, and attacks around another one as that does.
        """
        setting: Any = self  # a dataclass, which no annotation can say
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(setting)}
        around = {name: value.to_the_end() for name, value in fields.items() if isinstance(value, Attack)}
        stop = {"stop_at_hit": False} if "stop_at_hit" in fields else {}
        return dataclasses.replace(setting, **around, **stop)


def same_as(path: str) -> Any:
    """An attribute of an attack around another one that is found at `path`, e.g. "attack.norm"."""
    return property(attrgetter(path))
