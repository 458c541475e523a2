"""From what was measured on each example to nine signals: how each is judged, and what it says.

How it is judged was fixed before any of the models in tests and benchmarks was looked at:

- All attacks meet the same examples, those that the model gets right: differences are paired.
- An attack that should be the weaker one has to win by more than `MARGIN`, by the one-sided score test of a paired
  difference (Tango 1998). A share has to be above `MARGIN` by the exact binomial test. An attack is a search and misses
  by chance, and an effect on less than one example in twenty changes no conclusion on robustness.
- Along random directions, the rises that the gradient promises and those that happen are compared by their cosine.
  Below `ALIGNED` = sqrt(1/2) the gradient explains less than half of what the loss does (the cosine squared is the
  share explained); the signal fires where that holds for most examples.
- The p-values of a diagnosis are corrected together (Holm), so that it raises a false alarm on at most a share
  `LEVEL` of the models with sound gradients.

A first draft (300 queries of Square, a cosine of 1/2) was silent on networks that are known to mask: digits networks
with quantized tanh and a BinaryNet, of two seeds. On these alone both numbers were reconsidered, once; what is
said of other networks, ResNet-20 among them, was measured afterwards.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitproof.metrics import difference_above, holm, rate_above
from bitproof.records import MISLEADING, Signal

MARGIN = 0.05
ALIGNED = math.sqrt(0.5)
LEVEL = 0.05

ATTACKS = ("pgd", "fgsm", "square", "noise", "transfer")
"""The attacks within the budget, by the names of their evidence."""

Evidence = dict[str, NDArray[Any]]
"""What was measured, by name; arrays have one entry (odds: one row) an example."""


def judge(found: Evidence, *, steps: int, queries: int, draws: int, directions: int) -> tuple[Signal, ...]:
    """The nine signals, in a fixed order.

    Args:
        found: bool [n] for each of `ATTACKS` and "unbounded", whether it breaks the example, and "zero" and
            "vanishing"; float [n] "cosine", "promised" and "kept"; float [n, steps + 1] "odds". There may be no
            "transfer".
        steps, queries, draws, directions: what was spent, for the sentences.
    """
    pgd = f"PGD-{steps}"
    rises = found["odds"][:, -1] - found["odds"][:, 0]
    rising = (np.diff(found["odds"], axis=1) > 0).mean()
    misled = found["kept"] <= 0
    share = {name: found[name].mean() for name in (*ATTACKS, "zero", "vanishing") if name in found}
    signals = [
        _wins("gradient-free beats gradient-based", found, "square", f"Square ({queries} queries)", pgd),
        _wins("black-box beats white-box", found, "transfer", f"{pgd} on the float twin", pgd)
        if "transfer" in found
        else _not_looked_for("black-box beats white-box", "it needs a float twin"),
        _wins("one step beats many", found, "fgsm", "FGSM", pgd),
        _share(
            "an unbounded attack fails",
            ~found["unbounded"],
            {},
            f"{{}} of the examples survive {pgd} with an unbounded budget, which can turn any image into any other.",
        ),
        _share(
            "the loss does not rise with steps",
            rises <= 0,
            {"median rise, nats": np.median(rises), "share of steps that raise the loss": rising},
            f"After {steps} steps the loss is no higher than at the start for {{}} of the examples; "
            f"{rising:.1%} of the steps raise it.",
        ),
        _share(
            "gradients are zero or vanish",
            found["zero"] | found["vanishing"],
            {"share zero": share["zero"], "share vanishing": share["vanishing"]},
            f"For {{}} of the examples the gradient is exactly zero ({share['zero']:.1%}) or promises less within "
            f"the whole budget than a random step achieves ({share['vanishing']:.1%}).",
        ),
        _share(
            "random search finds what PGD misses",
            found["noise"] & ~found["pgd"],
            {"share broken by noise": share["noise"], "share broken by PGD": share["pgd"]},
            f"Random search ({draws} draws) breaks {{}} of the examples that {pgd} leaves standing, counted among all.",
        ),
        _share(
            MISLEADING[0],
            found["cosine"] < ALIGNED,
            {"median cosine": np.median(found["cosine"])},
            f"Along {directions} random directions the loss does not do what the gradient says (cosine below "
            f"{ALIGNED:.2f}) for {{}} of the examples; the median cosine is {np.median(found['cosine']):.2f}.",
            limit=0.5,
        ),
        _share(
            MISLEADING[1],
            misled,
            {"rise over promise": found["kept"].sum() / max(found["promised"].sum(), np.finfo(float).tiny)},
            "Along the gradient's own signs the loss does not rise for {} of the examples.",
        ),
    ]
    return _corrected(signals)


def _wins(name: str, found: Evidence, weaker: str, its_name: str, stronger: str) -> Signal:
    a, b = found[weaker], found["pgd"]
    only = int((a & ~b).sum()), int((b & ~a).sum())
    return Signal(
        name=name,
        effect=float(a.mean() - b.mean()),
        limit=MARGIN,
        numbers={
            "share broken": float(a.mean()),
            "share broken by PGD": float(b.mean()),
            "only broken by it": only[0],
            "only broken by PGD": only[1],
        },
        p_value=difference_above(a, b, MARGIN),
        p_holm=None,
        fires=None,
        sentence=f"{its_name} breaks {a.mean():.1%} of the examples, {stronger} {b.mean():.1%}.",
    )


def _share(
    name: str, flags: NDArray[np.bool_], numbers: dict[str, float], sentence: str, *, limit: float = MARGIN
) -> Signal:
    return Signal(
        name=name,
        effect=float(flags.mean()),
        limit=limit,
        numbers={"examples": int(flags.sum())} | {key: float(value) for key, value in numbers.items()},
        p_value=rate_above(int(flags.sum()), flags.size, limit),
        p_holm=None,
        fires=None,
        sentence=sentence.format(f"{flags.mean():.1%}"),
    )


def _not_looked_for(name: str, why: str) -> Signal:
    return Signal(
        name=name,
        effect=None,
        limit=MARGIN,
        numbers={},
        p_value=None,
        p_holm=None,
        fires=None,
        sentence=f"Not looked for: {why}.",
    )


def _corrected(signals: list[Signal]) -> tuple[Signal, ...]:
    tested = {signal.name: signal.p_value for signal in signals if signal.p_value is not None}
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))
    return tuple(
        signal
        if signal.p_value is None or signal.effect is None
        else replace(
            signal,
            p_holm=float(adjusted[signal.name]),
            fires=bool(adjusted[signal.name] < LEVEL and signal.effect > signal.limit),
        )
        for signal in signals
    )
