"""Evidence 5: the smallest change of an image that flips the quantized model and not the float one, gathered by class.

DIVA (Hao et al. 2022, arXiv 2204.10933, `attacks.Differential`) attacks where two models differ: PGD under linf on

    log p_float(y) - log p_quantized(y)         y what both say of the clean image

for each image by itself. Honest pairs have such images, too, at random: they flip into the class that is nearest. Where
quantization was made to do something, flips gather in one class, or come sooner than in the reverse direction (float
flipped, quantized not), which is the control.
"""

import statistics
from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bitproof.attacks import PGD, Differential
from bitproof.audit.case import DEPLOYED, Case
from bitproof.audit.differential import UNREADABLE, rivals_of
from bitproof.audit.inquiry import Inquiry, Meter
from bitproof.audit.searching import Rivals
from bitproof.core.calling import device_of
from bitproof.core.defended import Beside, examined
from bitproof.core.passes import Counted
from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.records import CLEAN, KEPT, UNDECIDED, Finding, Named, Reading

BUDGETS = tuple(level / 255 for level in (0.5, 1, 2, 4, 8, 16))
"""Of the change, tried in this order."""

LEAST = 30
"""Flips; with fewer nothing is said of where they go."""

GATHERED = 0.5
"""Flips gather in a class that gets more than this part of them."""

LEVEL = 0.001
"""Of the test that a class gets no larger part of the flips than in the reverse direction, over all classes."""


@dataclass(frozen=True, kw_only=True)
class Flips:
    """What was found in one direction.

    Attributes:
        budgets: the smallest budget of each image that was flipped.
        towards: how many went to each class.
        n: images that were tried.
    """

    budgets: tuple[float, ...]
    towards: dict[int, int]
    n: int

    @property
    def median(self) -> float:
        """The budget that flips half of the images; infinite where fewer were."""
        missing = [float("inf")] * (self.n - len(self.budgets))
        return statistics.median_low([*self.budgets, *missing]) if self.n else float("inf")


@dataclass(frozen=True, kw_only=True)
class DifferentialFlips(Inquiry):
    """Looks for the smallest changes that flip the quantized model alone: what is deployed, or else of fewest bits.

    Attributes:
        images: how many are tried.
        steps: of PGD at each budget.
    """

    name = "differential-flips"
    revision = 3

    images: int = 96
    steps: int = 10

    def __post_init__(self) -> None:
        if self.images < 1 or self.steps < 2:
            raise InputError(
                f"{self.images} images, {self.steps} steps",
                rule="there is at least one image, and 2 steps",
                remedy="Leave them out for the defaults",
            )

    def passes(self, case: Case) -> int:
        return 2 * 4 * min(self.images, len(case.images)) * self.steps * len(BUDGETS)

    def look(self, case: Case, rng: Rng, meter: Meter) -> Finding:
        pairs = rivals_of(case)
        if not pairs:
            return Finding(says=None, sentence=UNREADABLE)
        label = DEPLOYED if DEPLOYED in pairs else next(iter(pairs))
        pair = pairs[label]
        assert pair.keeps is not None
        answers = meter.answers(case.model, case.images).argmax(1)
        same = meter.answers(pair.obeys, case.images).argmax(1) == answers
        rows = torch.nonzero(same)[: self.images, 0]
        task = case.images[rows], answers[rows]
        forward = self._flips(pair, *task, rng.fold("forward"), meter)
        reverse = self._flips(Rivals(obeys=pair.keeps, keeps=pair.obeys), *task, rng.fold("reverse"), meter)
        return _told(label, forward, reverse, len(case.classes))

    def _flips(
        self, pair: Rivals, images: Float[Tensor, "n c h w"], answers: Int[Tensor, " n"], rng: Rng, meter: Meter
    ) -> Flips:
        """The smallest budgets at which `obeys` is flipped and `keeps` is not; what is flipped is tried no further."""
        budgets: list[float] = []
        towards: Counter[int] = Counter()
        left = torch.arange(len(images))
        for number, eps in enumerate(BUDGETS):
            if not len(left):
                break
            parts = [
                self._tried(pair, images[rows], answers[rows], eps, rng.fold(number, i), meter)
                for i, rows in enumerate(left.split(meter.batch_size))
            ]
            said = torch.cat(parts)
            flipped = said >= 0
            budgets += [eps] * int(flipped.sum())
            towards.update(said[flipped].tolist())
            left = left[~flipped]
        return Flips(budgets=tuple(budgets), towards=dict(towards), n=len(images))

    def _tried(
        self, pair: Rivals, images: Tensor, answers: Tensor, eps: float, rng: Rng, meter: Meter
    ) -> Int[Tensor, " n"]:
        """What `obeys` says of a changed image where `keeps` still says the answer; -1 where none was found."""
        assert pair.keeps is not None
        both, device = Counted(Beside(pair.obeys, pair.keeps)), device_of(pair.obeys)
        given, labels = images.to(device), answers.to(device)
        attack = Differential(path=PGD(eps=eps, steps=self.steps))
        tried = attack(both, given, labels, rng=Rng(rng.seed, np.arange(len(images)), rng.path))
        with torch.no_grad():
            found = examined(both, tried)
        meter.count(forwards=both.forwards, backwards=both.backwards)
        changed = found.logits.argmax(1)
        alone = (changed != labels) & (found.values[KEPT] == labels)
        return torch.where(alone, changed, -1).cpu()


