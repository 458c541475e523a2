"""Every metric as a pure function of stored cells, with an interval; every comparison of models paired.

A cell says which examples a model got right under one condition. `compare` puts models side by side under
each condition, `summary` computes the robustness metrics of RobustMQ (Xiao et al. 2023, Visual Intelligence
1:30, Section 3.2). All rates are fractions in [0, 1], all intervals are two-sided. The result depends on
the examples, never on their order.

A plain rate has a Wilson interval. Everything else has a bootstrap over examples: one set of weights over
the examples serves all conditions of a draw, as the same examples were tested under each.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitproof.errors import InputError, lookup
from bitproof.records import Cell
from bitproof.settings import digest

CHUNK = 2**21
"""Weights held at a time while resampling; bounds the memory (16 MiB) whatever the number of examples."""

Scores = NDArray[np.bool_] | NDArray[np.float64]
Vector = NDArray[Any] | Sequence[Any]
Interval = tuple[float, float]

# ---- rates and pairs ---------------------------------------------------------------------------------------


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """The Wilson score interval of the rate successes / n (Wilson 1927), inside [0, 1]."""
    if not 0 <= successes <= n or n == 0:
        raise InputError(
            f"{successes} successes of {n}",
            rule="a rate needs at least one example and between 0 and n successes",
            remedy="Pass counts of a data set that is not empty",
        )
    from scipy.stats import binomtest  # here and below: the import takes longer than most uses of this module

    low, high = binomtest(int(successes), int(n)).proportion_ci(confidence, method="wilson")
    return float(low), float(high)


def rate_above(successes: int, n: int, limit: float) -> float:
    """The exact binomial p-value of the claim that the rate behind `successes` of `n` is above `limit`.

    Example:
        >>> rate_above(3, 3, 0.5)
        0.125
    """
    from scipy.stats import binomtest

    return float(binomtest(int(successes), int(n), limit, alternative="greater").pvalue)


def mcnemar(a: Vector, b: Vector, *, alternative: str = "two-sided") -> float:
    """The exact McNemar p-value of two bool [n] arrays of correctness on the same examples.

    Only examples on which the two differ carry information: under the null hypothesis each is a fair coin
    (McNemar 1947). Without any, 1.0. The alternative "greater" claims that `a` is right more often than `b`.
    """
    a, b = _pair(a, b)
    only_a, differ = int((a & ~b).sum()), int((a ^ b).sum())
    if differ == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(only_a, differ, alternative=alternative).pvalue)


def paired_difference(
    a: Vector, b: Vector, *, confidence: float = 0.95, draws: int = 10_000, seed: int = 0
) -> tuple[float, float, float]:
    """accuracy(a) - accuracy(b) in [-1, 1] and its paired-bootstrap percentile interval.

    `a` and `b` are bool [n], correctness on the same examples. The interval has no width where the two never
    differ: resampling cannot invent a disagreement.
    """
    a, b = _pair(a, b)
    means = resample(np.stack([a, b]), draws=draws, seed=seed)
    low, high = _percentiles(means[:, 0] - means[:, 1], confidence)
    return float(a.mean() - b.mean()), low, high


def holm(p_values: Vector) -> NDArray[np.float64]:
    """Holm's step-down adjusted p-values (Holm 1979), in the order of the input."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)).clip(max=1.0)
    return adjusted


