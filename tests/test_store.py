import contextlib
import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
import zlib
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitproof import records
from bitproof.errors import InputError
from bitproof.export import export, tidy
from bitproof.records import ARRAYS, Cell, cell_key
from bitproof.store import Store
from samples import make_cell


def equal(a: Cell, b: Cell) -> bool:
    parts = ("model", "condition", "data", "seed", "forwards", "backwards", "seconds")
    arrays = all(
        np.array_equal(getattr(a, n), getattr(b, n)) and getattr(a, n).dtype == getattr(b, n).dtype for n in ARRAYS
    )
    pictures = np.array_equal(a.pictures.images, b.pictures.images) and np.array_equal(a.pictures.rows, b.pictures.rows)
    return arrays and pictures and all(getattr(a, p) == getattr(b, p) for p in parts)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 50), seed=st.integers(0, 100), name=st.text(min_size=1), forwards=st.integers(0, 2**60))
def test_a_cell_survives_the_store(n, seed, name, forwards):
    cell = make_cell(model=name, n=n, seed=seed, forwards=forwards)
    with Store() as store:
        store.append(cell, store.begin_run({}))
        assert cell.key in store
        assert equal(store.get(cell.key), cell)
        assert equal(store.query()[0], cell)


def test_what_only_some_cells_have_survives_the_store():
    cell = make_cell(n=3)
    full = replace(cell, seed=1, digests=np.array([0, 1, 2**64 - 1], np.uint64), frames=np.arange(6).reshape(3, 2))
    with Store() as store:
        run = store.begin_run({})
        for each in (cell, full):
            store.append(each, run)
        plain, found = store.get(cell.key), store.get(full.key)
    assert plain.digests is None and plain.frames is None
    assert found.digests.dtype == np.uint64
    np.testing.assert_array_equal(found.digests, full.digests)
    np.testing.assert_array_equal(found.frames, full.frames)


def test_the_key_covers_what_decides_and_ignores_names():
    cell = make_cell()
    keys = {
        cell.key,
        replace(cell, seed=1).key,
        replace(cell, model=replace(cell.model, fingerprint="other")).key,
        replace(cell, condition=replace(cell.condition, setting={"eps": 1})).key,
        replace(cell, condition=replace(cell.condition, kind="attack")).key,
        replace(cell, data=replace(cell.data, fingerprint="other")).key,
    }
    assert len(keys) == 6
    respelled = replace(cell.model, name="other", scheme={"weight_bits": 3})  # the quantizers are in the fingerprint
    renamed = replace(cell, model=respelled, condition=replace(cell.condition, label="other"))
    assert renamed.key == cell.key == cell_key(cell.model, cell.condition, cell.data, cell.seed)


def test_a_stored_cell_is_never_overwritten():
    cell = make_cell()
    with Store() as store:
        run = store.begin_run({})
        store.append(cell, run)
        store.append(replace(cell, seconds=99.0), run)
        assert len(store) == 1
        assert store.get(cell.key).seconds == cell.seconds


def test_queries_select():
    with Store() as store:
        run = store.begin_run({"commit": "abc"})
        for model in ("a", "b"):
            for kind in ("clean", "attack"):
                store.append(make_cell(model=model, kind=kind, label=f"{kind} x"), run)
        assert [c.model.name for c in store.query()] == ["a", "a", "b", "b"]
        assert [(c.model.name, c.condition.kind) for c in store.query(model="b", kind="attack")] == [("b", "attack")]
        assert store.query(data="nothing") == []
        assert store.environments() == {1: {"commit": "abc"}}
        with pytest.raises(InputError, match="Did you mean 'attack'"):
            store.query(kind="atack")


def test_exports_hold_every_example(tmp_path):
    cells = [make_cell(model=m, n=7) for m in ("a", "b")]
    for suffix, read in ((".parquet", pd.read_parquet), (".csv", pd.read_csv)):
        path = tmp_path / f"cells{suffix}"
        assert export(cells, path) == 14
        table = read(path)
        pd.testing.assert_frame_equal(table.fillna(""), tidy(cells).fillna(""), check_dtype=False, rtol=1e-5)
        assert list(table["prediction"][:7]) == cells[0].predictions.tolist()
    with pytest.raises(InputError, match="unknown export format '.xls'"):
        export(cells, tmp_path / "cells.xls")
    with pytest.raises(InputError, match="cannot write"):
        export(cells, tmp_path / "missing" / "cells.csv")


def test_a_reader_sees_complete_cells_while_a_run_writes(tmp_path):
    path = tmp_path / "runs.db"
    with Store(path) as writer:
        run = writer.begin_run({})
        writer.append(make_cell(model="a"), run)
        writer._db.execute("BEGIN IMMEDIATE")  # a transaction in flight
        with Store(path, readonly=True) as reader:
            assert [c.model.name for c in reader.query()] == ["a"]
            writer._db.rollback()
            writer.append(make_cell(model="b"), run)
            assert len(reader) == 2


