"""A store's export goes cell by cell and is what one table of all cells would be."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import bitproof as bp
from bitproof.errors import InputError
from bitproof.export import export_store, tidy
from report_cells import CLEAN, DATA, N, attack, cell, jpeg, model


@pytest.fixture
def store(tmp_path):
    """Cells that do not have the same columns: targets, values, tags, losses."""
    tagged = replace(model("w4a4", 4), tags={"train_seed": 3})
    cells = [
        cell(model("float"), CLEAN, 1),
        replace(cell(tagged, attack(8), 4), targets=np.full(N, 2), values={"radius": np.linspace(0, 1, N)}),
        replace(cell(tagged, jpeg(1), 2), losses=np.full(N, 0.5, np.float32), ranks=np.zeros(N, np.int32)),
    ]
    with bp.Store(tmp_path / "s.db") as opened:
        run = opened.begin_run({})
        for one in cells:
            opened.append(one, run)
        opened.keep_files(DATA.fingerprint, {i: f"{i}.png" for i in range(100, 100 + N)})
        yield opened


@pytest.mark.parametrize(("suffix", "read"), [(".parquet", pd.read_parquet), (".csv", pd.read_csv)])
def test_the_export_of_a_store(store, tmp_path, suffix, read):
    assert export_store(store, tmp_path / f"a{suffix}") == 3 * N
    table = read(tmp_path / f"a{suffix}")
    whole = tidy(store.query(), store.files())
    assert list(table.columns) == list(whole.columns) and len(table) == 3 * N
    for name in whole:
        filled = [column.astype(object).where(column.notna(), None).tolist() for column in (table[name], whole[name])]
        assert filled[0] == pytest.approx(filled[1]) if whole[name].dtype.kind == "f" else filled[0] == filled[1], name


def test_pictures_are_read_when_they_are_looked_at(store, tmp_path):
    held = store.query()[0]
    assert "images" not in vars(held.pictures)
    fresh = store.get(held.key)
    assert (held.pictures.images == fresh.pictures.images).all() and len(held.pictures.rows) == len(
        fresh.pictures.images
    )
    first, second = store.query(kind="attack") + store.query(kind="corruption")
    assert first.model.tags == second.model.tags and next(store.each()).key == held.key


def test_nothing_to_export(tmp_path):
    with bp.Store() as empty:
        assert export_store(empty, tmp_path / "a.csv") == 0
        with pytest.raises(InputError, match="unknown export format"):
            export_store(empty, tmp_path / "a.xlsx")