def resample(scores: Scores, *, draws: int, seed: int) -> NDArray[np.float64]:
    """Bootstrap means [draws, k] of `scores` [k, n]: n examples drawn with replacement, all k rows together.

    Examples with equal scores are exchangeable, so a draw is one multinomial over the distinct columns. That
    is exact, fast where they are few, and makes the result independent of the order of the examples.
    """
    columns, counts = np.unique(scores, axis=1, return_counts=True)
    n, rng, size = scores.shape[1], np.random.default_rng(seed), max(1, CHUNK // counts.size)
    chunks = [min(size, draws - start) for start in range(0, draws, size)]
    return np.concatenate([rng.multinomial(n, counts / n, chunk) @ columns.T.astype(float) for chunk in chunks]) / n


def _pair(a: Vector, b: Vector) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    a, b = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
    if a.shape != b.shape or a.ndim != 1 or a.size == 0:
        raise InputError(
            f"correctness of shapes {a.shape} and {b.shape}",
            rule="a paired comparison needs two vectors over the same examples, at least one",
            remedy="Evaluate both models on the same data",
        )
    return a, b


def _percentiles(values: NDArray[np.float64], confidence: float) -> Interval:
    """The middle `confidence` of the values; undefined ones (NaN) are left out."""
    low, high = np.nanquantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


# ---- the formulas ------------------------------------------------------------------------------------------


def relative_drop(clean: Vector | float, perturbed: Vector | float) -> NDArray[np.float64]:
    """(clean - perturbed) / clean, at most 1 and negative for a gain; NaN where clean is 0 (Eqs. 4, 7, 11)."""
    clean, perturbed = np.broadcast_arrays(np.asarray(clean, float), np.asarray(perturbed, float))
    return np.divide(clean - perturbed, clean, out=np.full(clean.shape, np.nan), where=clean != 0)


def mean_over_groups(values: Vector, groups: Sequence[str]) -> NDArray[np.float64]:
    """The mean over the first axis within each group, then over the groups: severities first, then kinds."""
    values, of = np.asarray(values), np.array(groups)
    means = [values[of == group].mean(axis=0) for group in dict.fromkeys(groups)]
    return np.asarray(np.mean(means, axis=0))


def robust_accuracy_curve(cell: Cell, budgets: Vector, norm: str) -> NDArray[np.float64]:
    """Accuracy within each of `budgets`, [k], from one run of an attack that looks for the nearest wrong image.

    An example counts as right at a budget if the attack found no wrong image within it. So the curve is an upper
    bound of the robust accuracy, it never rises, and at 0 it is at most the clean accuracy.

    Args:
        cell: of a minimum-norm attack (`kind` "minimum"); of another attack only its own eps makes sense.
        budgets: radii >= 0 in [0, 1] pixel units.
        norm: of the radii, "linf", "l2" or "l1"; best the one that the attack minimised.
    """
    needed = np.sort(needed_distances(cell, norm))
    return 1 - np.searchsorted(needed, np.asarray(budgets, needed.dtype), side="right") / needed.size


def minimised_norm(cell: Cell) -> str:
    """The norm that an attack without a budget minimised, a word of its label; "l2" where that names none."""
    return next((word for word in cell.condition.label.split() if word in ("linf", "l2", "l1")), "l2")


def needed_distances(cell: Cell, norm: str) -> NDArray[np.float32]:
    """How far off the nearest wrong image of each example is that an attack without a budget found, [n].

    0 where the clean image is wrong, infinite where it found none.
    """
    return np.where(cell.correct, np.inf, lookup({"linf": cell.linf, "l2": cell.l2, "l1": cell.l1}, norm, "norm"))


def sample_std(accuracies: Vector) -> NDArray[np.float64]:
    """The standard deviation over the last axis with n - 1 in the denominator, as printed for Eq. 12."""
    return np.asarray(np.std(accuracies, axis=-1, ddof=1))


# ---- the table of metrics ----------------------------------------------------------------------------------

# Each metric is `value(mean of scores over examples)`. The scores [k, n] come from `correct` [conditions, n],
# in which the clean row is first if the metric needs one, and from the group of each condition.


def _correct(correct: Scores, groups: Sequence[str]) -> Scores:
    return correct


def _always_correct(correct: NDArray[np.bool_], groups: Sequence[str]) -> Scores:
    return np.atleast_2d(correct.all(axis=0))


def _broken(correct: NDArray[np.bool_], groups: Sequence[str]) -> Scores:
    return ~correct[1:, correct[0]]


def _broken_or_both(correct: NDArray[np.bool_], groups: Sequence[str]) -> Scores:
    # If no example is right under attack only, AAI is the rate of broken ones. Wilson then serves the commonest
    # result of all, AR = 0, for which every bootstrap draw is 1 and the interval would claim certainty.
    return correct if (correct[1] & ~correct[0]).any() else _broken(correct, groups)


def _group_means(correct: Scores, groups: Sequence[str]) -> Scores:
    return mean_over_groups(correct, groups)[None]


def _clean_and_group_means(correct: NDArray[np.bool_], groups: Sequence[str]) -> Scores:
    return np.stack([correct[0], mean_over_groups(correct[1:], groups[1:])])


def _clean_and_mean(correct: NDArray[np.bool_], groups: Sequence[str]) -> Scores:
    return np.stack([correct[0], correct[1:].mean(axis=0)])


def _share(means: NDArray[np.float64]) -> NDArray[np.float64]:
    return means[..., 0]


def _impact(means: NDArray[np.float64]) -> NDArray[np.float64]:
    return _share(means) if means.shape[-1] == 1 else relative_drop(means[..., 0], means[..., 1])


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What a metric means, which way is better, and how it follows from the correctness of one model.

    Attributes:
        needs: kinds of condition; the metric is computed for models that have cells of each.
        least: how many conditions of the last kind it takes.
        each: one value for each condition of the last kind, instead of one over all of them.
        scores: from correct, bool [conditions, n], and the condition groups, to scores [k, m] an example.
        value: from the means [..., k] of the scores to the metric [...]; NaN where it is undefined.
        spread: the value is a standard deviation over conditions (see `estimate`).
    """

    name: str
    symbol: str
    description: str
    source: str
    higher_is_better: bool
    bounds: tuple[float, float]
    needs: tuple[str, ...]
    least: int = 1
    each: bool = False
    scores: Callable[[NDArray[Any], Sequence[str]], Scores]
    value: Callable[[NDArray[np.float64]], NDArray[np.float64]] = _share
    spread: bool = False


_RATE = (0.0, 1.0)
_DROP = (-np.inf, 1.0)

ACCURACY = Metric(
    name="accuracy",
    symbol="ACC",
    description="share of clean examples classified right",
    source="Xiao et al. 2023, Section 3.2.1",
    higher_is_better=True,
    bounds=_RATE,
    needs=("clean",),
    scores=_correct,
)
AR = Metric(
    name="ar",
    symbol="AR",
    description="adversarial robustness: accuracy under one attack",
    source="Xiao et al. 2023, Eq. 3",
    higher_is_better=True,
    bounds=_RATE,
    needs=("attack",),
    each=True,
    scores=_correct,
)
AAI = Metric(
    name="aai",
    symbol="AAI",
    description="adversarial attack impact: share of the clean accuracy lost to one attack, (ACC - AR) / ACC",
    source="Xiao et al. 2023, Eq. 4",
    higher_is_better=False,
    bounds=_DROP,
    needs=("clean", "attack"),
    each=True,
    scores=_broken_or_both,
    value=_impact,
)
ASR = Metric(
    name="asr",
    symbol="ASR",
    description="attack success rate: of the examples right when clean, the share wrong under one attack",
    source="Xiao et al. 2023, Section 3.2.1, which divides by all examples, so that ASR = 1 - AR",
    higher_is_better=False,
    bounds=_RATE,
    needs=("clean", "attack"),
    each=True,
    scores=_broken,
)
WCAR = Metric(
    name="wcar",
    symbol="WCAR",
    description="worst-case adversarial robustness: share of examples right under every attack",
    source="Xiao et al. 2023, Eq. 5",
    higher_is_better=True,
    bounds=_RATE,
    needs=("attack",),
    scores=_always_correct,
)
MNR = Metric(
    name="mnr",
    symbol="mNR",
    description="mean natural robustness: accuracy averaged over severities, then over corruptions",
    source="Xiao et al. 2023, Eq. 8",
    higher_is_better=True,
    bounds=_RATE,
    needs=("corruption",),
    scores=_group_means,
)
NCI = Metric(
    name="nci",
    symbol="NCI",
    description="natural corruption impact: share of the clean accuracy lost to corruptions, (ACC - mNR) / ACC",
    source="Xiao et al. 2023, Eqs. 7 and 8",
    higher_is_better=False,
    bounds=_DROP,
    needs=("clean", "corruption"),
    scores=_clean_and_group_means,
    value=_impact,
)
SNI = Metric(
    name="sni",
    symbol="SNI",
    description="systematic noise impact: share of the clean accuracy lost, on average, to decoders and resizes",
    source="Xiao et al. 2023, Eq. 11, with the mean over noises of Table 9",
    higher_is_better=False,
    bounds=_DROP,
    needs=("clean", "systematic"),
    scores=_clean_and_mean,
    value=_impact,
)
SR = Metric(
    name="sr",
    symbol="SR",
    description="systematic robustness: sample standard deviation of the accuracies over decoders and resizes",
    source="Xiao et al. 2023, Eq. 12, with n - 1 as in Table 10",
    higher_is_better=False,
    bounds=(0.0, 0.5**0.5),  # two conditions, one always right and one never
    needs=("systematic",),
    least=2,
    scores=_correct,
    value=sample_std,
    spread=True,
)

FP = Metric(
    name="fp",
    symbol="FP",
    description="flip probability: share of the compared frames of a sequence between which the prediction differs",
    source="Hendrycks & Dietterich 2019, Section 3.2",
    higher_is_better=False,
    bounds=_RATE,
    needs=("sequence",),
    each=True,
    scores=_correct,
)
MFP = Metric(
    name="mfp",
    symbol="mFP",
    description="mean flip probability over the sequences",
    source="Hendrycks & Dietterich 2019, Section 3.2",
    higher_is_better=False,
    bounds=_RATE,
    needs=("sequence",),
    scores=_group_means,
)

METRICS: dict[str, Metric] = {m.name: m for m in (ACCURACY, AR, AAI, ASR, WCAR, MNR, NCI, FP, MFP, SNI, SR)}


def estimate(
    metric: Metric,
    correct: NDArray[Any],
    groups: Sequence[str],
    *,
    confidence: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[float, float, float] | None:
    """The metric and its interval, low <= value <= high; None where it is undefined (no example right).

    Args:
        metric: one of `METRICS`.
        correct: bool [conditions, n], the conditions that the metric needs, the clean one first; for sequences
            each example's share of flips, float64.
        groups: the group of each condition.
        confidence: of the interval, in (0, 1).
        draws: bootstrap draws.
        seed: of the draws.
    """
    scores = metric.scores(correct, groups)
    if scores.shape[1] == 0:
        return None
    value = float(metric.value(scores.mean(axis=1)))
    if np.isnan(value):
        return None
    if scores.dtype == bool and len(scores) == 1:  # a plain rate
        low, high = wilson(int(scores.sum()), scores.shape[1], confidence)
    else:
        low, high = _percentiles(metric.value(resample(scores, draws=draws, seed=seed)), confidence)
    if metric.spread:
        # The variance of the accuracies is that of the conditions plus sampling noise, and a draw adds the noise
        # once more: where conditions hardly differ, percentiles always miss the truth and often the value itself.
        # Reflecting the squares about the value takes off the noise of the draw and that of the value.
        low, high = np.clip([2 * value**2 - high**2, 2 * value**2 - low**2], *np.square(metric.bounds)) ** 0.5
    return value, min(float(low), value), max(float(high), value)


# ---- tables ------------------------------------------------------------------------------------------------


def compare(cells: Sequence[Cell], reference: str) -> list[dict[str, Any]]:
    """One row a cell, in the given order: its accuracy, its paired difference from the reference, its cost.

    Args:
        cells: of one data set and seed, at most one a model and condition.
        reference: name of the model that the others are compared with, each under the same condition.

    Returns:
        Rows with model, weight_bits, act_bits, kind, condition (its label), group, n; accuracy, low, high (Wilson);
        difference (from the reference), diff_low, diff_high, p_value (McNemar), p_holm (Holm over the table),
        None for the reference and where it has no such cell; forwards and backwards an example; seconds.

    Raises:
        InputError: an unknown reference, different examples, or two cells of one model and condition.
    """
    table = _table(cells)
    lookup({cell.model.name: cell for cell in cells}, reference, "reference model")
    rows: list[dict[str, Any]] = []
    for (model, condition), (cell, correct) in table.items():
        n = correct.size
        low, high = wilson(int(correct.sum()), n)
        difference = diff_low = diff_high = p_value = None
        if model != reference and (reference, condition) in table:
            _, baseline = table[reference, condition]
            difference, diff_low, diff_high = paired_difference(correct, baseline)
            p_value = mcnemar(correct, baseline)
        rows.append(
            {
                "model": model,
                "weight_bits": cell.model.weight_bits,
                "act_bits": cell.model.act_bits,
                "kind": cell.condition.kind,
                "condition": cell.condition.label,
                "group": cell.condition.group,
                "n": n,
                "accuracy": float(correct.mean()),
                "low": low,
                "high": high,
                "difference": difference,
                "diff_low": diff_low,
                "diff_high": diff_high,
                "p_value": p_value,
                "p_holm": None,
                "forwards": cell.forwards / n,
                "backwards": cell.backwards / n,
                "seconds": cell.seconds,
            }
        )
    compared = [row for row in rows if row["p_value"] is not None]
    for row, adjusted in zip(compared, holm([row["p_value"] for row in compared]), strict=True):
        row["p_holm"] = float(adjusted)
    return rows


def transfer(cells: Sequence[Cell], *, tuned: str | None = None) -> list[dict[str, Any]]:
    """The transfer matrix: how models fare under images that attacks made on one of them (Bernhard et al. 2019,
    arXiv 1909.12741, Tables 17 to 34).

    Args:
        cells: those of kind "transfer" are used.
        tuned: a field of the attacks, such as "kappa". Of attacks that differ in it alone, each source then keeps
            the one that the other models resist least on average, as in Section 5.2 there; it is chosen on the
            even examples and the rows are over the odd ones, so that the choice does not flatter it.

    Returns:
        Rows with attack, source, target, n; accuracy of the target on all images, low, high (Wilson); l2, linf: mean
        distance of the changed images that the target gets wrong (None without any).

    Raises:
        InputError: one example or none where half of them choose.
    """
    chosen = [cell for cell in cells if cell.condition.kind == "transfer"]
    rows = np.s_[:]
    if tuned is not None and chosen:
        if len(chosen[0].ids) < 2:
            raise InputError("one example", rule=f"a half of them chooses {tuned}", remedy="Take more examples")
        chosen, rows = _tuned(chosen, tuned), np.s_[1::2]
    table: list[dict[str, Any]] = []
    for cell in chosen:
        correct, moved = cell.correct[rows], cell.linf[rows] > 0
        low, high = wilson(int(correct.sum()), len(correct))
        deceived = moved & ~correct
        moves = {name: getattr(cell, name)[rows][deceived] for name in ("l2", "linf")}
        table.append(
            {
                "attack": cell.condition.label.removesuffix(f" from {cell.condition.group}"),
                "source": cell.condition.group,
                "target": cell.model.name,
                "n": len(correct),
                "accuracy": float(correct.mean()),
                "low": low,
                "high": high,
                **{name: float(values.mean()) if len(values) else None for name, values in moves.items()},
            }
        )
    return table


def distances(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """How far off the nearest wrong images are that attacks without a budget found, one row a cell of kind "minimum".

    Over the examples that the model gets right on the clean image.

    Args:
        cells: those of kind "minimum" are used.

    Returns:
        Rows with model, weight_bits, act_bits, condition (the attack's label), norm (the one it minimised), n (examples
        right when clean), found (of how many it found a wrong image); median: the distance within which half of
        them have one, with low and high, its 95% interval by order statistics, infinite where fewer have; mean: of
        those found. None where there are too few examples to tell.
    """
    from scipy.stats import quantile_test

    rows: list[dict[str, Any]] = []
    for cell in cells:
        if cell.condition.kind != "minimum":
            continue
        norm = minimised_norm(cell)
        needed = needed_distances(cell, norm).astype(float)
        needed = needed[needed > 0]
        found = needed[np.isfinite(needed)]
        low = high = median = None
        if len(needed):
            median = float(np.quantile(needed, 0.5, method="inverted_cdf"))
            bounds = quantile_test(needed, p=0.5).confidence_interval(0.95)
            low, high = (None if np.isnan(bound) else float(bound) for bound in (bounds.low, bounds.high))
        rows.append(
            {
                "model": cell.model.name,
                "weight_bits": cell.model.weight_bits,
                "act_bits": cell.model.act_bits,
                "condition": cell.condition.label,
                "norm": norm,
                "n": len(needed),
                "found": len(found),
                "median": median,
                "low": low,
                "high": high,
                "mean": float(found.mean()) if len(found) else None,
            }
        )
    return rows


def _tuned(cells: list[Cell], field: str) -> list[Cell]:
    """The cells of the value of `field` under which the models other than the source are right least often."""
    families: dict[str, dict[str, list[Cell]]] = {}
    for cell in cells:
        setting = cell.condition.setting
        alike = {k: v for k, v in setting["attack"].items() if k != field}
        family = families.setdefault(digest(alike, setting["source"]), {})
        family.setdefault(digest(setting["attack"]), []).append(cell)
    kept: list[Cell] = []
    for family in families.values():
        others = {key: [c for c in part if c.model.name != c.condition.group] for key, part in family.items()}
        right = {key: np.mean([c.correct[::2].mean() for c in others[key] or family[key]]) for key in family}
        kept += family[min(family, key=lambda key: float(right[key]))]
    return kept


def summary(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """One row a model and metric that its cells allow; one an attack for AR, AAI and ASR.

    WCAR is the union over all the model's attack cells; pass cells of one budget for the WCAR of that budget.

    Args:
        cells: of one data set and seed, at most one a model and condition.

    Returns:
        Rows with model, weight_bits, act_bits, metric, symbol, condition (the attack's label, or ""), value, low,
        high (all three None where undefined), higher_is_better, n (examples of the cells).

    Raises:
        InputError: different examples, or two cells of one model and condition.
    """
    table = _table(cells)
    rows: list[dict[str, Any]] = []
    for model in {cell.model.name: cell.model for cell in cells}.values():
        own = [entry for (name, _), entry in table.items() if name == model.name]
        for metric in METRICS.values():
            for label, chosen in _selections(metric, own):
                outcomes = [_flips(cell) if cell.frames is not None else right for cell, right in chosen]
                correct: NDArray[Any] = np.stack(outcomes)
                found = estimate(metric, correct, [cell.condition.group for cell, _ in chosen])
                value, low, high = found or (None, None, None)
                rows.append(
                    {
                        "model": model.name,
                        "weight_bits": model.weight_bits,
                        "act_bits": model.act_bits,
                        "metric": metric.name,
                        "symbol": metric.symbol,
                        "condition": label,
                        "value": value,
                        "low": low,
                        "high": high,
                        "higher_is_better": metric.higher_is_better,
                        "n": correct.shape[1],
                    }
                )
    return rows


def same_pixels(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Conditions under which models saw pixels that an earlier condition had shown them already, and how often.

    Two libraries that decode alike are one condition, not two, whatever they are called.

    Args:
        cells: of one data set and seed; those without a record of their pixels are passed over.

    Returns:
        Rows with condition (its label), like (the label of the earlier condition that agrees on most images), equal
        (on how many), n; one for each condition that agrees with any on an image.
    """
    shown: dict[str, tuple[str, NDArray[np.uint64]]] = {}
    for cell in cells:
        if cell.digests is not None:
            _check_same_examples(cell, cells[0])
            shown.setdefault(_identity(cell), (cell.condition.label, cell.digests[np.argsort(cell.ids)]))
    entries, rows = list(shown.values()), list[dict[str, Any]]()
    for i, (label, pixels) in enumerate(entries):
        agree = [(int(((pixels == other) & (pixels > 0)).sum()), like) for like, other in entries[:i]]
        equal, like = max(agree, key=lambda found: found[0], default=(0, ""))
        if equal:
            rows.append({"condition": label, "like": like, "equal": equal, "n": pixels.size})
    return rows


Entry = tuple[Cell, NDArray[np.bool_]]


def _selections(metric: Metric, entries: list[Entry]) -> list[tuple[str, list[Entry]]]:
    """The sets of one model's cells that the metric is computed from, each with the label of its row."""
    *first, last = ([entry for entry in entries if entry[0].condition.kind == kind] for kind in metric.needs)
    if not all(first) or len(last) < metric.least:
        return []
    shared = [entry for part in first for entry in part]
    if metric.each:
        return [(entry[0].condition.label, [*shared, entry]) for entry in last]
    return [("", [*shared, *last])]


def _table(cells: Sequence[Cell]) -> dict[tuple[str, str], Entry]:
    """Cells by model and condition, with their correctness in the order of the ids; checks that they are paired."""
    table: dict[tuple[str, str], Entry] = {}
    for cell in cells:
        _check_same_examples(cell, cells[0])
        condition = _identity(cell)
        if (cell.model.name, condition) in table:
            raise InputError(
                f"two cells of model {cell.model.name!r} under {cell.condition.label!r}",
                rule="a table has at most one cell a model and condition",
                remedy="Pass the cells of one seed, and give different models different names",
            )
        table[cell.model.name, condition] = cell, cell.correct[np.argsort(cell.ids)]
    return table


def _identity(cell: Cell) -> str:
    """What makes the condition another one. There is one clean condition, whatever it is called."""
    c = cell.condition
    return c.kind if c.kind == "clean" else digest(c.kind, c.label, c.setting)


def flips(frames: NDArray[np.int64], *, compared: str, step: int = 1) -> NDArray[np.float64]:
    """The share of an example's comparisons in which the prediction differs, float64 [n].

    Args:
        frames: predictions, int64 [n, f], at least two frames.
        compared: "first" compares every later frame with the first one, as for noise; "previous" each with the one
            `step` frames before, which is what the `step` interleaved sequences of ImageNet-P's difficulties do.
        step: how far apart compared frames lie.
    """
    before = frames[:, :1] if compared == "first" else frames[:, :-step]
    return np.asarray((frames[:, 1 if compared == "first" else step :] != before).mean(axis=1))


def _flips(cell: Cell) -> NDArray[np.float64]:
    """`flips` of a sequence's cell by the rule in its setting, in the order of the ids; 1 where there was no clip."""
    assert cell.frames is not None
    rule, order = cell.condition.setting, np.argsort(cell.ids)
    found = flips(cell.frames[order], compared=rule["compared"], step=rule["difficulty"])
    return np.where(cell.predictions[order] < 0, 1.0, found)


def _check_same_examples(cell: Cell, other: Cell) -> None:
    order, other_order = np.argsort(cell.ids), np.argsort(other.ids)
    if not np.array_equal(cell.ids[order], other.ids[other_order]):
        new = np.setdiff1d(cell.ids, other.ids).size
        what = f"{cell.ids.size} examples, {new} of them not among the {other.ids.size}"
    elif not np.array_equal(cell.labels[order], other.labels[other_order]):
        what = "other labels than those"
    else:
        return
    raise InputError(
        f"the cell of model {cell.model.name!r} under {cell.condition.label!r} has {what} of {other.model.name!r} "
        f"under {other.condition.label!r}",
        rule="the comparison is paired, so all cells of a table must hold the same examples",
        remedy="Pass the cells of one data set, split and limit",
    )
