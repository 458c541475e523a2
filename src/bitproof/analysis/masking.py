"""Masked gradients: does a model stand up to attacks because it is robust, or because its gradients mislead them?

Each signal is something that cannot be where gradients are sound (Athalye, Carlini & Wagner 2018, arXiv 1802.00420,
Section 3.1; Carlini et al. 2019, arXiv 1902.06705, Section 5). Lin et al. 2019 (Appendix A.1) and Bernhard et al. 2019
(Section 5.1.2) saw some of them on quantized networks, whose straight-through gradients are guesses to begin with.
How they are judged stands in `bitproof.analysis.signals`.

Attacks can only be told apart where they break neither everything nor nothing. So the budget is the smallest of
`BUDGETS` at which PGD breaks half of the examples (the largest, if none is), unless the caller names one.

Differences are central and as long as the budget. A quantized model is piecewise constant: its derivative is zero or
infinite, and differences shorter than its steps say nothing but that. What an attack needs of a gradient is that
it says where the loss rises within the budget. The loss there is the log-odds, which have the gradient's
direction, but do not round to 0 where the model is confident.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bitproof.analysis.probes import ascend, slopes
from bitproof.analysis.signals import ATTACKS, Evidence, judge
from bitproof.attacks import FGSM, PGD, Attack, Noise, Square
from bitproof.core.balls import check_eps
from bitproof.core.calling import check_logits, forward, plain_context
from bitproof.core.devices import sent
from bitproof.core.layout import channels_last
from bitproof.core.passes import Counted
from bitproof.core.rng import Rng
from bitproof.core.room import Room
from bitproof.data import Data, Read
from bitproof.errors import InputError
from bitproof.quant import freeze
from bitproof.records import Diagnosis
from bitproof.subjects import Subject

Measure = Callable[[Tensor, Tensor, Rng], dict[str, Tensor]]
"""Images, labels and their randomness to numbers, an entry an example."""

BUDGETS = tuple(level / 255 for level in (0.25, 0.5, 1, 2, 4, 8, 16, 32))


@plain_context()
def diagnose_masking(
    model: nn.Module,
    data: Data,
    *,
    twin: nn.Module | None = None,
    eps: float | None = None,
    steps: int = 20,
    queries: int = 1000,
    draws: int = 50,
    directions: int = 16,
    seed: int = 0,
    batch_size: int = 128,
    device: str | None = None,
    name: str = "model",
) -> Diagnosis:
    """Look for masked gradients under linf, by nine signals.

    Costs about 5 `steps` + `queries` + `draws` + 2 `directions` + 40 passes for an example that nothing breaks.

    Args:
        model: maps images [n, c, h, w] in [0, 1] to logits; float or quantized. It is not changed.
        data: the examples; of those that the model gets right it takes 30 to tell, and 100 are a good number.
        twin: the float model that `model` was quantized from, or another one for the same classes; without it the
            signal "black-box beats white-box" is not looked for.
        eps: linf budget of the comparisons in [0, 1] pixel units; None = the smallest at which PGD breaks half.
        steps: of PGD.
        queries: of the Square attack.
        draws: of random search.
        directions: random ones, along which gradients are compared with differences.
        seed: of all randomness.
        batch_size: images a pass; the result does not depend on it.
        device: where it is done, e.g. "cuda" or "auto"; None = where the model is.
        name: of the model in the record.

    Raises:
        InputError: a model without gradients, one that answers at random, or a budget that is none.

    Example:
        >>> import bitproof as bp
        >>> model, data = bp.load_model("digits_cnn", seed=1), bp.load_data("digits", limit=24)
        >>> diagnosis = diagnose_masking(model, data, queries=9)
        >>> diagnosis.masked, len(diagnosis.signals)  # random weights get too few examples right
        (None, 9)
    """
    start = time.perf_counter()
    how = {"steps": steps, "queries": queries, "draws": draws, "directions": directions}
    _check(eps, how)
    subject = Subject.of(model).on(device)
    few = sent(data.read(range(min(2, len(data)))).images, subject.device)
    patient = _Patient(
        model=Counted(channels_last(freeze(subject.model), few)),
        twin=Counted(channels_last(freeze(Subject.of(twin).on(subject.device).model), few)) if twin else None,
        data=data,
        rng=Rng(seed, data.ids, ("masking",)),
        batch_size=batch_size,
        device=subject.device,
        room=Room(batch_size),
    )
    seen = patient.over(np.arange(len(data)), patient.classify)
    right = seen["row"][seen["right"]]
    budget = eps if eps is not None else patient.contested(right, steps)
    found = patient.over(right, partial(patient.examine, eps=budget, **how))
    broken = [found[attack] for attack in ATTACKS if attack in found]
    passes = [patient.model, *([patient.twin] if patient.twin else [])]
    return Diagnosis(
        model=Subject.of(model).record(name),
        twin=Subject.of(twin).record("twin") if twin else None,
        data=data.record,
        seed=seed,
        setting={"eps": eps, **how},
        eps=budget,
        attacked=len(right),
        accuracy={
            "clean": len(right) / len(seen["row"]),
            "gradients": float((~found["pgd"]).sum() / len(seen["row"])) if broken else 0.0,
            "all": float((~np.any(broken, axis=0)).sum() / len(seen["row"])) if broken else 0.0,
        },
        signals=judge(found, **how) if broken else (),
        forwards=sum(counted.forwards for counted in passes),
        backwards=sum(counted.backwards for counted in passes),
        seconds=time.perf_counter() - start,
    )


@dataclass(frozen=True, kw_only=True)
class _Patient:
    """The model under diagnosis, and what it is examined with."""

    model: Counted
    twin: Counted | None
    data: Data
    rng: Rng
    batch_size: int
    device: torch.device
    room: Room

    def over(self, rows: NDArray[np.int64], measure: Measure) -> Evidence:
        """What `measure` finds in images, labels and randomness of all batches of the examples at `rows`.

        Those whose pictures cannot be decoded are left out; "row" says which ones are there.
        """
        parts: list[dict[str, Tensor]] = []
        for start in range(0, len(rows), self.batch_size):
            read = self.data.read(rows[start : start + self.batch_size])
            if len(read.rows):
                parts += self.room.fit(partial(self._measured, measure, read))
        return {key: torch.cat([part[key] for part in parts]).cpu().numpy() for key in (parts[0] if parts else ())}

    def _measured(self, measure: Measure, read: Read, most: int) -> list[dict[str, Tensor]]:
        """What is found in the examples that were read, `most` at a time, and their rows."""
        parts: list[dict[str, Tensor]] = []
        for start in range(0, len(read.rows), most):
            rows = read.rows[start : start + most]
            labels = torch.from_numpy(self.data.labels[rows]).to(self.device)
            inputs = sent(read.images[start : start + most], self.device)
            parts.append({**measure(inputs, labels, self.rng.select(rows)), "row": torch.from_numpy(rows)})
        return parts

    def classify(self, inputs: Tensor, labels: Tensor, rng: Rng) -> dict[str, Tensor]:
        return {"right": ~self._wrong(inputs, labels)}

    @torch.no_grad()
    def _wrong(self, images: Tensor, labels: Tensor) -> Tensor:
        logits = forward(self.model, images, "model")
        check_logits(logits, images)
        return logits.argmax(1) != labels

    def contested(self, right: NDArray[np.int64], steps: int) -> float:
        """The smallest of `BUDGETS` at which PGD breaks half; what a smaller one broke is taken over."""
        standing = right
        for eps in BUDGETS:
            attack = PGD(eps=eps, steps=steps)
            found = self.over(standing, lambda x, y, rng, attack=attack: {"broken": self._try(attack, x, y, rng)})
            standing = standing[~found["broken"]] if found else standing
            if len(standing) <= len(right) / 2:
                return eps
        return BUDGETS[-1]

    def _try(self, attack: Attack, inputs: Tensor, labels: Tensor, rng: Rng) -> Tensor:
        """Which examples the attack breaks, by a look at the images that it returns."""
        return self._wrong(attack(self.model, inputs, labels, rng=rng.fold(attack.label)), labels)

    def examine(
        self,
        inputs: Tensor,
        labels: Tensor,
        rng: Rng,
        *,
        eps: float,
        steps: int,
        queries: int,
        draws: int,
        directions: int,
    ) -> dict[str, Tensor]:
        """Everything that the signals are judged by, an entry an example."""
        path = ascend(self.model, inputs, labels, eps=eps, steps=steps, rng=rng.fold("ascent"))
        slope = slopes(self.model, inputs, labels, eps=eps, directions=directions, rng=rng.fold("directions"))
        attacks = {
            "fgsm": FGSM(eps=eps),
            "square": Square(eps=eps, queries=queries),
            "noise": Noise(eps=eps, draws=draws),
            "unbounded": PGD(eps=1.0, steps=steps, start="image"),
        }
        found = {name: self._try(attack, inputs, labels, rng) for name, attack in attacks.items()}
        if self.twin:
            images = ascend(self.twin, inputs, labels, eps=eps, steps=steps, rng=rng.fold("ascent")).images
            found["transfer"] = self._wrong(images, labels)
        return found | {"pgd": path.broken, "odds": path.odds} | vars(slope)


def _check(eps: float | None, how: Mapping[str, int]) -> None:
    if eps is not None:
        check_eps(eps, "linf")
    for name, value in how.items():
        least = 2 if name == "steps" else 1
        if value < least:
            raise InputError(
                f"{name} is {value}", rule=f"a diagnosis needs at least {least}", remedy="Leave it out for the default"
            )
