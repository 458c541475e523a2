"""The papers' own tables at the smallest scale: one of them always, all of them among the slow tests."""

import numpy as np
import pytest

import bitproof as bp
from bitproof.errors import InputError
from bitproof.tables import TABLES, reproduce, study_of, table_of
from bitproof.tables.making import Trained, Workshop
from bitproof.train import standard


def test_weights_that_a_table_starts_from_are_asked_for():
    study = study_of(table_of("xiao2023", "table3"), "reduced")
    data = bp.load_data("digits", limit=4)
    shop = Workshop(
        makings=study.models, train=data, test=data, folder=None, weights={}, seed=0, device=None, progress=False
    )
    with pytest.raises(InputError, match="no weights of resnet20.*Pass --weights resnet20=FILE"):
        shop.model("LSQ w4a4")


def test_models_are_made_once_and_found_by_other_tables(tmp_path):
    makings = {"float": Trained(recipe=standard(epochs=1, batch_size=32), architecture="digits_cnn")}
    data = bp.load_data("digits", split="train", limit=64)
    how = {
        "makings": makings,
        "train": data,
        "test": data,
        "folder": tmp_path,
        "weights": {},
        "device": None,
        "progress": False,
    }
    one, two = (Workshop(**how, seed=0).model("float") for _ in range(2))
    assert len(list(tmp_path.glob("*/record.json"))) == 1
    assert all(np.array_equal(a.detach(), b.detach()) for a, b in zip(one.parameters(), two.parameters(), strict=True))


QUICK = (("xiao2023", "table1", 20), pytest.param("bernhard2019", "table6", 20, marks=pytest.mark.slow))


@pytest.mark.parametrize(("paper", "number", "images"), QUICK)
def test_a_table_at_the_smoke_scale(paper, number, images, tmp_path):
    outcome = reproduce(paper, number, images=images, store=tmp_path / "s.db", progress=False)
    compared = [entry for entry in outcome.entries if entry.difference is not None]
    assert compared and all(entry.verdict == "not comparable" and "images" in entry.reason for entry in compared)
    assert outcome.claims and all(claim.pairs for claim in outcome.claims)


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_table_at_the_smoke_scale(table, tmp_path_factory):
    store = tmp_path_factory.getbasetemp() / "all.db"
    outcome = reproduce(table.paper, table.number, store=store, progress=False)
    assert outcome.entries and all(claim.pairs for claim in outcome.claims)
