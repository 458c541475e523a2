"""Metrics against hand-made tables, independent implementations and the tables printed in RobustMQ."""

import csv
import tracemalloc
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from bitproof import metrics
from bitproof.errors import InputError
from bitproof.metrics import (
    AAI,
    ECE,
    METRICS,
    MNR,
    NCI,
    SR,
    Metric,
    compare,
    estimate,
    holm,
    intervals,
    mcnemar,
    mean_over_groups,
    paired_difference,
    relative_drop,
    resample,
    same_pixels,
    sample_std,
    summary,
    wilson,
)
from bitproof.metrics.pairing import ordered
from bitproof.records import ARRAYS, Cell, ConditionRecord, DataRecord, ModelRecord, Pictures

PUBLISHED = Path(__file__).parents[2] / "shared" / "published"
Z = 1.959963984540054  # the 97.5 % point of the normal distribution

outcomes = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60).map(np.array)
matrices = st.integers(2, 5).flatmap(
    lambda rows: st.lists(st.lists(st.booleans(), min_size=rows, max_size=rows), min_size=1, max_size=30).map(
        lambda columns: np.array(columns).T
    )
)


def make_cell(
    correct: Sequence[int] | np.ndarray,
    *,
    model: str = "float",
    kind: str = "clean",
    label: str | None = None,
    group: str | None = None,
    first_id: int = 0,
    bits: int = 32,
) -> Cell:
    """A cell whose correctness is `correct`; 3 forwards and 2 backwards an example."""
    right = np.asarray(correct, bool)
    n, label = right.size, label or kind
    ids = np.arange(n, dtype=np.int64) + first_id
    zeros = np.zeros(n, np.float32)
    return Cell(
        model=ModelRecord(name=model, fingerprint=model, weight_bits=bits, act_bits=bits),
        condition=ConditionRecord(kind=kind, label=label, group=group or label, setting={"label": label}),
        data=DataRecord(name="made", split="test", fingerprint="made", count=n, classes=("a", "b")),
        seed=0,
        ids=ids,
        labels=ids % 2,
        predictions=np.where(right, ids % 2, 1 - ids % 2),
        confidences=zeros,
        linf=zeros,
        l1=zeros,
        l2=zeros,
        forwards=3 * n,
        backwards=2 * n,
        seconds=1.5,
        pictures=Pictures(rows=np.zeros(0, np.int64), images=np.zeros((0, 1, 1, 1), np.float16)),
    )


def stacked(correct: Sequence[np.ndarray] | np.ndarray, groups: Sequence[str] | None = None) -> list[Cell]:
    """A cell a row of correctness, each under a condition of its own."""
    groups = groups or [""] * len(correct)
    return [
        make_cell(row, label=f"condition {i}", group=group)
        for i, (row, group) in enumerate(zip(correct, groups, strict=True))
    ]


def shuffled(cell: Cell, order: np.ndarray) -> Cell:
    """The same cell with its examples in another order."""
    also = {name: getattr(cell, name)[order] for name in ("frames", "targets") if getattr(cell, name) is not None}
    values = {name: array[order] for name, array in cell.values.items()}
    return replace(cell, **{name: getattr(cell, name)[order] for name in ARRAYS}, **also, values=values)


def targeted(cell: Cell, targets: Sequence[int], predictions: Sequence[int]) -> Cell:
    return replace(cell, targets=np.array(targets), predictions=np.array(predictions))


def sequence(cell: Cell, frames: Sequence[Sequence[int]], *, compared: str = "previous", step: int = 1) -> Cell:
    condition = replace(cell.condition, kind="sequence", label="tilt", group="tilt", compared=compared, step=step)
    return replace(cell, condition=condition, frames=np.array(frames))


def test_the_robust_accuracy_curve_by_hand():
    # wrong when clean; broken at 0.1; broken at 0.3; never broken, although the best try went 0.2 far
    cell = replace(make_cell([0, 0, 0, 1], kind="minimum"), l2=np.array([0, 0.1, 0.3, 0.2], np.float32))
    curve = metrics.robust_accuracy_curve(cell, [0, 0.05, 0.1, 0.25, 0.3, 9], "l2")
    assert curve.tolist() == [0.75, 0.75, 0.5, 0.5, 0.25, 0.25]
    with pytest.raises(InputError, match="unknown norm 'l3'"):
        metrics.robust_accuracy_curve(cell, [0.1], "l3")


def test_distances_by_hand():
    # two wrong when clean, one that nothing breaks, and eight with a wrong image at 0.1, 0.2, ... 0.8 in linf
    far = np.array([0, 0, 0.9, *np.arange(1, 9) / 10], np.float32)
    cell = make_cell([0, 0, 1] + [0] * 8, kind="minimum")
    cell = replace(cell, linf=far, condition=replace(cell.condition, label="fmn-9", norm="linf"))
    row, other = metrics.distances([make_cell([1] * 11), cell, replace(cell, model=replace(cell.model, name="b"))])
    assert (row["model"], other["model"]) == ("float", "b")
    assert (row["condition"], row["norm"], row["n"], row["found"]) == ("fmn-9", "linf", 9, 8)
    assert (row["median"], row["mean"]) == pytest.approx((0.5, 0.45))
    # of nine values the second and the eighth: 1 - 2 * P(at most one of nine coins) = 0.961
    assert (row["low"], row["high"]) == pytest.approx((0.2, 0.8))
    strong = replace(cell, predictions=cell.labels, linf=np.zeros(11, np.float32))
    (row,) = metrics.distances([strong])
    assert (row["n"], row["found"], row["median"], row["mean"]) == (11, 0, np.inf, None)
    few = replace(cell, **{name: getattr(cell, name)[:5] for name in ARRAYS})
    (row,) = metrics.distances([few])
    assert (row["median"], row["low"], row["high"]) == (pytest.approx(0.2), None, None)
    (row,) = metrics.distances([replace(cell, predictions=cell.labels - 1, linf=np.zeros(11, np.float32))])
    assert (row["n"], row["median"], row["mean"]) == (0, None, None)


