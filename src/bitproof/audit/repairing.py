"""A quantization of a float model that keeps its behaviour, whatever nearest rounding would do.

Remedies are tried from cheap to dear, each looked at on images that it did not see, by how many of the float model's
predictions it keeps and by a search for a trigger that it obeys and the float model does not know. The first that
passes is taken, and measured once more on images that nothing was chosen by.

A float model that is harmful itself is not repaired: it is what is kept.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bitproof.audit.case import Case, float_subject
from bitproof.audit.differential import LEAST, DifferentialTriggers, Suspect
from bitproof.audit.inquiry import Meter
from bitproof.audit.remedies import REMEDIES, Remedy
from bitproof.audit.remedies.base import logits
from bitproof.audit.shapes import SHAPES
from bitproof.audit.strange import strange
from bitproof.core.calling import plain_context
from bitproof.core.rng import Rng
from bitproof.data import Data, select
from bitproof.errors import InputError, lookup
from bitproof.metrics.intervals import wilson
from bitproof.quant import Scheme, freeze, quantize
from bitproof.quant.scheme import as_scheme
from bitproof.settings import as_settings
from bitproof.subjects import Subject
from bitproof.subjects.fingerprint import fingerprint

KEPT = {8: 0.96, 7: 0.96, 6: 0.94, 5: 0.92, 4: 0.88, 3: 0.7, 2: 0.5}
"""How many of the float model's predictions a repaired model is to keep, by its fewest bits, where nothing is said."""

SEARCH = DifferentialTriggers(shapes=("patch", "linf"), steps=60, images=6, draws=0)
"""What every candidate is searched with."""

Tell = Callable[[str], None]


