"""Whether one class stands out: closed forms, and the false alarms of the rules on clean values."""

import numpy as np
import pytest

from bitproof.audit.outliers import DEVIATIONS, DEVIATIONS_OF_FOUR, deviations, doublings, grubbs


def test_doublings_and_deviations_of_given_values():
    assert doublings(1.0, [4.0, 8.0, 4.0]) == 2.0
    assert doublings(8.0, [4.0]) == -1.0 and doublings(1.0, []) == 0.0
    # logs 0, 2, 3, 4, 6: median 3, MAD 1
    assert deviations(1.0, [4.0, 8.0, 16.0, 64.0]) == pytest.approx(3 / 1.4826)
    # equal sizes do not make a small difference a large one
    assert deviations(1.0, [1.1] * 9) == pytest.approx(np.log2(1.1) / 0.15)


def test_grubbs_against_its_tables():
    """Critical values of the one-sided test at 5% (Grubbs 1969): 1.672 for n = 5, 2.176 for n = 10."""
    for n, critical in ((5, 1.672), (10, 2.176)):
        for g, level in ((critical * 0.99, "above"), (critical * 1.01, "below")):
            p = grubbs(with_outlier(n, g))
            assert (p > 0.05) == (level == "above"), (n, g, p)
    assert grubbs([1.0, 2.0]) == 1.0 and grubbs([1.0] * 5) == 1.0


def with_outlier(n: int, g: float) -> list[float]:
    """Values of mean 0 and standard deviation 1 of which the largest is g."""
    rest = np.linspace(-1, 1, n - 1)
    rest = (rest - rest.mean()) * np.sqrt((n - 1 - g**2 * n / (n - 1)) / ((rest - rest.mean()) ** 2).sum()) - g / (
        n - 1
    )
    return [*rest.tolist(), g]


def test_one_in_twenty_clean_models_of_ten_classes_is_flagged():
    rng = np.random.default_rng(0)
    logs = rng.standard_normal((1200, 10))
    sizes = np.sort(2.0 ** (4 * logs), axis=1)  # a spread well above the least one that is believed
    flagged = np.mean([deviations(row[0], row[1:].tolist()) >= DEVIATIONS for row in sizes])
    usual = np.mean([deviations(row[0], row[1:].tolist()) >= 2 for row in sizes])
    assert 0.03 < flagged < 0.065 and 0.29 < usual < 0.37
    of_four = [max(deviations(row[0], row[1:].tolist()) for row in four) for four in sizes.reshape(-1, 4, 10)]
    assert 0.02 < np.mean(np.array(of_four) >= DEVIATIONS_OF_FOUR) < 0.09
    tested = np.mean([grubbs(row.tolist()) <= 0.05 for row in logs])
    assert 0.035 < tested < 0.065