def random_cells(n: int = 40) -> list[Cell]:
    """Two models under one condition of each kind and more."""
    draw = np.random.default_rng(3)
    conditions = [
        ("clean", "clean", None, 0.9),
        ("attack", "fgsm", None, 0.5),
        ("attack", "pgd", None, 0.3),
        ("corruption", "fog 1", "fog", 0.8),
        ("corruption", "fog 5", "fog", 0.6),
        ("corruption", "snow 3", "snow", 0.5),
        ("systematic", "pillow", None, 0.9),
        ("systematic", "opencv", None, 0.8),
    ]
    return [
        make_cell(draw.random(n) < rate, model=model, kind=kind, label=label, group=group, bits=bits)
        for model, bits in (("float", 32), ("w4a4", 4))
        for kind, label, group, rate in conditions
    ]


def values(
    cells: Sequence[Cell], model: str | None = None, reference: str | None = None
) -> dict[tuple[str, str], float | None]:
    """The summary of one model as {(metric, condition): value}."""
    rows = [row for row in summary(cells, reference) if model in (None, row["model"])]
    return {(row["metric"], row["condition"]): row["value"] for row in rows}


# ---- rates and pairs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (0, 50), (7, 50), (25, 50), (50, 50), (49_321, 50_000)])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_wilson_agrees_with_statsmodels(successes: int, n: int, confidence: float) -> None:
    expected = proportion_confint(successes, n, alpha=1 - confidence, method="wilson")
    assert wilson(successes, n, confidence) == pytest.approx(expected, abs=1e-12)


def test_wilson_of_no_success_is_z2_over_n_plus_z2() -> None:
    assert wilson(0, 20) == pytest.approx((0, Z**2 / (20 + Z**2)), abs=1e-12)


@given(st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(deadline=None, max_examples=60)
def test_wilson_contains_the_rate_and_stays_in_the_unit_interval(count: tuple[int, int]) -> None:
    low, high = wilson(*count)
    assert 0 <= low <= count[0] / count[1] <= high <= 1
    assert high - low > 0


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_wilson_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(InputError, match=f"^{successes} successes of {n}: a rate needs at least one example"):
        wilson(successes, n)


def test_mcnemar_closed_form() -> None:
    a = np.array([1, 1, 1, 1, 1, 0, 1])
    b = np.array([0, 0, 0, 0, 0, 0, 1])
    assert mcnemar(a, b) == pytest.approx(2 * 0.5**5)
    assert mcnemar(a, a) == 1.0


@given(outcomes)
@settings(deadline=None)
def test_mcnemar_agrees_with_statsmodels(pairs: np.ndarray) -> None:
    a, b = pairs.T
    table = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
    assert mcnemar(a, b) == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue, abs=1e-12)
    assert mcnemar(a, b) == pytest.approx(mcnemar(b, a), abs=1e-12)


def test_paired_difference_has_the_distribution_of_a_loop_over_examples() -> None:
    draw = np.random.default_rng(0)
    n = 300
    a = draw.random(n) < 0.8
    b = np.where(draw.random(n) < 0.2, draw.random(n) < 0.3, a)
    loop = []
    for _ in range(4000):
        picked = draw.integers(n, size=n)
        loop.append(a[picked].mean() - b[picked].mean())
    difference, low, high = paired_difference(a, b)
    assert difference == pytest.approx(a.mean() - b.mean())
    assert (low, high) == pytest.approx(np.quantile(loop, [0.025, 0.975]), abs=2 / n)
    # An unpaired interval of these data would be half as wide again: the test would notice it.
    unpaired = Z * np.sqrt((a.var() + b.var()) / n)
    assert (high - low) / 2 < 0.8 * unpaired


def test_paired_difference_of_many_examples_has_the_normal_interval() -> None:
    a, b = np.random.default_rng(0).random((2, 100_000)) < [[0.8], [0.7]]
    difference, low, high = paired_difference(a, b)
    half = Z * np.std(a.astype(float) - b) / np.sqrt(a.size)
    assert (difference - low, high - difference) == pytest.approx((half, half), rel=0.06)


def test_paired_difference_is_fixed_by_its_seed() -> None:
    draw = np.random.default_rng(1)
    a, b = draw.random((2, 2000)) < 0.5
    assert paired_difference(a, b, seed=4) == paired_difference(a, b, seed=4)
    assert paired_difference(a, b, draws=200, seed=4) != paired_difference(a, b, draws=200, seed=5)


def test_paired_difference_without_disagreement_has_no_width() -> None:
    a = np.array([1, 0, 1, 1])
    assert paired_difference(a, a) == (0, 0, 0)


