"""Metrics of a model against its reference."""

import pytest

from bitproof.errors import InputError
from bitproof.metrics import summary, wilson
from metric_cells import make_cell


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