WRITER = """
    import sys
    from samples import make_cell
    from bitproof.store import Store
    with Store(sys.argv[1]) as store:
        run = store.begin_run({})
        for i in range(int(sys.argv[3])):
            store.append(make_cell(model=f"{sys.argv[2]}{i}", n=500), run)
            print(i, flush=True)
"""


def writer(path, prefix, count) -> subprocess.Popen:
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(path), prefix, str(count)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_two_processes_share_a_store(tmp_path):
    path = tmp_path / "runs.db"
    processes = [writer(path, prefix, 30) for prefix in "ab"]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    with Store(path, readonly=True) as store:
        assert len(store.query()) == 60
        assert store._db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_a_killed_writer_leaves_every_cell_it_had_finished(tmp_path):
    path = tmp_path / "runs.db"
    with writer(path, "a", 10_000) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 5:
                break
        process.send_signal(signal.SIGKILL)
    with Store(path) as store:
        assert len(store.query()) >= 6
        assert store._db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_a_full_disk_loses_nothing(tmp_path):
    path = tmp_path / "runs.db"
    with Store(path) as store:
        run = store.begin_run({})
        store.append(make_cell(model="kept"), run)
        pages = store._db.execute("PRAGMA page_count").fetchone()[0]
        store._db.execute(f"PRAGMA max_page_count = {pages + 1}")  # SQLite then says SQLITE_FULL, as on a full disk
        with pytest.raises(InputError, match=r"full.*Free some space and run the same command again: nothing is lost"):
            store.append(make_cell(model="big", n=100_000), run)
    with Store(path) as store:
        assert [c.model.name for c in store.query()] == ["kept"]


def test_a_store_that_cannot_be_written_can_be_read(tmp_path):
    path = tmp_path / "runs.db"
    with Store(path) as store:
        store.append(make_cell(), store.begin_run({}))
    with Store(path, readonly=True) as store:
        assert len(store.query()) == 1
        with pytest.raises(InputError, match="readonly.*Make the file and its folder writable"):
            store.begin_run({})


def test_a_newer_schema_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "runs.db"
    Store(path).close()
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {records.SCHEMA + 1}")
    db.close()
    for readonly in (True, False):
        with pytest.raises(
            InputError, match=f"schema version {records.SCHEMA + 1}.*reads version {records.SCHEMA}.*Update bitproof"
        ):
            Store(path, readonly=readonly)


def test_other_files_are_refused_and_left_alone(tmp_path):
    text, foreign = tmp_path / "text.db", tmp_path / "foreign.db"
    text.write_text("hello " * 1000)
    db = sqlite3.connect(foreign)
    db.execute("CREATE TABLE mine (x)")
    db.commit()
    db.close()
    before = text.read_bytes()
    with pytest.raises(InputError, match="not a database.*Choose another path"):
        Store(text)
    assert text.read_bytes() == before
    with pytest.raises(InputError, match="not a bitproof store"):
        Store(foreign)
    with pytest.raises(InputError, match="there is no store at"):
        Store(tmp_path / "missing.db", readonly=True)
    assert not (tmp_path / "missing.db").exists()
    with pytest.raises(InputError, match="folder .* does not exist"):
        Store(tmp_path / "missing" / "runs.db")


def test_no_pickle_is_read_from_a_store(tmp_path):
    path = tmp_path / "runs.db"
    buffer = io.BytesIO()
    names = (*ARRAYS, "pictures.rows", "pictures.images")
    np.savez(buffer, **dict.fromkeys(names, np.array([object()], dtype=object)))
    with Store(path) as store:
        store.append(make_cell(), store.begin_run({}))
        for checked in (False, True):  # by its checksum, or by its reader where the checksum was forged too
            (content,) = store._db.execute("SELECT content FROM records").fetchone()
            forged = zlib.crc32(buffer.getvalue(), zlib.crc32(b"cell" + content.encode())) if checked else 0
            store._db.execute("UPDATE records SET arrays = ?, checksum = ?", (buffer.getvalue(), forged))
            store._db.commit()
            assert store.query() == [] and len(store.damaged) == 1
            with pytest.raises(InputError, match="damaged"):
                store.get(make_cell().key)


def test_a_record_holds_plain_data_alone():
    """What a reader in another language needs: JSON of its content, arrays by name, nothing else."""
    cell = make_cell(n=3)
    content, arrays = records.pack(cell)
    assert json.loads(content)["condition"] == asdict(cell.condition)
    with np.load(io.BytesIO(arrays), allow_pickle=False) as stored:
        assert {*ARRAYS, "pictures.rows", "pictures.images"} == set(stored.files)
    with pytest.raises(TypeError):
        records.pack(replace(cell, condition=replace(cell.condition, setting={"odd": object()})))