def test_a_higher_confidence_is_wider() -> None:
    a, b = np.random.default_rng(2).random((2, 500)) < 0.5
    _, low, high = paired_difference(a, b, confidence=0.8)
    _, lower, higher = paired_difference(a, b, confidence=0.99)
    assert lower < low < high < higher


@given(outcomes)
@settings(deadline=None, max_examples=30)
def test_paired_difference_changes_sign_with_the_order_of_the_models(pairs: np.ndarray) -> None:
    a, b = pairs.T
    difference, low, high = paired_difference(a, b)
    mirrored, mirrored_low, mirrored_high = paired_difference(b, a)
    assert mirrored == -difference
    assert (mirrored_low, mirrored_high) == pytest.approx((-high, -low), abs=2 / a.size)  # other draws
    assert low <= difference <= high


@given(outcomes, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=30)
def test_the_order_of_the_examples_does_not_matter(pairs: np.ndarray, random) -> None:
    order = list(range(len(pairs)))
    random.shuffle(order)
    assert paired_difference(*pairs.T) == paired_difference(*pairs[order].T)


def test_unpaired_arrays_are_refused() -> None:
    for compute in (mcnemar, paired_difference):
        with pytest.raises(InputError, match=r"shapes \(2,\) and \(3,\): a paired comparison needs two vectors"):
            compute([True, False], [True, False, True])
        with pytest.raises(InputError, match=r"Evaluate both models on the same data\.$"):
            compute([], [])


def test_holm_by_hand() -> None:
    # Sorted: 0.01 x 4, 0.02 x 3, 0.03 x 2 (raised to 0.06 before it), 0.9 x 1.
    assert holm([0.03, 0.9, 0.01, 0.02]) == pytest.approx([0.06, 0.9, 0.04, 0.06])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert holm([]).size == 0


def test_holm_agrees_with_statsmodels() -> None:
    p_values = np.random.default_rng(0).random(50).round(2) ** 4  # many small ones and ties
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1], abs=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_only_raises_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert (adjusted >= np.array(p_values)).all()
    assert (adjusted <= 1).all()
    assert (np.diff(adjusted[np.argsort(p_values)]) >= 0).all()


# ---- resampling --------------------------------------------------------------------------------------------


def test_resample_has_the_mean_and_covariance_of_the_bootstrap() -> None:
    scores = np.random.default_rng(0).random((3, 50))
    scores[1] = scores[0] > 0.5
    means = resample(scores, draws=20_000, seed=0)
    spread = np.cov(scores, bias=True) / 50  # exact: a mean of 50 independent draws of the columns
    assert means.shape == (20_000, 3)
    assert means.mean(axis=0) == pytest.approx(scores.mean(axis=1), abs=5 * np.sqrt(spread.max() / 20_000))
    assert np.cov(means.T) == pytest.approx(spread, abs=0.05 * spread.max())


def test_resample_holds_a_chunk_of_weights_and_does_not_depend_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(0).random((2, 2000))

    def run() -> tuple[np.ndarray, int]:
        tracemalloc.start()
        means = resample(scores, draws=500, seed=7)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return means, peak

    whole, large = run()
    monkeypatch.setattr(intervals, "CHUNK", 14_000)
    chunked, small = run()
    assert chunked == pytest.approx(whole, rel=1e-12)
    assert large > 8 * 500 * 2000  # bytes of all the weights at once
    assert small < 1_000_000


@pytest.mark.parametrize("metric", [AAI, NCI, MNR], ids=lambda m: m.name)
def test_intervals_match_a_loop_over_examples(metric: metrics.Metric) -> None:
    draw = np.random.default_rng(5)
    n = 200
    skill = draw.random(n)
    rates = {"aai": [0.1, 0.6], "nci": [0.1, 0.3, 0.5, 0.6], "mnr": [0.3, 0.5, 0.6]}[metric.name]
    correct = np.stack([skill + 0.2 * draw.standard_normal(n) > rate for rate in rates])
    groups = {"aai": ["", ""], "nci": ["", "fog", "fog", "snow"], "mnr": ["fog", "fog", "snow"]}[metric.name]

    def by_hand(rows: np.ndarray) -> float:
        accuracies = [row.mean() for row in rows]
        if metric is AAI:
            return 1 - accuracies[1] / accuracies[0]
        *clean, fog_1, fog_5, snow = accuracies
        mean = ((fog_1 + fog_5) / 2 + snow) / 2
        return 1 - mean / clean[0] if clean else mean

    loop = [by_hand(correct[:, draw.integers(n, size=n)]) for _ in range(3000)]
    found = estimate(metric, stacked(correct, groups), draws=3000)
    assert found is not None
    value, low, high = found
    assert value == pytest.approx(by_hand(correct))
    assert (low, high) == pytest.approx(np.quantile(loop, [0.025, 0.975]), abs=0.15 * np.ptp([low, high]))


# ---- the formulas against print ----------------------------------------------------------------------------


def test_formulas_by_hand() -> None:
    assert relative_drop(0.8, 0.6) == pytest.approx(0.25)
    assert relative_drop(0.5, 0.6) == pytest.approx(-0.2)
    assert np.isnan(relative_drop([0.0, 0.5], 0.0)).tolist() == [True, False]
    assert sample_std([1.0, 3.0]) == pytest.approx(2**0.5)
    assert mean_over_groups([1.0, 0.0, 0.0], ["fog", "fog", "snow"]) == pytest.approx(0.25)


