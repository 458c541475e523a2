"""Rulings on what a store holds: results of several seeds are told apart."""

from dataclasses import replace

from bitproof.metrics.requirements import Requirement
from bitproof.report import gate
from metric_cells import make_cell


def test_rulings_say_where_there_are_several_sets_of_results():
    cell = make_cell([True] * 28 + [False] * 2)
    asked = [Requirement.parse("acc >= 0.5")]
    (alone,) = gate.rulings([cell], asked)
    assert alone.sentence.startswith(f"{cell.model.name}: 0.933")
    both = gate.rulings([cell, replace(cell, seed=7)], asked)
    assert [ruling.sentence.partition(":")[0].rpartition(" seed ")[2] for ruling in both] == [str(cell.seed), "7"]
