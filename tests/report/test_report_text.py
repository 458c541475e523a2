"""Numbers are written alike everywhere."""

import pytest

from bitproof.report.text import p_value, percent, points, unsigned_points
from report_page import DASH, MINUS


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (percent, 0.97249, "97.2"),
        (percent, None, DASH),
        (points, -0.031, f"{MINUS}3.1"),
        (points, 0.031, "+3.1"),
        (points, -0.0001, "0.0"),
        (unsigned_points, -0.0004, "less than 0.1"),
        (unsigned_points, -0.031, "3.1"),
        (p_value, 0.0004, "< 0.001"),
        (p_value, 0.0304, "0.030"),
    ],
)
def test_numbers_are_written_alike(write, value, text):
    assert write(value) == text