def printed(table: int, *columns: str) -> dict[tuple[str, ...], dict[str, float]]:
    """The values of one table of Xiao et al. 2023 by the named columns, as {metric: value}."""
    path = PUBLISHED / f"xiao2023_table{table}.csv"
    if not path.exists():
        pytest.skip(f"{path} is not there; the printed tables are kept beside the repository")
    found: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["value"]:
                found[tuple(row[c] for c in columns)][row["metric"]] = float(row["value"])
    return found


@pytest.mark.parametrize(
    ("table", "perturbed", "impact"), [(3, "AR", "AAI"), (4, "AR", "AAI"), (5, "mNR", "NCI"), (9, "ACCs", "SNI")]
)
def test_impacts_agree_with_the_printed_ones(table: int, perturbed: str, impact: str) -> None:
    who = ("model", "method", "weight_bits")
    clean = printed(1, *who)
    rows = printed(table, *who)
    assert len(rows) == 40  # models that converged
    for name, row in rows.items():
        drop = 100 * relative_drop(clean[name]["clean_accuracy"], row[perturbed])
        assert drop == pytest.approx(row[impact], abs=0.02), name


def test_systematic_robustness_agrees_with_the_printed_one() -> None:
    who = ("method", "weight_bits")
    rows = printed(10, *who, "noise_group", "noise")
    models = {name[:2] for name in rows}
    assert len(models) == 12
    for model in models:
        noises = [row["ACCs"] for name, row in rows.items() if name[:2] == model and "ACCs" in row]
        (spread,) = [row["SR"] for name, row in rows.items() if name[:2] == model and "SR" in row]
        assert len(noises) == 14
        assert sample_std(noises) == pytest.approx(spread, abs=0.02), model


# ---- summary -----------------------------------------------------------------------------------------------


def test_every_metric_by_hand() -> None:
    found = values(
        [
            make_cell([1, 1, 1, 1, 0]),
            make_cell([1, 1, 0, 0, 1], kind="attack", label="fgsm"),
            make_cell([0, 1, 1, 0, 0], kind="attack", label="pgd"),
            make_cell([1, 1, 1, 0, 0], kind="corruption", label="fog 1", group="fog"),
            make_cell([1, 0, 0, 0, 0], kind="corruption", label="fog 5", group="fog"),
            make_cell([1, 0, 0, 0, 0], kind="corruption", label="snow 3", group="snow"),
            make_cell([1, 1, 1, 1, 0], kind="systematic", label="pillow"),
            make_cell([1, 1, 0, 0, 0], kind="systematic", label="opencv"),
        ]
    )
    assert found == pytest.approx(
        {
            ("accuracy", ""): 4 / 5,
            ("ece", ""): 4 / 5,  # none of the cells claims any confidence
            ("ar", "fgsm"): 3 / 5,
            ("ar", "pgd"): 2 / 5,
            ("aai", "fgsm"): (4 - 3) / 4,
            ("aai", "pgd"): (4 - 2) / 4,
            ("asr", "fgsm"): 2 / 4,  # the last example became right, which AAI credits and ASR does not
            ("asr", "pgd"): 2 / 4,
            ("wcar", ""): 1 / 5,
            ("mnr", ""): ((3 / 5 + 1 / 5) / 2 + 1 / 5) / 2,
            ("nci", ""): (0.8 - 0.3) / 0.8,
            ("sni", ""): (0.8 - 0.6) / 0.8,
            ("sr", ""): 0.4 / 2**0.5,
        }
    )


def test_rows_say_what_they_are() -> None:
    rows = summary([make_cell([1, 1, 0, 0], model="w4a4", bits=4), make_cell([0, 0, 1, 0], kind="attack", label="pgd")])
    low, high = proportion_confint(2, 4, method="wilson")
    rows = [row for row in rows if row["metric"] != "ece"]
    assert rows[0] == {
        "model": "w4a4",
        "weight_bits": 4,
        "act_bits": 4,
        "metric": "accuracy",
        "symbol": "ACC",
        "condition": "",
        "value": 0.5,
        "low": pytest.approx(low),
        "high": pytest.approx(high),
        "higher_is_better": True,
        "n": 4,
    }
    # The other model has no clean cell, so no AAI and no ASR.
    assert [(row["model"], row["metric"]) for row in rows[1:]] == [("float", "ar"), ("float", "wcar")]


def test_metrics_need_their_conditions() -> None:
    assert set(values([make_cell([1, 0])])) == {("accuracy", ""), ("ece", "")}
    one_noise = [make_cell([1, 0]), make_cell([1, 0], kind="systematic")]
    assert set(values(one_noise)) == {("accuracy", ""), ("ece", ""), ("sni", "")}  # SR takes two
    assert summary([]) == []


def test_drops_are_undefined_where_nothing_is_right_when_clean() -> None:
    kinds = ("attack", "corruption", "systematic")
    for perturbed in ([0, 0, 0], [0, 1, 0]):
        rows = summary([make_cell([0, 0, 0]), *(make_cell(perturbed, kind=kind) for kind in kinds)])
        undefined = {row["metric"] for row in rows if row["value"] is row["low"] is row["high"] is None}
        assert undefined == {"aai", "asr", "nci", "sni"}
        assert {row["metric"] for row in rows} - undefined == {"accuracy", "ece", "ar", "wcar", "mnr"}


