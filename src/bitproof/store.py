"""Where results live: one SQLite file, one transaction a cell.

In write-ahead mode readers see the last complete cell while a run writes the next, a killed run loses
at most the cells it was computing, and two runs may share a file. Cells are immutable: a key that is
there already is never written again.
"""

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitproof import records
from bitproof.diagnosis import Diagnosis
from bitproof.errors import InputError, lookup
from bitproof.records import Cell, ConditionRecord, DataRecord, ModelRecord

if TYPE_CHECKING:
    import pandas as pd

_APPLICATION_ID = 0x62697470  # "bitp": marks the file as ours
_TABLES = """
CREATE TABLE runs (
    run INTEGER PRIMARY KEY, started REAL NOT NULL, environment TEXT NOT NULL
);
CREATE TABLE cells (
    key TEXT PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs, written REAL NOT NULL,
    model TEXT NOT NULL, condition TEXT NOT NULL, data TEXT NOT NULL, seed INTEGER NOT NULL,
    forwards INTEGER NOT NULL, backwards INTEGER NOT NULL, seconds REAL NOT NULL, arrays BLOB NOT NULL
) WITHOUT ROWID;
"""
_DIAGNOSES = """
CREATE TABLE IF NOT EXISTS diagnoses (
    key TEXT PRIMARY KEY, written REAL NOT NULL, content TEXT NOT NULL
) WITHOUT ROWID
"""
"""Made when there is a first one, so that stores without any stay as they were."""
_WAIT_S = 60.0
"""How long a writer waits for another process's transaction, which takes milliseconds."""


