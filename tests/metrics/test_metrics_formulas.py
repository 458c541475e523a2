"""The formulas by hand and against the tables printed in RobustMQ."""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from bitproof.metrics import mean_over_groups, relative_drop, sample_std

PUBLISHED = Path(__file__).parents[3] / "shared" / "published"


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