def test_one_damaged_record_hides_no_other_and_is_computed_anew(tmp_path):
    path = tmp_path / "runs.db"
    cells = [make_cell(model=name) for name in "abc"]
    with Store(path) as store:
        run = store.begin_run({})
        for cell in cells:
            store.append(cell, run)
    db = sqlite3.connect(path)
    db.execute("UPDATE records SET content = replace(content, '\"b\"', '\"x\"')")
    db.commit()
    db.close()
    with Store(path) as store:
        assert [c.model.name for c in store.query()] == ["a", "c"]
        assert list(store.damaged) == [cells[1].key] and store.missing([c.key for c in cells]) == {cells[1].key}
        store.append(cells[1], run)
        assert [c.model.name for c in store.query()] == ["a", "c", "b"] and not store.damaged


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_is_noticed_and_named(place, bit):
    cell = make_cell(n=5)
    content, arrays = records.pack(cell)
    whole = bytearray(content.encode() + arrays)
    whole[place % len(whole)] ^= 1 << bit
    parts = bytes(whole[: len(content)]).decode("latin1"), bytes(whole[len(content) :])
    with Store() as store:
        store.append(cell, store.begin_run({}))
        store._db.execute("UPDATE records SET content = ?, arrays = ?", parts)
        assert store.query() == [] and cell.key in store.damaged
    with contextlib.suppress(InputError):  # nor does the reader itself break on it
        records.unpack(Cell, *parts)


def test_a_log_beside_a_store_that_cannot_be_written_is_read_too(tmp_path, monkeypatch):
    """A running store, copied to where nothing can be written: its last results lie in the log alone."""
    live, copied = tmp_path / "live.db", tmp_path / "copied.db"
    with Store(live) as store:
        run = store.begin_run({})
        for i in range(5):
            store.append(make_cell(model=f"m{i}"), run)
        shutil.copyfile(live, copied)
        shutil.copyfile(f"{live}-wal", f"{copied}-wal")
    real = sqlite3.connect

    def connect(target, *args, **options):
        if "mode=ro" in str(target):  # what SQLite says in a folder that it may not write to
            raise sqlite3.OperationalError("unable to open database file")
        return real(target, *args, **options)

    monkeypatch.setattr(sqlite3, "connect", connect)
    with Store(copied, readonly=True) as store:
        assert len(store.query()) == 5


def test_a_foreign_database_is_left_exactly_as_it_was(tmp_path):
    for owner in (0, 77):
        path = tmp_path / f"{owner}.db"
        db = sqlite3.connect(path)
        db.execute(f"PRAGMA application_id = {owner}" if owner else "CREATE TABLE mine (x)")
        db.commit()
        db.close()
        before = path.read_bytes()
        with pytest.raises(InputError, match="not a bitproof store"):
            Store(path)
        assert path.read_bytes() == before and [p.name for p in tmp_path.glob(f"{owner}.db*")] == [f"{owner}.db"]


def test_what_only_new_kinds_of_cell_have_survives_the_store():
    cell = make_cell(n=3)
    values = {"radius": np.array([0.5, 0.0, np.inf]), "abstained": np.array([True, False, False])}
    full = replace(cell, seed=1, targets=np.array([1, -1, 2]), values=values)
    odd = replace(full, condition=replace(cell.condition, kind="of my own", eps=np.inf, norm="l2"))
    with Store() as store:
        run = store.begin_run({})
        for each in (cell, full, odd):
            store.append(each, run)
        found = store.get(full.key)
        assert found.targets.tolist() == [1, -1, 2] and found.values.keys() == values.keys()
        assert all(np.array_equal(found.values[name], array) for name, array in values.items())
        assert store.get(odd.key).condition == odd.condition
        assert store.query(kind="of my own")[0].key == odd.key
    assert {"target", "radius", "abstained"} <= set(tidy([full]).columns)
    dotted = records.plain(replace(full, values={"layer.1": np.array([0.5, np.inf, 1])}))
    assert dotted["values"] == {"layer.1": [0.5, "inf", 1.0]} and dotted["ids"] == [0, 1, 2]
    with pytest.raises(InputError, match="have .* entries: each has one an example"):
        replace(cell, values={"short": np.zeros(2)})


def test_an_export_is_whole_or_not_there(tmp_path, monkeypatch):
    path = tmp_path / "cells.csv"
    export([make_cell(n=3)], path)
    before = path.read_bytes()

    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full_disk)
    with pytest.raises(InputError, match="cannot write .*No space left.*disk with room"):
        export([make_cell(n=5)], path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["cells.csv"]
    stale = tmp_path / ".cells.0123abcd.tmp.csv"  # of a process that is no more
    stale.write_text("torn")
    monkeypatch.undo()
    export([make_cell(n=5)], path)
    assert not stale.exists()


def test_a_run_waits_for_another_ones_transaction(tmp_path):
    path = tmp_path / "runs.db"
    with Store(path) as one:
        run = one.begin_run({})
        process = writer(path, "b", 1)
        one._db.execute("BEGIN IMMEDIATE")
        time.sleep(0.5)
        one._db.rollback()
        one.append(make_cell(model="a"), run)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
        assert len(one) == 2