class Store:
    """The cells of one or many runs.

    Args:
        path: the file; created where there is none. None keeps everything in memory.
        readonly: open for reading only; works on files and folders that cannot be written.

    Raises:
        InputError: the file is missing (readonly), not a store, written by a newer bitproof, or cannot be
            read or written. Raised by every method, whenever the disk says so; what was stored stays.
    """

    def __init__(self, path: str | Path | None = None, *, readonly: bool = False) -> None:
        self.path = Path(path) if path is not None else None
        self.readonly = readonly
        with self._explained():
            self._db = self._connect()
            try:
                self._open_schema()
            except BaseException:
                self._db.close()
                raise

    def close(self) -> None:
        """Release the file."""
        self._db.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __contains__(self, key: str) -> bool:
        with self._explained():
            return self._db.execute("SELECT 1 FROM cells WHERE key = ?", (key,)).fetchone() is not None

    def __len__(self) -> int:
        with self._explained():
            return self._db.execute("SELECT count(*) FROM cells").fetchone()[0]

    def begin_run(self, environment: dict[str, Any]) -> int:
        """Note a new run and what it runs on (see `experiment.environment`); returns its number."""
        with self._explained(), self._db:
            row = self._db.execute(
                "INSERT INTO runs (started, environment) VALUES (?, ?)", (time.time(), json.dumps(environment))
            )
            assert row.lastrowid is not None
            return row.lastrowid

    def append(self, cell: Cell, run: int) -> None:
        """Write one cell in one transaction. Where its key is there already, that cell stays."""
        row = (
            cell.key,
            run,
            time.time(),
            *(json.dumps(asdict(part)) for part in (cell.model, cell.condition, cell.data)),
            cell.seed,
            cell.forwards,
            cell.backwards,
            cell.seconds,
            records.pack(cell),
        )
        with self._explained(), self._db:
            self._db.execute(f"INSERT OR IGNORE INTO cells VALUES ({','.join('?' * len(row))})", row)

    def get(self, key: str) -> Cell:
        """The cell with this key, which must be there."""
        with self._explained():
            row = self._db.execute("SELECT * FROM cells WHERE key = ?", (key,)).fetchone()
        assert row is not None, key
        return _cell(row)

    def query(self, *, model: str | None = None, kind: str | None = None, data: str | None = None) -> list[Cell]:
        """All cells in the order of writing, or those of one model name, kind of condition or data set.

        Example:
            >>> Store().query(kind="attack")
            []
        """
        if kind is not None:
            lookup(dict.fromkeys(records.KINDS), kind, "kind of condition")
        filters = {"model ->> 'name'": model, "condition ->> 'kind'": kind, "data ->> 'name'": data}
        used = {column: value for column, value in filters.items() if value is not None}
        where = " AND ".join(f"{column} = ?" for column in used) or "1"
        with self._explained():
            rows = self._db.execute(f"SELECT * FROM cells WHERE {where} ORDER BY written, key", tuple(used.values()))
            return [_cell(row) for row in rows]

    def append_diagnosis(self, diagnosis: Diagnosis) -> None:
        """Write one diagnosis in one transaction. Where its key is there already, that one stays."""
        with self._explained(), self._db:
            self._db.execute(_DIAGNOSES)
            row = (diagnosis.key, time.time(), diagnosis.to_json())
            self._db.execute("INSERT OR IGNORE INTO diagnoses VALUES (?, ?, ?)", row)

    def diagnoses(self) -> dict[str, Diagnosis]:
        """All diagnoses by key, in the order of writing."""
        with self._explained():
            if not self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'diagnoses'").fetchone():
                return {}
            rows = self._db.execute("SELECT key, content FROM diagnoses ORDER BY written, key").fetchall()
        return {row["key"]: Diagnosis.from_json(row["content"]) for row in rows}

    def environments(self) -> dict[int, dict[str, Any]]:
        """What each run ran on, by run number."""
        with self._explained():
            rows = self._db.execute("SELECT run, environment FROM runs ORDER BY run").fetchall()
        return {row["run"]: json.loads(row["environment"]) for row in rows}

    def _connect(self) -> sqlite3.Connection:
        if self.path is None:
            return _configured(sqlite3.connect(":memory:"))
        if self.readonly:
            if not self.path.is_file():
                raise InputError(
                    f"there is no store at {str(self.path)!r}",
                    rule="a report reads a store that a run has written",
                    remedy="Check the path, or run `bitproof evaluate ... --store PATH` first",
                )
            base = self.path.resolve().as_uri()
            try:
                db = _configured(sqlite3.connect(f"{base}?mode=ro", uri=True, timeout=_WAIT_S))
                db.execute("SELECT count(*) FROM sqlite_master").fetchone()
                return db
            except sqlite3.OperationalError:  # a write-ahead file in a folder that cannot be written
                return _configured(sqlite3.connect(f"{base}?immutable=1", uri=True))
        if not self.path.parent.is_dir():
            raise InputError(
                f"the folder {str(self.path.parent)!r} does not exist",
                rule="a store is created in an existing folder",
                remedy="Create the folder or choose another path",
            )
        db = _configured(sqlite3.connect(self.path, timeout=_WAIT_S))
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")  # safe against kill -9; a power cut may lose the last cells
        return db

    def _open_schema(self) -> None:
        version, owner = (
            self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "application_id")
        )
        empty = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if empty and not self.readonly:
            self._create()
        elif owner != _APPLICATION_ID:
            raise InputError(
                f"{str(self.path)!r} is not a bitproof store",
                rule="a store is an SQLite file that bitproof created",
                remedy="Choose another path for the store",
            )
        elif version > records.SCHEMA:
            raise InputError(
                f"{str(self.path)!r} has schema version {version}",
                rule=f"this bitproof reads versions up to {records.SCHEMA}",
                remedy="Update bitproof, or choose another path for the store",
            )

    def _create(self) -> None:
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")  # of two processes that find the file empty, one creates the tables
            if self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
                for statement in filter(str.strip, _TABLES.split(";")):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                self._db.execute(f"PRAGMA user_version = {records.SCHEMA}")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what SQLite says about the disk into a message with a remedy."""
        try:
            yield
        except sqlite3.Error as error:
            rule, remedy = next(
                ((rule, remedy) for text, rule, remedy in _CAUSES if text in str(error)),
                ("SQLite could not use the file", "Check the disk and the file, or choose another path for the store"),
            )
            raise InputError(f"store {str(self.path)!r}: {error}", rule=rule, remedy=remedy) from error


_CAUSES = (
    ("full", "each result needs room on the disk", "Free some space and run the same command again: nothing is lost"),
    (
        "disk I/O",
        "each result needs room on the disk",
        "Free some space and run the same command again: nothing is lost",
    ),
    (
        "readonly",
        "a run writes its results",
        "Make the file and its folder writable or choose another path for the store",
    ),
    ("unable to open", "a run writes its results", "Make the folder writable or choose another path for the store"),
    ("not a database", "a store is an SQLite file that bitproof created", "Choose another path for the store"),
    ("malformed", "a store is an SQLite file that bitproof created", "Restore the file from a copy or start a new one"),
    ("locked", f"a writer waits {_WAIT_S:.0f} s for another one", "See what else holds the file, then run again"),
)


def _configured(db: sqlite3.Connection) -> sqlite3.Connection:
    db.row_factory = sqlite3.Row
    return db


def _cell(row: sqlite3.Row) -> Cell:
    data = json.loads(row["data"])
    return Cell(
        model=ModelRecord(**json.loads(row["model"])),
        condition=ConditionRecord(**json.loads(row["condition"])),
        data=DataRecord(**{**data, "classes": tuple(data["classes"])}),
        **{name: row[name] for name in ("seed", "forwards", "backwards", "seconds", "run")},
        **records.unpack(row["arrays"]),
    )


def tidy(cells: Iterable[Cell]) -> "pd.DataFrame":
    """One row an example: what was tested, label, prediction, confidence, distances. The export's content."""
    import pandas as pd

    frames = [
        pd.DataFrame(
            {
                "data": cell.data.name,
                "split": cell.data.split,
                "model": cell.model.name,
                "weight_bits": cell.model.weight_bits,
                "act_bits": cell.model.act_bits,
                "kind": cell.condition.kind,
                "condition": cell.condition.label,
                "seed": cell.seed,
                "key": cell.key,
                **{("id" if name == "ids" else name.rstrip("s")): getattr(cell, name) for name in records.ARRAYS},
            }
        )
        for cell in cells
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def export(cells: Iterable[Cell], path: str | Path) -> int:
    """Write `tidy(cells)` to a .parquet or .csv file; returns the number of rows.

    Raises:
        InputError: another suffix, or a path that cannot be written.
    """
    path = Path(path)
    writers = {".parquet": "to_parquet", ".csv": "to_csv"}
    writer = lookup(writers, path.suffix, "export format")
    table = tidy(cells)
    with _writing(path):
        getattr(table, writer)(path, index=False)
    return len(table)


def export_diagnoses(diagnoses: Iterable[Diagnosis], path: str | Path) -> int:
    """Write diagnoses of masked gradients as a JSON list; returns their number.

    Raises:
        InputError: a path that cannot be written.
    """
    listed = [json.loads(diagnosis.to_json()) for diagnosis in diagnoses]
    with _writing(path):
        Path(path).write_text(json.dumps(listed, indent=2) + "\n")
    return len(listed)


@contextmanager
def _writing(path: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot write {str(path)!r} ({error.strerror or error})",
            rule="the export is one file",
            remedy="Choose a writable path on a disk with room",
        ) from error
