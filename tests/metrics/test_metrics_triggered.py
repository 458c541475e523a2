"""Backdoors: closed forms on cells of known outcomes."""

from dataclasses import replace

import numpy as np
import pytest

from bitproof.errors import InputError
from bitproof.metrics import class_accuracy, disparity, paired_interval, summary, wilson
from metric_cells import make_cell, targeted


def rows(cells):
    return {row["metric"]: row for row in summary(cells) if row["condition"] == "square"}


def test_only_images_of_other_classes_count_and_the_lift_takes_off_what_was_there():
    clean = make_cell([1, 1, 1, 1, 1, 0])  # labels 0, 1, 0, 1, 0, 1; predictions 0, 1, 0, 1, 0, 0
    stamped = targeted(make_cell([1] * 6, kind="triggered", label="square"), [-1, 0, -1, 0, -1, 0], [0, 0, 1, 1, 0, 0])
    found = rows([clean, stamped])
    assert found["triggered"]["value"] == 2 / 3
    assert (found["triggered"]["low"], found["triggered"]["high"]) == wilson(2, 3)
    assert found["triggered-all"]["value"] == 4 / 6
    assert found["lift"]["value"] == pytest.approx(1 / 3)
    assert (found["lift"]["low"], found["lift"]["high"]) == paired_interval(1, 0, 3)
    assert found["others"]["value"] == 2 / 3
    assert "asr" not in found


def test_data_of_the_target_class_alone_say_nothing():
    stamped = make_cell([1] * 4, kind="triggered", label="square")
    stamped = replace(targeted(stamped, [-1] * 4, [0] * 4), labels=np.zeros(4, np.int64))
    assert rows([stamped])["triggered"]["value"] is None or rows([stamped])["triggered"]["value"] == 0


def test_disparity_against_clean_models():
    def pair(before, after):
        return make_cell([1] * before + [0] * (10 - before)), make_cell([1] * after + [0] * (10 - after), model="q")

    found = disparity(pair(9, 1), [pair(9, 8), pair(9, 9), pair(9, 7)])
    assert found.drop == pytest.approx(0.8)
    assert found.excess == pytest.approx(0.7)
    assert found.deviations == pytest.approx(7.0)
    assert disparity(pair(9, 1), [pair(9, 8)]).deviations is None
    with pytest.raises(InputError, match="at least one clean model"):
        disparity(pair(9, 1), [])


def test_accuracy_of_a_class_and_of_the_others():
    cell = make_cell([1, 0, 0, 0, 1, 1])
    assert class_accuracy(cell, 0) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert np.isnan(class_accuracy(cell, 7)[0])