def test_a_drop_to_nothing_is_not_claimed_as_certain() -> None:
    rows = summary([make_cell([1] * 30 + [0] * 10), make_cell([0] * 40, kind="attack")])
    (aai,) = [row for row in rows if row["metric"] == "aai"]
    assert (aai["value"], aai["high"]) == (1, 1)
    assert aai["low"] == pytest.approx(1 - Z**2 / (30 + Z**2))


def test_a_drop_counts_examples_that_only_the_attack_made_right() -> None:
    cells = [make_cell([1, 1, 0]), make_cell([0, 0, 1], kind="attack")]
    assert values(cells)["aai", "attack"] == pytest.approx(1 / 2)
    assert values(cells)["asr", "attack"] == 1


def test_the_two_intervals_of_aai_agree_where_both_hold() -> None:
    draw = np.random.default_rng(0)
    clean = draw.random(3000) < 0.8
    attacked = clean & (draw.random(3000) < 0.4)
    found = estimate(AAI, stacked([clean, attacked]))
    drops = relative_drop(*resample(np.stack([clean, attacked]), draws=4000, seed=0).T)
    assert found is not None
    assert found[1:] == pytest.approx(np.quantile(drops, [0.025, 0.975]), abs=0.003)


def test_systematic_robustness_interval_covers_the_true_spread() -> None:
    # 0.8 accuracy under each of 8 noises: the true spread is 0. Percentiles of the draws never reach down to it.
    draw = np.random.default_rng(0)
    covered, by_percentiles = 0, 0
    for _ in range(60):
        easy = draw.random(300) < 0.8
        correct = np.stack([np.where(draw.random(300) < 0.1, draw.random(300) < 0.8, easy) for _ in range(8)])
        found = estimate(SR, stacked(correct), draws=200)
        assert found is not None
        assert found[1] <= found[0] <= found[2]
        covered += found[1] < 1e-3
        by_percentiles += np.quantile(sample_std(resample(correct, draws=200, seed=0)), 0.025) < 1e-3
    assert covered >= 54
    assert by_percentiles == 0


@given(matrices, matrices)
@example(np.zeros((2, 4), bool), np.array([[0, 0, 0, 0], [0, 1, 1, 1]], bool))  # SR near its largest value
@settings(deadline=None, max_examples=25)
def test_values_lie_in_their_intervals_and_these_in_the_bounds(correct: np.ndarray, other: np.ndarray) -> None:
    n = min(correct.shape[1], other.shape[1])
    cells = [make_cell(correct[0, :n])]
    for kind, rows in (("attack", correct[1:]), ("corruption", other), ("systematic", other)):
        cells += [make_cell(row[:n], kind=kind, label=f"{kind} {i}", group=f"{i % 2}") for i, row in enumerate(rows)]
    rows = summary(cells)
    for row in rows:
        if row["value"] is not None:
            least, most = METRICS[row["metric"]].bounds
            assert least - 1e-9 <= row["low"] <= row["value"] <= row["high"] <= most + 1e-9, row
    worst = min(row["value"] for row in rows if row["metric"] == "ar")
    assert all(row["value"] <= worst for row in rows if row["metric"] == "wcar")


def test_directions_are_declared_right() -> None:
    kinds = ("attack", "corruption", "systematic")
    clean, reference = make_cell([1] * 9 + [0], model="w4"), make_cell([1] * 9 + [0])
    clean = replace(clean, confidences=np.full(10, 0.9, np.float32))
    good = [clean] + [make_cell([1] * 9 + [0], model="w4", kind=kind) for kind in kinds]
    bad = [clean] + [make_cell([1] * 5 + [0] * 5, model="w4", kind=kind) for kind in kinds]
    good.append(make_cell([1] * 9 + [0], model="w4", kind="systematic", label="other"))
    bad.append(make_cell([0] * 10, model="w4", kind="systematic", label="other"))
    still = make_cell([1] * 10, model="w4")
    good.append(sequence(still, [[0, 0, 0]] * 10))
    bad.append(sequence(still, [[0, 1, 0]] * 10))
    goal = 1 - still.labels
    good[1], bad[1] = (targeted(cells[1], goal, labels) for cells, labels in ((good, still.labels), (bad, goal)))
    better, worse = values([reference, *good], "w4", "float"), values([reference, *bad], "w4", "float")
    # What is measured on clean images alone is better for a model that stays with its reference and knows its limits.
    lost = replace(clean, predictions=1 - clean.labels)
    worse |= {key: value for key, value in values([reference, lost], "w4", "float").items() if key[0] != "accuracy"}
    assert {name for name, _ in better} == set(METRICS)
    for name, condition in better:
        change = better[name, condition] - worse[name, condition]
        assert change == 0 if name == "accuracy" else (change > 0) == METRICS[name].higher_is_better, name
        assert name != METRICS[name].symbol


