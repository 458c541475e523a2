"""Damage in a store: named, hiding nothing else, computed again."""

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

import bitproof as bp
from bitproof import records
from bitproof.errors import InputError
from bitproof.files import check_place
from bitproof.records import Cell
from bitproof.store import Store
from bitproof.store import store as pages
from bitproof.store.rows import checksum
from samples import make_cell

CELLS = [make_cell(model=name, n=5) for name in "abc"]


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "runs.db") as opened:
        run = opened.begin_run({})
        for cell in CELLS:
            opened.append(cell, run)
        yield opened


def put(store, change, arrays=lambda a: a):
    """Change the record of "b", under the right checksum."""
    content, packed = records.pack(CELLS[1])
    content, packed = change(json.loads(content)), arrays(packed)
    text = content if isinstance(content, str) else json.dumps(content)
    row = (text, packed, checksum("cell", text, packed), CELLS[1].key)
    store._db.execute("UPDATE records SET content = ?, arrays = ?, checksum = ? WHERE key = ?", row)
    store._db.commit()


CHANGES = {
    "no JSON": lambda c: "{",
    "too deep": lambda c: "[" * 100_000,
    "null": lambda c: "null",
    "a list": lambda c: [c],
    "a field missing": lambda c: {k: v for k, v in c.items() if k != "seed"},
    "another field": lambda c: {**c, "more": 1},
    "a seed that is text": lambda c: {**c, "seed": "0"},
    "a seed that is true": lambda c: {**c, "seed": True},
    "a digit too many": lambda c: json.dumps(c).replace('"seed": 0', f'"seed": {"9" * 5000}'),
    "a model that is a list": lambda c: {**c, "model": []},
    "classes that are text": lambda c: {**c, "data": {**c["data"], "classes": "012"}},
    "a scheme that is a number": lambda c: {**c, "model": {**c["model"], "scheme": 8}},
    "an array in the text": lambda c: {**c, "frames": {"a": 1}},
    "another key": lambda c: {**c, "seed": 1},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_wrong_content_hides_nothing_else_and_is_written_again(store, change):
    put(store, change)
    assert [cell.model.name for cell in store.query()] == ["a", "c"] and list(store.damaged) == [CELLS[1].key]
    assert [cell.model.name for cell in store.query(model="c", kind="clean")] == ["c"]
    assert store.missing(cell.key for cell in CELLS) == {CELLS[1].key}
    store.append(CELLS[1], 1)
    assert [cell.model.name for cell in store.query()] == ["a", "c", "b"]


@pytest.fixture
def small_pages(monkeypatch):
    """So small that the keys of a few results take several."""
    monkeypatch.setattr(pages, "_PAGE_BYTES", 4096)


@pytest.mark.parametrize("seed", range(3))
def test_damaged_pages_hide_no_other_results_and_nothing_is_written(seed, tmp_path, small_pages):
    path, cells = tmp_path / "runs.db", [make_cell(model=f"m{i}", n=5) for i in range(60)]
    with Store(path) as opened:
        run = opened.begin_run({})
        for cell in cells:
            opened.append(cell, run)
    whole = bytearray(path.read_bytes())
    leaves = [page for page in range(len(whole) // 4096) if page and whole[4096 * page] == 0x0A]  # with the keys
    for page in np.random.default_rng(seed).choice(leaves, 2, replace=False):
        whole[4096 * page : 4096 * (page + 1)] = b"\xff" * 4096
    path.write_bytes(whole)
    with Store(path, readonly=True) as reader:
        found = {cell.key for cell in reader.query()}
        lost = {cell.key for cell in cells} - found
        starts = tuple(key.removesuffix("...") for key in reader.damaged)
        assert reader.environments() and len(found) > 20
        assert lost and len(lost) < 30 and all(key.startswith(starts) for key in lost)
    assert path.read_bytes() == whole
    with Store(path) as writer, pytest.raises(InputError, match="malformed.*`bitproof report` and `bitproof export`"):
        writer.query()


def test_a_page_written_over_by_another_is_named_and_no_run_goes_on(tmp_path, small_pages):
    path, cells = tmp_path / "runs.db", [make_cell(model=f"m{i}", n=5) for i in range(30)]
    with Store(path) as opened:
        run = opened.begin_run({})
        for cell in cells:
            opened.append(cell, run)
    whole = bytearray(path.read_bytes())
    one, other = [page for page in range(len(whole) // 4096) if page and whole[4096 * page] == 0x0A][:2]
    whole[4096 * one : 4096 * (one + 1)] = whole[4096 * other : 4096 * (other + 1)]
    path.write_bytes(whole)
    with Store(path, readonly=True) as reader:
        found = [cell.key for cell in reader.query()]
        assert len(found) == len(set(found)) < 30 and list(reader.damaged) == ["..."]
    with Store(path) as writer, pytest.raises(InputError, match="malformed.*start a new store"):
        writer.begin_run({})
    with Store(path) as writer, pytest.raises(InputError, match="malformed.*start a new store"):
        writer.query()


@pytest.mark.parametrize("readonly", [False, True])
def test_a_schema_that_is_no_text_is_explained(readonly, store):
    store.close()
    whole = bytearray(store.path.read_bytes())
    whole[whole.find(b"CREATE") + 7] = 0xE6
    store.path.write_bytes(whole)
    with pytest.raises(InputError, match="malformed database schema.*Restore the file"):
        Store(store.path, readonly=readonly)


def test_a_link_to_a_folder_that_is_not_there_names_that_folder(tmp_path):
    (tmp_path / "link.db").symlink_to("nowhere/runs.db")
    for refused in (lambda path: Store(path), lambda path: check_place(path, "a store")):
        with pytest.raises(InputError, match="the folder '.*/nowhere' does not exist"):
            refused(tmp_path / "link.db")


WRONG = {
    "shorter": {"ids": np.arange(4)},
    "floats": {"ids": np.arange(5.0)},
    "two axes": {"ids": np.zeros((5, 1), np.int64)},
    "text": {"ids": np.array(["x"] * 5)},
    "for a number": {"seed": np.arange(5)},
}


@pytest.mark.parametrize("changed", WRONG.values(), ids=WRONG)
def test_wrong_arrays_are_named(store, changed, tmp_path):
    def arrays(packed):
        (tmp_path / "a.npz").write_bytes(packed)
        with np.load(tmp_path / "a.npz") as stored:
            np.savez(tmp_path / "a.npz", **{**dict(stored), **changed})
        return (tmp_path / "a.npz").read_bytes()

    put(store, lambda c: c, arrays)
    assert [cell.model.name for cell in store.query()] == ["a", "c"] and list(store.damaged) == [CELLS[1].key]


def test_bytes_that_are_no_text_hide_nothing_else(store):
    store._db.execute("UPDATE records SET content = CAST(x'7bff' AS TEXT) WHERE key = ?", (CELLS[1].key,))
    store._db.execute("UPDATE runs SET environment = CAST(x'7bff' AS TEXT)")
    assert [cell.model.name for cell in store.query()] == ["a", "c"]
    assert store.environments() == {1: {"damaged": True}}


def test_arrays_that_claim_too_much_are_not_inflated(monkeypatch):
    content, packed = records.pack(CELLS[0])
    monkeypatch.setattr("bitproof.records.codec.MOST_BYTES", 100)
    with pytest.raises(InputError, match=r"a stored cell is damaged \(its members claim .* and 100 are the most\)"):
        records.unpack(Cell, content, packed)


@pytest.mark.parametrize("statement", ["RENAME COLUMN checksum TO sum", "ADD COLUMN more TEXT"])
def test_other_columns_are_named(store, statement):
    store._db.execute(f"ALTER TABLE records {statement}")
    with pytest.raises(InputError, match="table 'records' of .* has the columns key, kind.*: they are key, kind"):
        Store(store.path)


def test_a_store_is_a_file(tmp_path):
    for path in (Path("/dev/null"), tmp_path):
        for readonly in (False, True):
            with pytest.raises(InputError, match=r"is a (folder|device or a pipe): a store is a file") as refusal:
                Store(path, readonly=readonly)
            assert str(path) in str(refusal.value)


def test_evaluate_computes_a_damaged_result_again_and_no_other(tmp_path):
    data, path = bp.load_data("digits", limit=16), tmp_path / "runs.db"
    model = bp.load_model("digits_cnn")
    conditions = ["clean", "gaussian-noise:severity=3"]
    before = bp.evaluate(model, data, conditions=conditions, store=path, progress=False)
    db = sqlite3.connect(path)
    ((key, packed),) = db.execute("SELECT key, arrays FROM records WHERE content LIKE '%corruption%'").fetchall()
    for place in (len(packed) // 2, 8):  # an array; the way it is compressed
        damaged = bytearray(packed)
        damaged[place] ^= 4
        db.execute("UPDATE records SET arrays = ? WHERE key = ?", (bytes(damaged), key))
        db.commit()
        again = bp.evaluate(model, data, conditions=conditions, store=path, progress=False)
        assert (again.computed, again.reused) == (1, 1) and list(again.damaged) == [key]
        assert all(np.array_equal(a.predictions, b.predictions) for a, b in zip(before.cells, again.cells, strict=True))
    db.close()
