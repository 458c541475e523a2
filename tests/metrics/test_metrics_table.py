"""The summary of every metric against hand-made tables."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from bitproof.metrics import METRICS, Metric, compare, summary, wilson
from bitproof.metrics import defended as defences
from bitproof.records import KEPT
from metric_cells import make_cell, random_cells, scored, sequence, shuffled, targeted, values

matrices = st.integers(2, 5).flatmap(
    lambda rows: st.lists(st.lists(st.booleans(), min_size=rows, max_size=rows), min_size=1, max_size=30).map(
        lambda columns: np.array(columns).T
    )
)


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
            ("nci-corruption", "fog"): (0.8 - 0.4) / 0.8,
            ("nci-corruption", "snow"): (0.8 - 0.2) / 0.8,
            ("acc-s", ""): 0.6,
            ("sni", ""): (0.8 - 0.6) / 0.8,
            ("sni-noise", "pillow"): 0.0,
            ("sni-noise", "opencv"): (0.8 - 0.4) / 0.8,
            ("sr", ""): 0.4 / 2**0.5,
            # s^2 = 0.08, less the variance of half the difference of the two answers, 0.06, over n = 5
            ("sr-debiased", ""): (0.08 - 2 * 0.3 / 4 / 5) ** 0.5,
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
        **dict.fromkeys(("difference", "diff_low", "diff_high", "p_value")),
    }
    # The other model has no clean cell, so no AAI and no ASR.
    assert [(row["model"], row["metric"]) for row in rows[1:]] == [("float", "ar"), ("float", "wcar")]


def test_metrics_need_their_conditions() -> None:
    assert set(values([make_cell([1, 0])])) == {("accuracy", ""), ("ece", "")}
    one_noise = [make_cell([1, 0]), make_cell([1, 0], kind="systematic")]
    of_noise = {("acc-s", ""), ("sni", ""), ("sni-noise", "systematic")}  # SR takes two
    assert set(values(one_noise)) == {("accuracy", ""), ("ece", ""), *of_noise}
    assert summary([]) == []


def test_drops_are_undefined_where_nothing_is_right_when_clean() -> None:
    kinds = ("attack", "corruption", "systematic")
    for perturbed in ([0, 0, 0], [0, 1, 0]):
        rows = summary([make_cell([0, 0, 0]), *(make_cell(perturbed, kind=kind) for kind in kinds)])
        undefined = {row["metric"] for row in rows if row["value"] is row["low"] is row["high"] is None}
        assert undefined == {"aai", "asr", "nci", "nci-corruption", "sni", "sni-noise"}
        assert {row["metric"] for row in rows} - undefined == {"accuracy", "ece", "ar", "wcar", "mnr", "acc-s"}


def test_a_drop_to_nothing_is_not_claimed_as_certain() -> None:
    rows = summary([make_cell([1] * 30 + [0] * 10), make_cell([0] * 40, kind="attack")])
    (aai,) = [row for row in rows if row["metric"] == "aai"]
    assert (aai["value"], aai["high"]) == (1, 1)
    assert 0.85 < aai["low"] < 0.92  # nothing of 30: up to a tenth


def test_a_drop_counts_examples_that_only_the_attack_made_right() -> None:
    cells = [make_cell([1, 1, 0]), make_cell([0, 0, 1], kind="attack")]
    assert values(cells)["aai", "attack"] == pytest.approx(1 / 2)
    assert values(cells)["asr", "attack"] == 1


@pytest.mark.parametrize("right", range(1, 9))
def test_what_attacks_cost_is_no_gain_where_they_leave_wrong_images_alone(right: int) -> None:
    clean = np.arange(8) < right
    for broken in range(right + 1):
        attacked = make_cell(clean & (np.arange(8) >= broken), kind="attack")
        (aai,) = (row for row in summary([make_cell(clean), attacked]) if row["metric"] == "aai")
        assert (aai["low"], aai["high"], aai["n"]) == (*wilson(broken, right), 8)


def test_differences_of_shares_lie_in_their_range() -> None:
    models = {"float": [1, 1, 0, 0, 0, 0, 0, 0], "w4a4": [1, 0, 1, 0, 0, 0, 0, 0]}
    cells = [make_cell(right, model=model) for model, right in models.items()]
    cells += [
        make_cell(np.array(right) * [1, 0, 0, 0, 0, 0, 0, 0], model=m, kind="attack") for m, right in models.items()
    ]
    rows = [row for row in summary(cells, "float") if row["model"] == "w4a4" and row["metric"] in ("asr", "aai")]
    assert len(rows) == 2
    for row in rows:
        assert -1 <= row["diff_low"] <= row["difference"] <= row["diff_high"] <= 1


def test_n_is_what_a_share_is_of() -> None:
    clean = make_cell([1, 1, 1, 0, 0])
    attacked = make_cell([1, 0, 0, 0, 0], kind="attack")
    aimed = targeted(make_cell([1] * 5, kind="attack", label="aimed"), [1, 0, -1, 1, 0], [1, 0, 0, 0, 0])
    rows = {row["metric"]: row for row in summary([clean, attacked, aimed])}
    assert (rows["asr"]["value"], rows["asr"]["n"]) == (pytest.approx(2 / 3), 3)
    assert (rows["tsr"]["value"], rows["tsr"]["n"]) == (1.0, 2)  # right when clean, and not of that class already
    assert rows["asr"]["low"] == wilson(2, rows["asr"]["n"])[0]
    assert rows["ar"]["n"] == rows["aai"]["n"] == 5


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
            assert least - 1e-9 <= row["value"] <= most + 1e-9
            if row["low"] is not None:
                assert least - 1e-9 <= row["low"] <= row["value"] <= row["high"] <= most + 1e-9, row
    worst = min(row["value"] for row in rows if row["metric"] == "ar")
    assert all(row["value"] <= worst for row in rows if row["metric"] == "wcar")


def test_directions_are_declared_right() -> None:
    kinds = ("attack", "corruption", "systematic")
    clean, reference = make_cell([1] * 9 + [0], model="w4"), make_cell([1] * 9 + [0])
    clean, reference = scored(replace(clean, confidences=np.full(10, 0.9, np.float32))), scored(reference)
    good = [clean] + [make_cell([1] * 9 + [0], model="w4", kind=kind) for kind in kinds]
    bad = [clean] + [make_cell([1] * 5 + [0] * 5, model="w4", kind=kind) for kind in kinds]
    good.append(make_cell([1] * 9 + [0], model="w4", kind="systematic", label="other"))
    bad.append(make_cell([0] * 10, model="w4", kind="systematic", label="other"))
    still = make_cell([1] * 10, model="w4")
    for cells in (good, bad):  # the same attack at a larger budget
        cells[1] = replace(cells[1], condition=replace(cells[1].condition, norm="linf", eps=0.5))
        cells.append(replace(cells[1], condition=replace(cells[1].condition, label="larger", eps=1.0)))
    good.append(sequence(still, [[0, 0, 0]] * 10))
    bad.append(sequence(still, [[0, 1, 0]] * 10))
    aimed, goal = replace(good[1], condition=replace(good[1].condition, label="aimed")), 1 - still.labels
    good.append(targeted(aimed, goal, still.labels))
    bad.append(targeted(aimed, goal, goal))
    stamped = make_cell([1] * 10, model="w4", kind="triggered")
    class_of_it = np.where(stamped.labels == 0, -1, 0)
    good.append(targeted(stamped, class_of_it, stamped.labels))
    bad.append(targeted(stamped, class_of_it, np.zeros(10, np.int64)))
    for cells, wrong in ((good, 1), (bad, 5)):  # the one beside it stays right
        alone = make_cell([1] * (10 - wrong) + [0] * wrong, model="w4", kind="differential")
        cells.insert(-1, replace(alone, values={KEPT: alone.labels}))
    better, worse = values([reference, *good], "w4", "float"), values([reference, *bad], "w4", "float")
    # What is measured on clean images alone is better for a model that stays with its reference and knows its limits.
    lost = scored(replace(clean, predictions=1 - clean.labels))
    of_clean = values([reference, lost, bad[-1]], "w4", "float")
    worse |= {key: value for key, value in of_clean.items() if key[0] not in ("accuracy", "lift")}
    defended = {name for name, metric in METRICS.items() if metric in vars(defences).values()}  # they have tests there
    assert {name for name, _ in better} == set(METRICS) - defended
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


def test_rows_are_plain_data() -> None:
    for row in compare(random_cells(), "float") + summary(random_cells()):
        assert {type(value) for value in row.values()} <= {str, int, float, bool, type(None)}, row


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


def test_targeted_attacks_are_no_untargeted_robustness() -> None:
    clean = make_cell([1, 1, 1, 1])
    any_class = make_cell([1, 0, 0, 0], kind="attack", label="pgd")
    aimed = make_cell([1, 1, 1, 1], kind="attack", label="aimed")
    aimed = targeted(aimed, 1 - clean.labels, clean.labels)
    found = values([clean, any_class, aimed])
    assert found["wcar", ""] == found["ar", "pgd"] == 1 / 4
    assert {name for name, label in found if label == "aimed"} == {"tsr"}
    assert "wcar" not in {name for name, _ in values([clean, aimed])}


def test_examples_that_could_not_be_made_are_left_out_of_metrics() -> None:
    clean = make_cell([1, 1, 1, 0])
    shifts = [
        make_cell([1, 1, 0, 0], kind=kind, label=f"{kind} {i}") for kind in ("corruption", "systematic") for i in (1, 2)
    ]
    for cell in shifts:
        cell.predictions[2] = -1
    rows = {row["metric"]: row for row in summary([clean, *shifts])}
    for name in ("nci", "sni", "sr"):
        assert (rows[name]["value"], rows[name]["n"]) == (0, 3)
    assert (rows["mnr"]["value"], rows["accuracy"]["value"]) == (pytest.approx(2 / 3), 3 / 4)
    nothing = replace(shifts[0], predictions=np.full(4, -1), labels=np.full(4, -1))
    assert not nothing.correct.any()


def test_every_metric_is_compared_on_the_same_examples() -> None:
    cells = random_cells()
    rows = summary(cells, "float")
    own = {(row["model"], row["metric"], row["condition"]): row for row in rows}
    for (model, name, label), row in own.items():
        if model == "float":
            assert row["difference"] is row["p_value"] is None
        elif not METRICS[name].compares:
            other = own["float", name, label]
            assert row["difference"] == pytest.approx(row["value"] - other["value"])
            assert 0 < row["p_value"] <= 1
            if name not in ("ece", "sr", "sr-debiased"):
                assert row["diff_low"] < row["difference"] < row["diff_high"]
    mirrored = {(row["metric"], row["condition"]): row for row in summary(cells, "w4a4") if row["model"] == "float"}
    for (model, name, label), row in own.items():
        if model == "w4a4" and not METRICS[name].compares:
            other = mirrored[name, label]
            assert other["p_value"] == pytest.approx(row["p_value"], abs=0.02)
            if row["diff_low"] is not None:
                assert (other["diff_low"], other["diff_high"]) == pytest.approx((-row["diff_high"], -row["diff_low"]))