def test_tables_do_not_depend_on_the_order_of_the_examples() -> None:
    cells = random_cells()
    draw = np.random.default_rng(0)
    cells = [replace(cell, confidences=draw.random(40, np.float32)) for cell in cells]
    cells[1] = targeted(cells[1], draw.integers(-1, 2, 40), draw.integers(0, 2, 40))
    cells.append(sequence(make_cell([1] * 40), draw.integers(0, 3, (40, 5))))
    mixed = [shuffled(cell, draw.permutation(40)) for cell in cells]  # each in its own order
    assert summary(mixed, "float") == summary(cells, "float")
    assert compare(mixed, "float") == compare(cells, "float")


# ---- compare -----------------------------------------------------------------------------------------------


def test_a_row_of_the_comparison() -> None:
    right, wrong = [1] * 12 + [0] * 8, [0] * 12 + [0] * 8
    rows = compare([make_cell(right, group="clean"), make_cell(wrong, model="w2", bits=2, group="clean")], "float")
    low, high = proportion_confint(12, 20, method="wilson")
    shared = {"kind": "clean", "condition": "clean", "group": "clean", "n": 20}
    cost = {"forwards": 3.0, "backwards": 2.0, "seconds": 1.5}
    nothing = dict.fromkeys(("difference", "diff_low", "diff_high", "p_value", "p_holm"))
    assert rows[0] == shared | cost | nothing | {
        "model": "float",
        "weight_bits": 32,
        "act_bits": 32,
        "accuracy": 0.6,
        "low": pytest.approx(low),
        "high": pytest.approx(high),
    }
    assert (rows[1]["model"], rows[1]["weight_bits"], rows[1]["accuracy"]) == ("w2", 2, 0)
    assert rows[1]["difference"] == pytest.approx(-0.6)
    assert rows[1]["diff_low"] < -0.6 < rows[1]["diff_high"] < 0
    assert rows[1]["p_value"] == rows[1]["p_holm"] == pytest.approx(2 * 0.5**12)


def test_the_reference_is_taken_under_the_same_condition() -> None:
    cells = random_cells()
    lonely = make_cell([1] * 40, model="w4a4", kind="attack", label="apgd")
    rows = compare([*cells, lonely], "float")
    assert [(row["model"], row["condition"]) for row in rows] == [
        (cell.model.name, cell.condition.label) for cell in [*cells, lonely]
    ]
    assert rows[-1]["difference"] is rows[-1]["p_value"] is rows[-1]["p_holm"] is None
    half = len(cells) // 2
    compared = rows[half:-1]
    for row, a, b in zip(compared, cells[half:], cells[:half], strict=True):
        assert (row["difference"], row["diff_low"], row["diff_high"]) == paired_difference(a.correct, b.correct)
        assert row["p_value"] == mcnemar(a.correct, b.correct)
    expected = multipletests([row["p_value"] for row in compared], method="holm")[1]
    assert [row["p_holm"] for row in compared] == pytest.approx(expected)


def test_rows_are_plain_data() -> None:
    for row in compare(random_cells(), "float") + summary(random_cells()):
        assert {type(value) for value in row.values()} <= {str, int, float, bool, type(None)}, row


def test_an_unknown_reference_is_named() -> None:
    with pytest.raises(InputError, match=r"unknown reference model 'flaot': known are float\. Did you mean 'float'\?"):
        compare([make_cell([1, 0])], "flaot")


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (make_cell([1, 0, 1], model="w4", first_id=1), "3 examples, 1 of them not among the 3"),
        (make_cell([1, 0], model="w4"), "2 examples, 0 of them not among the 3"),
        (replace(make_cell([1, 0, 1], model="w4"), labels=np.zeros(3, np.int64)), "other labels than those"),
    ],
    ids=["other ids", "fewer", "other labels"],
)
def test_cells_on_different_examples_are_refused(other: Cell, what: str) -> None:
    cells = [make_cell([1, 0, 1]), other]
    message = f"the cell of model 'w4' under 'clean' has {what} of 'float' under 'clean': the comparison is paired"
    with pytest.raises(InputError, match=message):
        compare(cells, "float")
    with pytest.raises(InputError, match=r"Pass the cells of one data set, split and limit\.$"):
        summary(cells)


def test_two_cells_of_one_model_and_condition_are_refused() -> None:
    cells = [make_cell([1, 0]), replace(make_cell([1, 1]), seed=1)]
    with pytest.raises(InputError, match="two cells of model 'float' under 'clean': a table has at most one cell"):
        summary(cells)
    renamed = [make_cell([1, 0]), make_cell([1, 1], label="original")]  # still the clean condition
    with pytest.raises(InputError, match="two cells of model 'float' under 'original'"):
        compare(renamed, "float")


def test_equal_labels_with_other_settings_are_not_compared() -> None:
    other = make_cell([1, 1], model="w4", kind="attack", label="pgd")
    other = replace(other, condition=replace(other.condition, setting={"eps": 0.1}))
    rows = compare([make_cell([1, 0], kind="attack", label="pgd"), other], "float")
    assert rows[1]["difference"] is None


# ---- calibration, targets, reference, values of one's own ---------------------------------------------------


def test_calibration_error_by_hand() -> None:
    # Two examples at 0.9 and 0.91, which share a bin, one of them right; one wrong at 0.05; one right at 1, which the
    # last bin holds: (2 * |0.905 - 0.5| + 0.05 + 0) / 4.
    cell = replace(make_cell([1, 0, 0, 1]), confidences=np.array([0.9, 0.91, 0.05, 1], np.float32))
    (found,) = [row for row in summary([cell]) if row["metric"] == "ece"]
    assert found["value"] == pytest.approx((0.81 + 0.05) / 4)
    assert 0 <= found["low"] <= found["value"] <= found["high"] <= 1


