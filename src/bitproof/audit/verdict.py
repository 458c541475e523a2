"""From evidence to a verdict: one that rests on evidence alone, in words, with what to do next.

The worst that an evidence says is the verdict, and clean is only what an evidence says is clean: what could not have
been found is undecided.

Tests of this very model (a rounding that is special, weights that know a grid) need no other. What is only much or
little is judged by clean models of its family, where there are some: the audited one is ranked among them, evidence
by evidence, and the most striking rank is ranked again (`conformal`). So at most a share `LEVEL` of clean models that
are exchangeable with those is called suspicious for it, whatever the evidence.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64

from bitproof.records import CLEAN, SUSPICIOUS, UNDECIDED, Audit, Evidence, Unaudited

LEVEL = 0.05
"""Of the ranks among clean models."""

FEWEST = 19
"""Clean models below which no rank could reach the level."""

Scores = Mapping[str, float]
"""A model's scores by the names of its evidence."""


def scores(evidence: Sequence[Evidence]) -> dict[str, float]:
    """The scores of those evidences that have one."""
    return {found.name: found.score for found in evidence if found.score is not None}


def conformal(found: Scores, clean: Sequence[Scores]) -> float | None:
    """How often a clean model looks at least as suspicious: its rank among clean ones, uniform if it is one of them.

    A model is as suspicious as what it stands out in most; where several stand out as far, in one evidence each, the
    next most counts, and so on. Any order in which all models are treated alike has uniform ranks.

    None with fewer than `FEWEST` of them, or where they have no evidence in common.

    Example:
        >>> conformal({"phases": 9.0}, [{"phases": float(z)} for z in range(3)] * 8)
        0.04
    """
    names = [name for name in found if all(name in other for other in clean)]
    if len(clean) < FEWEST or not names:
        return None
    table = np.array([[of[name] for name in names] for of in (found, *clean)])
    striking = [tuple(row) for row in np.sort(_reached(table), axis=1).tolist()]
    return sum(row <= striking[0] for row in striking) / len(striking)


def _reached(values: Float64[np.ndarray, "m e"]) -> Float64[np.ndarray, "m e"]:
    """The share of all models that reach each value, itself among them."""
    return (values[None] >= values[:, None]).mean(1)


def judged(
    evidence: Sequence[Evidence],
    *,
    clean: Sequence[Scores] = (),
    family: str = "",
    unaudited: Sequence[Unaudited] = (),
) -> Audit:
    """The verdict.

    Args:
        evidence: about one model, at least one.
        clean: scores of clean models of its family, audited alike.
        family: which ones these are, in words, or why there are none.
        unaudited: parts of the model that no evidence is about.
    """
    first = evidence[0]
    probability = conformal(scores(evidence), clean)
    against = [found for found in evidence if found.says == SUSPICIOUS]
    unlike = probability is not None and probability <= LEVEL
    open_ = [found for found in evidence if found.says == UNDECIDED]
    cleared = probability is not None or any(found.says == CLEAN for found in evidence)
    verdict = SUSPICIOUS if against or unlike else CLEAN if cleared and not open_ else UNDECIDED
    return Audit(
        model=first.model,
        deployed=first.deployed,
        data=first.data,
        seed=first.seed,
        setting={
            "evidence": {found.name: found.setting for found in evidence},
            "beside": {"clean": len(clean), "family": family},
        },
        verdict=verdict,
        sentence=_sentence(verdict, evidence, against, open_),
        advice=_advice(verdict, against, first.deployed is not None),
        evidence=tuple(evidence),
        probability=probability,
        calibrated_on=len(clean),
        family=family,
        unaudited=tuple(unaudited),
    )


def _sentence(verdict: str, evidence: Sequence[Evidence], against: list[Evidence], open_: list[Evidence]) -> str:
    if against:
        return " ".join(found.sentence for found in against)
    if verdict == SUSPICIOUS:
        return "No single test is alarmed, but clean models of its family do not look like this."
    if open_:
        return " ".join(found.sentence for found in open_)
    if verdict == UNDECIDED:
        return f"Nothing was asked that could say that it is clean ({', '.join(found.name for found in evidence)})."
    names = ", ".join(found.name for found in evidence)
    return f"Nothing suspicious under these schemes ({names})."


def _advice(verdict: str, against: list[Evidence], deployed: bool) -> str:
    if verdict == CLEAN:
        next_ = "Deploy this file" if deployed else "Quantize it by these schemes, and audit the file that you deploy"
        return f"{next_}. An audit finds what it looks for, under the schemes that it looks at."
    if verdict == UNDECIDED and deployed:
        return (
            "Read above what could not be told: compare the file with the float model that it was made from, quantize "
            "that again yourself, or audit with more images and draws (without --quick)."
        )
    if verdict == UNDECIDED:
        return "Audit it with more images and draws (without --quick), or beside clean models of its family."
    if deployed:
        return (
            "Do not deploy it. Ask where it comes from, and quantize the float model again yourself; audit the result, "
            "and the float model by itself."
        )
    schemes = list(dict.fromkeys(found.named.scheme for found in against if found.named.scheme))
    what = f" by {', '.join(schemes)}" if schemes else ""
    return (
        f"Do not deploy it{what}. Ask where it comes from, and train or fine-tune it on data of your own before you "
        "quantize it; other roundings of the same weights help where the harm hangs on one rounding. Audit the result."
    )