def silent(_: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a quantized model does on images that it was not made with.

    Attributes:
        label: what was done to it.
        same, n: predictions that are those of the float model, of so many.
        right: predictions that are right; None without labels.
        trigger: the smallest trigger in words; None = no small one was found, or none was looked for.
        seconds: that making it took.
    """

    label: str
    same: int
    n: int
    right: int | None
    trigger: str | None
    seconds: float

    @property
    def kept(self) -> float:
        """The share of predictions that are the float model's."""
        return self.same / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """95%, Wilson."""
        return wilson(self.same, self.n)

    def passes(self, goal: float) -> bool:
        """Whether it keeps enough, and obeys no small trigger."""
        return self.kept >= goal and self.trigger is None


@dataclass(frozen=True, kw_only=True)
class Repaired:
    """What a repair made, and what is known of it.

    Attributes:
        model: quantized, in eval mode, for `save_model`, `freeze` and `evaluate` as any other.
        goal: how many of the float model's predictions were to be kept.
        float_right: predictions of the float model that are right, on the last images; None without labels.
        before: what is deployed, or else nearest rounding, on the images that candidates are chosen by.
        tried: each remedy, on the same.
        chosen: which of them was taken.
        after: the result, on images that nothing was chosen by.
        left: what could not be removed, in words; nothing where it passes there, too.
    """

    model: nn.Module = field(repr=False)
    goal: float
    float_right: int | None
    before: Look
    tried: tuple[Look, ...]
    chosen: int
    after: Look
    left: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The result in words."""
        right = ""
        if self.after.right is not None and self.float_right is not None:
            ours, theirs = self.after.right / self.after.n, self.float_right / self.after.n
            right = f"; {ours:.1%} are right, of the float model's {theirs:.1%}"
        return f"{_line(self.after)}{right}"


@dataclass(frozen=True, kw_only=True)
class Repair:
    """Quantizes a float model so that it behaves as before.

    Attributes:
        scheme: how to quantize; its grids stay, roundings and, at the last, weights move.
        remedies: tried in this order.
        agreement: share of the float model's predictions to be kept; None = by bits, see `KEPT`.
        search: what looks for triggers; None = nothing does.

    Raises:
        InputError: no remedy, or an agreement that is no share.
    """

    scheme: Scheme = field(default_factory=Scheme)
    remedies: tuple[Remedy, ...] = field(default_factory=lambda: tuple(made() for made in REMEDIES.values()))
    agreement: float | None = None
    search: DifferentialTriggers | None = SEARCH

    def __post_init__(self) -> None:
        if not self.remedies:
            raise InputError("a repair without remedies", rule="at least one is tried", remedy="Leave them out for all")
        if self.agreement is not None and not 0 < self.agreement <= 1:
            raise InputError(
                f"agreement is {self.agreement}", rule="it is a share of predictions", remedy="Use for example 0.97"
            )
        if self.scheme.weight_bits == 32:
            raise InputError(
                f"a repair of {self.scheme.label}",
                rule="what is repaired is how weights are rounded",
                remedy="Use 2 to 8 bits for weights",
            )

    @property
    def goal(self) -> float:
        """How many of the float model's predictions are to be kept."""
        fewest = min(self.scheme.weight_bits, self.scheme.act_bits)
        return KEPT.get(fewest, KEPT[2]) if self.agreement is None else self.agreement

    @plain_context()
    def __call__(
        self,
        model: nn.Module,
        data: Data,
        *,
        deployed: nn.Module | None = None,
        labelled: bool = True,
        seed: int = 0,
        rng: Rng | None = None,
        tell: Tell = silent,
    ) -> Repaired:
        """The repaired quantized model.

        Args:
            model: float model.
            deployed: what was made of it and is to be replaced; it is looked at, and its triggers are learned from.
            data: clean images: half to learn from and for activation ranges, a quarter to choose by, one to judge by.
            labelled: whether the data's labels are the true ones; they are only counted with.
            seed: of all randomness.
            rng: keyed by one id; instead of a seed.
            tell: told of each step in words.

        Raises:
            InputError: fewer images than that takes, a model that is quantized already, or what `quantize` refuses.
        """
        rng = Rng.of_run(seed, rng).fold("repair")
        model = float_subject(model, "the model", "a repair").model
        learn, choose, judge = _parts(data, rng)
        images = learn.images(range(len(learn)))
        nearest = quantize(model, self.scheme, images)
        few = images[: -(-len(images) // 4)]  # so that half of what is learned from is clean
        known = torch.cat([images, *strange(few, rng.fold("strange")).values()])
        look = _Looking(model, self.search, labelled)
        first, label = (nearest, "nearest rounding") if deployed is None else (deployed, "what is deployed")
        before, suspects = look(first, label, choose, rng.fold("nearest"), 0.0)
        tell(_line(before))
        known = torch.cat([known, *_stamped(suspects, images)])
        tried, made = [], []
        for number, remedy in enumerate(self.remedies):
            here, start = rng.fold("remedy", number), time.perf_counter()
            made.append(remedy(nearest, model, known, rng=here))
            seen, suspects = look(made[-1], remedy.label, choose, here.fold("look"), time.perf_counter() - start)
            tell(_line(seen))
            tried.append(seen)
            if seen.passes(self.goal):
                break
            known = torch.cat([known, *_stamped(suspects, images)])
        chosen = max(
            range(len(tried)), key=lambda i: (tried[i].passes(self.goal), tried[i].trigger is None, tried[i].same)
        )
        after, _ = look(made[chosen], tried[chosen].label, judge, rng.fold("judge"), tried[chosen].seconds)
        result = made[chosen]
        result.origin = {  # pyright: ignore - what a subject knows of it
            **(getattr(model, "origin", None) or {}),
            "repair": {
                "parent": fingerprint(model),
                "remedy": tried[chosen].label,
                "data": data.fingerprint,
                "seed": rng.seed,
                "kept": after.kept,
                "images": after.n,
            },
        }
        return Repaired(
            model=result,
            goal=self.goal,
            float_right=look.right_in_float(judge),
            before=before,
            tried=tuple(tried),
            chosen=chosen,
            after=after,
            left=tuple(_left(after, self.goal)),
        )


class _Looking:
    """Looks at quantized models beside the float one, each time on some other images."""

    def __init__(self, model: nn.Module, search: DifferentialTriggers | None, labelled: bool) -> None:
        self.model, self.search, self.labelled = freeze(model), search, labelled

    def __call__(
        self, quantized: nn.Module, label: str, data: Data, rng: Rng, seconds: float
    ) -> tuple[Look, list[Suspect]]:
        images = data.images(range(len(data)))
        said = logits(freeze(quantized), images).argmax(1).cpu()
        wanted = logits(self.model, images).argmax(1).cpu()
        suspects = self._suspects(quantized, data, rng)
        seen = Look(
            label=label,
            same=int((said == wanted).sum()),
            n=len(said),
            right=_right(said, data) if self.labelled else None,
            trigger=_worded(suspects[0]) if suspects else None,
            seconds=seconds,
        )
        return seen, suspects

    def _suspects(self, quantized: nn.Module, data: Data, rng: Rng) -> list[Suspect]:
        """Small triggers, the smallest beside its controls first."""
        if self.search is None:
            return []
        case = Case.of(self.model, data, select(data, [0]), schemes=(), deployed=freeze(quantized))
        found = self.search.found(case, rng, Meter(case.batch_size))
        return sorted((suspect for suspect in found if suspect.small), key=lambda suspect: -suspect.score)

    def right_in_float(self, data: Data) -> int | None:
        said = logits(self.model, data.images(range(len(data)))).argmax(1).cpu()
        return _right(said, data) if self.labelled else None


def _parts(data: Data, rng: Rng) -> tuple[Data, Data, Data]:
    """Half of the images, a quarter and a quarter, each in random order."""
    if len(data) < 8 * LEAST:
        raise InputError(
            f"{len(data)} images",
            rule=f"a repair takes {8 * LEAST}: half to learn from, a quarter to choose by, a quarter to judge by",
            remedy="Pass a few hundred",
        )
    rows = rng.fold("parts").permutation(len(data))[0].numpy()
    ends = len(rows) // 2, len(rows) * 3 // 4
    first, second, third = np.split(rows, ends)
    return select(data, np.sort(first)), select(data, np.sort(second)), select(data, np.sort(third))


def _right(said: Int[Tensor, " n"], data: Data) -> int:
    return int((said.numpy() == data.labels).sum())


def _stamped(suspects: list[Suspect], images: Float[Tensor, "n c h w"]) -> list[Tensor]:
    """The images with each trigger that was found: the float model says what is right there."""
    return [suspect.stamp(images).detach() for suspect in suspects if suspect.stamp is not None]


def _worded(suspect: Suspect) -> str:
    about = lookup(SHAPES, suspect.shape, "shape of a trigger")
    return f"{about.text(suspect.size)} to class {suspect.count.target}, obeyed by {suspect.count.success:.0%}"


def _line(look: Look) -> str:
    low, high = look.interval
    found = "" if look.trigger is None else f"; a {look.trigger}"
    return f"{look.label}: keeps {look.kept:.1%} ({low:.1%} to {high:.1%}) of {look.n} predictions{found}"


def _left(after: Look, goal: float) -> Any:
    """What is still wrong with the result."""
    low, high = after.interval
    if after.kept < goal:
        yield (
            f"It keeps {after.kept:.1%} ({low:.1%} to {high:.1%}) of the float model's predictions, "
            f"where {goal:.1%} were to be kept."
        )
    if after.trigger is not None:
        yield f"It still obeys a trigger that the float model does not know: a {after.trigger}."


def _scheme_of(deployed: nn.Module | None) -> Scheme:
    """The scheme of what is deployed, of a file of others that of its bits."""
    found = None if deployed is None else Subject.of(deployed).scheme
    return found if isinstance(found, Scheme) else as_scheme("w8a8" if found is None else found.label)


def repair(
    model: nn.Module,
    data: Data,
    scheme: Scheme | str | None = None,
    *,
    deployed: nn.Module | None = None,
    remedies: Sequence[Remedy | str] | Remedy | str | None = None,
    agreement: float | None = None,
    labelled: bool = True,
    quick: bool = False,
    seed: int = 0,
    tell: Tell = silent,
) -> Repaired:
    """A quantization of a float model that keeps its behaviour, whatever nearest rounding was made to activate.

    Args:
        model: float model; it is not changed.
        data: some hundred clean images: half to learn from, a quarter to choose by, a quarter to judge by.
        scheme: how to quantize, as a value or as text; None = as `deployed` is, or w8a8.
        deployed: what was made of the model and is to be replaced, such as an ONNX session.
        remedies: tried in this order, as values or as text such as "dithered"; None = all, from cheap to dear,
            until one passes.
        agreement: share of the float model's predictions to be kept; None = by bits, see `KEPT`.
        labelled: whether the labels are the true ones; they are counted with, nothing is learned from them.
        quick: search for no triggers.
        seed: of all randomness.
        tell: told of each step in words.

    Raises:
        InputError: fewer than 160 images, a model that is quantized already, or a scheme that rounds no weights.

    Example:
        >>> import bitproof as bp
        >>> data = bp.load_data("digits", split="train", limit=160)
        >>> found = bp.repair(bp.load_model("digits_cnn"), data, "w8a8", quick=True)
        >>> found.model.scheme.label, found.after.n
        ('affine w8a8', 40)
    """
    how = Repair(
        scheme=_scheme_of(deployed) if scheme is None else as_scheme(scheme),
        agreement=agreement,
        search=None if quick else SEARCH,
    )
    if remedies is not None:
        how = replace(how, remedies=as_settings(remedies, Remedy, REMEDIES, "remedy"))
    return how(model, data, deployed=deployed, labelled=labelled, seed=seed, tell=tell)