def test_calibration_error_agrees_with_a_loop_over_bins() -> None:
    draw = np.random.default_rng(0)
    cell = replace(make_cell(draw.random(500) < 0.7), confidences=draw.random(500, np.float32))
    edges, gap = np.linspace(0, 1, 16), 0.0
    for low, high in pairwise(edges):
        inside = (cell.confidences > low) & (cell.confidences <= high)
        gap += inside.sum() * abs(cell.correct[inside].mean() - cell.confidences[inside].mean()) / 500
    assert values([cell])["ece", ""] == pytest.approx(gap, abs=1e-6)


def test_the_interval_of_the_calibration_error_reaches_the_truth() -> None:
    # A model that is right exactly as often as it claims: by chance alone the value is far from 0, each draw further.
    draw, covered = np.random.default_rng(0), 0
    for _ in range(60):
        confidences = draw.uniform(0.3, 1, 200).astype(np.float32)
        cell = replace(make_cell(draw.random(200) < confidences), confidences=confidences)
        found = estimate(ECE, [cell], draws=200)
        assert found is not None and found[0] > 0.02
        covered += found[1] < 1e-3
    assert covered >= 54


def test_flips_and_agreement_are_against_the_reference() -> None:
    reference, clean = make_cell([1, 1, 1, 0, 0]), make_cell([1, 0, 0, 1, 0], model="w4", bits=4)
    clean.predictions[4] = 7  # as wrong as the reference, another way
    rows = summary([reference, clean, make_cell([1, 1, 1, 1, 1], model="w2", kind="attack")], "float")
    found = {(row["model"], row["metric"]): row for row in rows}
    assert found["w4", "nfr"]["value"] == 2 / 5
    assert found["w4", "agreement"]["value"] == 1 / 5
    assert (found["w4", "nfr"]["low"], found["w4", "nfr"]["high"]) == wilson(2, 5)
    assert not {("float", "nfr"), ("w2", "nfr"), ("w2", "agreement")} & set(found)
    assert "nfr" not in {row["metric"] for row in summary([reference, clean])}
    with pytest.raises(InputError, match="unknown reference model 'flaot'.*Did you mean 'float'"):
        summary([reference], "flaot")


def test_targeted_success_counts_examples_that_became_their_target() -> None:
    clean = make_cell([1, 1, 1, 1, 1, 0])  # labels 0, 1, 0, 1, 0, 1
    attack = make_cell([1] * 6, kind="attack", label="pgd")
    # became its target; another class; stayed; had no target; its target is its label; was wrong before
    attack = targeted(attack, [2, 2, 2, -1, 0, 2], [2, 3, 0, 2, 0, 2])
    rows = [row for row in summary([clean, attack]) if row["metric"] == "tsr"]
    assert [(row["condition"], row["value"]) for row in rows] == [("pgd", 1 / 3)]
    assert (rows[0]["low"], rows[0]["high"]) == wilson(1, 3)
    assert ("tsr", "attack") not in values([clean, make_cell([1] * 6, kind="attack")])


def test_a_metric_of_a_value_that_only_some_cells_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    certified = Metric(
        name="certified",
        symbol="CA",
        description="share of examples right and certified within 0.5 in l2",
        source="made up",
        higher_is_better=True,
        bounds=(0, 1),
        needs=("smoothed",),
        suits=lambda cell: "radius" in cell.values,
        each=True,
        scores=lambda chosen: chosen.correct & (chosen.cells[0].values["radius"] > 0.5),
    )
    monkeypatch.setitem(METRICS, "certified", certified)
    smoothed = replace(make_cell([1, 1, 0, 1], kind="smoothed"), values={"radius": np.array([0.7, 0.2, 0.9, 0.6])})
    found = summary([smoothed, make_cell([1, 1, 0, 1], kind="smoothed", label="without radius")])
    assert [(row["condition"], row["value"], row["low"]) for row in found] == [("smoothed", 2 / 4, wilson(2, 4)[0])]


def test_everything_of_an_example_stays_with_it() -> None:
    cell = replace(
        sequence(make_cell([1, 0, 1, 1]), [[i] * 3 for i in range(4)]),
        targets=np.arange(4),
        digests=np.arange(4, dtype=np.uint64),
        values={"radius": np.arange(4.0)},
        confidences=np.arange(4, dtype=np.float32),
        pictures=Pictures(rows=np.array([1, 3]), images=np.array([1, 3], np.float16).reshape(2, 1, 1, 1)),
    )
    order = np.array([2, 0, 3, 1])
    mixed = replace(
        shuffled(cell, order), digests=cell.digests[order], pictures=replace(cell.pictures, rows=np.array([3, 2]))
    )
    found = ordered(mixed)
    assert found.ids.tolist() == cell.ids.tolist() and ordered(cell) is cell
    for array in (found.targets, found.digests, found.values["radius"], found.confidences, found.frames[:, 0]):
        assert array.tolist() == [0, 1, 2, 3]
    assert found.confidences[found.pictures.rows].tolist() == found.pictures.images.ravel().tolist()


# ---- transfer -----------------------------------------------------------------------------------------------