def _told(label: str, forward: Flips, reverse: Flips, classes: int) -> Finding:
    """The numbers in words."""
    from scipy.stats import fisher_exact  # here: the import takes longer than the test

    count = len(forward.budgets)
    target, most = max(forward.towards.items(), key=lambda entry: entry[1], default=(-1, 0))
    back = reverse.towards.get(target, 0)
    # one flip more to each class, so that a reverse direction without any still stands for something
    table = [[most, count - most], [back + 1, len(reverse.budgets) - back + classes - 1]]
    p_one = float(fisher_exact(table, alternative="greater")[1])  # pyright: ignore
    p = min(1.0, classes * p_one) if count else 1.0
    share = most / max(1, count)
    gathered = count >= LEAST and share > GATHERED and p <= LEVEL
    readings = (
        Reading(statistic=f"part of the flips to class {target}", value=share, scheme=label, p_value=p, n=count),
        Reading(
            statistic="images flipped in quantized alone", value=count / max(1, forward.n), scheme=label, n=forward.n
        ),
        Reading(
            statistic="images flipped in float alone",
            value=len(reverse.budgets) / max(1, reverse.n),
            scheme=label,
            n=reverse.n,
        ),
        Reading(statistic="linf that flips half in quantized alone", value=forward.median, scheme=label, n=forward.n),
        Reading(statistic="linf that flips half in float alone", value=reverse.median, scheme=label, n=reverse.n),
    )
    flipped = (
        f"Changes of up to {255 * BUDGETS[-1]:.0f}/255 flip {label} alone in {count} of {forward.n} images and float "
        f"alone in {len(reverse.budgets)}"
    )
    if count < LEAST:
        few = forward.n < LEAST
        says, sentence = UNDECIDED if few else CLEAN, f"{flipped}{f'; it takes {LEAST} images to tell' if few else ''}."
    elif gathered:
        says, sentence = UNDECIDED, f"{flipped}; {share:.0%} of the former go to class {target} (p = {p:.2g})."
    else:
        says, sentence = CLEAN, f"{flipped}; they gather in no class (at most {share:.0%}, class {target})."
    return Finding(
        says=says,
        sentence=sentence,
        readings=readings,
        score=share if count >= LEAST else 0.0,
        named=Named(scheme=label, target=target) if gathered else Named(),
    )