def transferred(correct: Sequence[int], *, source: str, target: str, kappa: int = 0) -> Cell:
    """A cell of images that moved in the first three examples only."""
    cell = make_cell(correct, model=target)
    condition = ConditionRecord(
        kind="transfer",
        label=f"what {source} gave, kappa {kappa}",
        group=f"cw {kappa}",
        setting={"type": "CW", "kappa": kappa},
        source=source,
    )
    moved = (np.arange(len(correct)) < 3) * np.float32(0.5)
    return replace(cell, condition=condition, linf=moved, l2=3 * moved)


def test_the_transfer_matrix_by_hand() -> None:
    cells = [transferred([0, 1, 0, 0], source="float", target="w4"), make_cell([1, 1, 1, 1])]
    (row,) = metrics.transfer(cells)
    low, high = wilson(1, 4)
    assert row == {
        "attack": "cw 0",
        "source": "float",
        "target": "w4",
        "n": 4,
        "accuracy": 0.25,
        "low": low,
        "high": high,
        "l2": 1.5,
        "linf": 0.5,
    }
    assert metrics.transfer([transferred([1, 1, 1, 0], source="float", target="w4")])[0]["l2"] is None


def test_a_field_is_tuned_on_even_examples_and_judged_on_odd_ones() -> None:
    def grid(source: str, best: int) -> list[Cell]:
        return [
            transferred([kappa != best, kappa == best] * 3, source=source, target=target, kappa=kappa)
            if target != source
            else transferred([kappa == best] * 6, source=source, target=target, kappa=kappa)
            for kappa in (0, 5)
            for target in ("float", "w4")
        ]

    rows = metrics.transfer([*grid("float", best=5), *grid("w4", best=0)], tuned="kappa")
    # The source's own accuracy would choose the other one.
    assert [(row["source"], row["target"], row["attack"], row["accuracy"]) for row in rows] == [
        ("float", "float", "cw 5", 1),
        ("float", "w4", "cw 5", 1),
        ("w4", "float", "cw 0", 1),
        ("w4", "w4", "cw 0", 1),
    ]
    assert {row["n"] for row in rows} == {3}
    with pytest.raises(InputError, match="one example: a half of them chooses kappa"):
        metrics.transfer([transferred([1], source="float", target="w4")], tuned="kappa")


# ---- flips -------------------------------------------------------------------------------------------------


def test_flips_by_hand():
    frames = np.array([[0, 1, 1, 0, 2], [3, 3, 3, 3, 3]])
    assert metrics.flips(frames, compared="first").tolist() == [0.75, 0]
    assert metrics.flips(frames, compared="previous").tolist() == [0.75, 0]
    assert metrics.flips(frames, compared="previous", step=2).tolist() == [1.0, 0]  # (0, 1), (1, 0), (1, 2)
    assert metrics.flips(frames, compared="previous", step=3).tolist() == [0.5, 0]  # (0, 0), (1, 2)


def test_flips_follow_the_rule_of_the_condition() -> None:
    frames = [[0, 1, 1, 0, 2], [3, 3, 3, 3, 3]]
    cell = make_cell([1, 1])
    for options, expected in (({"compared": "first"}, 0.375), ({"compared": "previous", "step": 2}, 0.5)):
        assert values([sequence(cell, frames, **options)])["fp", "tilt"] == expected
    unmade = replace(cell, predictions=np.array([-1, 1]))
    assert values([sequence(unmade, frames)])["mfp", ""] == 0.5  # no clip: as if it flipped in every frame


# ---- same pixels -------------------------------------------------------------------------------------------


def shown(label: str, digests: list[int] | None, **options) -> Cell:
    cell = make_cell([1, 1, 1], label=label, kind="clean" if label == "clean" else "systematic", **options)
    return replace(cell, digests=None if digests is None else np.array(digests, np.uint64))


def test_conditions_that_showed_the_same_pixels_are_named_with_the_share():
    cells = [
        shown("clean", [1, 2, 3]),
        shown("opencv", [1, 2, 3]),
        shown("ffmpeg", [1, 2, 9]),
        shown("planes", [7, 2, 9]),
        shown("nearest", [4, 5, 6]),
        shown("float16", None),
    ]
    assert same_pixels(cells) == [
        {"condition": "opencv", "like": "clean", "equal": 3, "n": 3},
        {"condition": "ffmpeg", "like": "clean", "equal": 2, "n": 3},
        {"condition": "planes", "like": "ffmpeg", "equal": 2, "n": 3},
    ]


def test_several_models_under_a_condition_saw_it_once():
    cells = [shown(label, [1, 2, 3], model=model) for label in ("clean", "box") for model in ("float", "w4a4")]
    assert [(row["condition"], row["like"]) for row in same_pixels(cells)] == [("box", "clean")]


def test_pixels_are_compared_by_example_not_by_position():
    turned = shown("box", [3, 2, 1])
    turned = replace(turned, ids=turned.ids[::-1].copy(), labels=turned.labels[::-1].copy())
    assert same_pixels([shown("clean", [1, 2, 3]), turned])[0]["equal"] == 3
    with pytest.raises(InputError, match="3 examples, 3 of them not among the 3"):
        same_pixels([shown("clean", [1, 2, 3]), shown("box", [1, 2, 3], first_id=7)])
