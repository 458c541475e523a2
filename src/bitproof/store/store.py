"""Where results live: one SQLite file, one transaction a record.

In write-ahead mode readers see the last complete record while a run writes the next, a killed run loses
at most the records it was computing, and two runs may share a file. Records are immutable: a key that is
there already is never written again, unless what lies there is damaged.
"""

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bitproof import records
from bitproof.errors import InputError, kind_of, lookup
from bitproof.records import RECORDS, SCHEMA, Cell, LaterPictures, Record, Shared
from bitproof.store.opening import DAMAGED, MALFORMED, connect, explained
from bitproof.store.rows import checksum, environment, inside, unpacked

_APPLICATION_ID = 0x62697470  # "bitp": marks the file as ours
_PAGE_BYTES = 2**14  # a record is some hundred kilobytes, which SQLite reads page by page: three times as fast as 4 KB
_TABLES = """
CREATE TABLE runs (
    run INTEGER PRIMARY KEY, started REAL NOT NULL, environment TEXT NOT NULL
);
CREATE TABLE records (
    key TEXT PRIMARY KEY, kind TEXT NOT NULL, run INTEGER NOT NULL REFERENCES runs, written REAL NOT NULL,
    content TEXT NOT NULL, arrays BLOB, checksum INTEGER NOT NULL
) WITHOUT ROWID;
"""
_COLUMNS = {"runs": "run started environment", "records": "key kind run written content arrays checksum"}
_ROWS = "SELECT key, kind, run, content, arrays, checksum FROM records"
_LATER = "pictures.images"
"""The array of a cell that is read when it is looked at."""

_NARROWEST = 3  # digits of a key by which lost results are looked for: 4,096 ranges


class Store:
    """The records of one or many runs.

    Args:
        path: the file; created where there is none. None keeps everything in memory.
        readonly: open for reading only; works on files and folders that cannot be written.

    Attributes:
        damaged: keys of records that were found damaged so far, and why; they count as missing. A key that ends in
            "..." stands for all that begin so: a damaged page of the file held them.

    Raises:
        InputError: the file is missing (readonly), not a store, written by another version of bitproof, or cannot be
            read or written. Raised by every method, whenever the disk says so; what was stored stays.
    """

    def __init__(self, path: str | Path | None = None, *, readonly: bool = False) -> None:
        self.path = Path(path) if path is not None else None
        self.readonly = readonly
        self.damaged: dict[str, str] = {}
        self._copy = ExitStack()
        self._checked = False
        with self._explained():
            self._db = connect(self.path, readonly=readonly, copies=self._copy)
            try:
                self._open_schema()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Release the file."""
        self._db.close()
        self._copy.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __contains__(self, key: str) -> bool:
        return not self.missing([key])

    def __len__(self) -> int:
        with self._explained():
            return self._db.execute("SELECT count(*) FROM records").fetchone()[0]

    def begin_run(self, environment: dict[str, Any]) -> int:
        """Note a new run and what it runs on (see `experiment.environment`); returns its number."""
        with self._explained(), self._db:
            self._check_pages()
            row = self._db.execute(
                "INSERT INTO runs (started, environment) VALUES (?, ?)", (time.time(), json.dumps(environment))
            )
            assert row.lastrowid is not None
            return row.lastrowid

    def append(self, record: Record, run: int) -> None:
        """Write one record in one transaction. Where its key is there already, that record stays."""
        kind = next((name for name, known in RECORDS.items() if isinstance(record, known)), None)
        if kind is None:
            raise InputError(
                f"{kind_of(record)} as a record",
                rule=f"a store keeps {', '.join(known.__name__ for known in RECORDS.values())}",
                remedy="Add its class to bitproof.records.RECORDS",
            )
        content, arrays = records.pack(record)
        row = (record.key, kind, run, time.time(), content, arrays, checksum(kind, content, arrays))
        how = "REPLACE" if self.damaged.pop(record.key, None) else "IGNORE"
        with self._explained(), self._db:
            self._db.execute(f"INSERT OR {how} INTO records VALUES ({','.join('?' * len(row))})", row)

    def missing(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys under which nothing lies, or only something damaged."""
        lacking = set(keys)
        for key in list(lacking):
            row = self._row(key)
            if row is not None and self._record(row) is not None:
                lacking.discard(key)
        return lacking

    def get(self, key: str) -> Any:
        """The record with this key, which must be there.

        Raises:
            InputError: it is damaged.
        """
        row = self._row(key)
        if row is None:
            raise InputError(f"the result {key[:8]} is not in the store", rule=DAMAGED[0], remedy=DAMAGED[1])
        return unpacked(row)

    def query(
        self, what: str | None = "cell", *, model: str | None = None, kind: str | None = None, data: str | None = None
    ) -> list[Any]:
        """All records of a kind in the order of writing, or those of one model name or data set.

        Damaged ones are left out; `damaged` says which. Damaged pages are passed over in reading only.

        Args:
            what: the kind of record, a name in `bitproof.records.RECORDS`; None = every kind.
            model, data: names.
            kind: of condition, for cells.

        Example:
            >>> Store().query(kind="attack")
            []
        """
        if what is not None:
            lookup(RECORDS, what, "kind of record")
        if kind is not None:
            lookup(dict.fromkeys([*records.KINDS, *self._kinds()]), kind, "kind of condition")
        filters = {"model.name": model, "condition.kind": kind, "data.name": data}
        used = {path: value for path, value in filters.items() if value is not None}
        asked = {"kind": what} if what is not None else {}
        asked |= {inside(path): value for path, value in used.items()}
        where = " AND ".join(f"{column} = ?" for column in asked) or "1"
        with self._explained():
            with self._salvaging():
                rows = self._ordered(where, tuple(asked.values()))
                shared = Shared(without=_LATER if self.path is not None else None)
                found = {row["key"]: self._light(row, shared) for row in rows}  # pages may come twice
                self._check_pages()
                return [record for record in found.values() if record is not None]
            rows = self._salvaged(f"{_ROWS} WHERE {where}", tuple(asked.values()))
            return [record for record in map(self._record, rows) if record is not None]

    def each(self, what: str = "cell") -> Iterator[Any]:
        """The records of a kind in the order of writing, one at a time; damaged ones are left out as in `query`."""
        lookup(RECORDS, what, "kind of record")
        with self._explained():
            keys = []
            with self._salvaging():
                keys = self._keys("kind = ?", (what,))
                self._check_pages()
            if not keys:  # none, or no order among what can still be reached
                keys = [row["key"] for row in self._salvaged("SELECT key FROM records WHERE kind = ?", (what,))]
        shared = Shared(without=_LATER if self.path is not None else None)
        for key in keys:
            row = self._row(key)
            if row is not None and (found := self._light(row, shared)) is not None:
                yield found

    def environments(self) -> dict[int, dict[str, Any]]:
        """What each run ran on, by run number."""
        rows = []
        with self._explained(), self._salvaging():
            rows = self._db.execute("SELECT run, environment FROM runs ORDER BY run").fetchall()
        return {row["run"]: environment(row["environment"]) for row in rows}

    def started(self) -> dict[int, float]:
        """When each run began, in seconds since 1970, by run number."""
        rows = []
        with self._explained(), self._salvaging():
            rows = self._db.execute("SELECT run, started FROM runs ORDER BY run").fetchall()
        return {row["run"]: row["started"] for row in rows if isinstance(row["started"], float)}

    def keep_files(self, data: str, names: Mapping[int, str]) -> None:
        """Keep the files of the examples of a data set (its fingerprint), by their numbers."""
        with self._explained(), self._db:
            self._db.execute("CREATE TABLE IF NOT EXISTS files (data TEXT PRIMARY KEY, names BLOB NOT NULL)")
            self._db.execute("INSERT OR IGNORE INTO files VALUES (?, ?)", (data, records.pack_names(names)))

    def files(self) -> dict[str, dict[int, str]]:
        """The files of examples by the fingerprint of their data and their numbers; damaged names are left out."""
        found: dict[str, dict[int, str]] = {}
        with self._explained(), self._salvaging():
            if self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'files'").fetchone():
                for row in self._db.execute("SELECT data, names FROM files"):
                    with suppress(InputError):
                        found[row["data"]] = records.unpack_names(row["names"])
        return found

    def _kinds(self) -> list[str]:
        """The kinds of condition that lie here, those of somebody's own among them."""
        with self._explained():
            kinds = f"SELECT DISTINCT {inside('condition.kind')} AS kind FROM records WHERE kind = 'cell'"
            rows = self._db.execute(kinds).fetchall()
        return [row["kind"] for row in rows if row["kind"]]

    def _keys(self, where: str, values: tuple[Any, ...]) -> list[str]:
        """The keys of some records, in the order of writing."""
        rows = self._db.execute(f"SELECT key FROM records WHERE {where} ORDER BY written, key", values)
        return [row["key"] for row in rows]

    def _ordered(self, where: str, values: tuple[Any, ...]) -> Iterator[sqlite3.Row]:
        """Rows in the order of writing, looked up one by one: sorted whole, they would all be copied once more."""
        for key in self._keys(where, values):
            yield from self._db.execute(f"{_ROWS} WHERE key = ?", (key,))

    def _row(self, key: str) -> sqlite3.Row | None:
        with self._explained():
            return self._db.execute(f"{_ROWS} WHERE key = ?", (key,)).fetchone()

    @contextmanager
    def _salvaging(self) -> Iterator[None]:
        """Let pass that pages are damaged, where nothing is written."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if not (self.readonly and MALFORMED in str(error)):
                raise

    def _check_pages(self) -> None:
        """Look, once for all, whether the pages are those that belong to each other: SQLite reads past one that another
        page of the file was written over, and what was on it is lost without a word."""
        if not self._checked and self._db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            if not self.readonly:
                raise sqlite3.DatabaseError(f"database disk image is {MALFORMED}")
            self.damaged["..."] = "a page of the file is damaged"
        self._checked = True

    def _salvaged(self, select: str, values: tuple[Any, ...], start: str = "") -> list[sqlite3.Row]:
        """The rows whose keys begin so that can still be reached: asked for in ever narrower ranges of keys."""
        asked = f"{select} AND key >= ? AND key < ? ORDER BY key"
        with self._salvaging():
            return self._db.execute(asked, (*values, start, f"{start}g")).fetchall()
        if len(start) == _NARROWEST:
            self.damaged[f"{start}..."] = "a page of the file is damaged"
            return []
        return [row for digit in "0123456789abcdef" for row in self._salvaged(select, values, start + digit)]

    def _record(self, row: sqlite3.Row, shared: Shared | None = None) -> Any:
        """The record in a row; of a damaged one it is noted why, and None returned."""
        try:
            return unpacked(row, shared)
        except InputError as error:
            self.damaged[str(row["key"])] = error.what
            return None

    def _light(self, row: sqlite3.Row, shared: Shared) -> Any:
        """The record in a row, with what it shares with others, and pictures that are read when they are looked at."""
        found = self._record(row, shared)
        if isinstance(found, Cell) and self.path is not None:
            later = partial(_images, self.path, found.key)
            found = replace(found, pictures=LaterPictures(found.pictures.rows, later))
        return found

    def _open_schema(self) -> None:
        version, owner = (
            self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "application_id")
        )
        empty = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if empty and not owner and not self.readonly:
            self._db.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._create()
        elif owner != _APPLICATION_ID:
            raise InputError(
                f"{str(self.path)!r} is not a bitproof store",
                rule="a store is an SQLite file that bitproof created",
                remedy="Choose another path for the store",
            )
        elif version != SCHEMA:
            raise InputError(
                f"{str(self.path)!r} has schema version {version}",
                rule=f"this bitproof reads version {SCHEMA}, whose keys cover more of a model and a condition",
                remedy="Update bitproof, or choose another path for the store"
                if version > SCHEMA
                else "Read it with the bitproof that wrote it, or choose another path and compute it anew",
            )
        else:
            self._check_tables()
            if not self.readonly:
                self._db.execute("PRAGMA journal_mode = WAL")

    def _check_tables(self) -> None:
        """Refuse tables of other columns, which somebody changed."""
        for table, columns in _COLUMNS.items():
            found = [row["name"] for row in self._db.execute(f"PRAGMA table_info({table})")]
            if found != columns.split():
                raise InputError(
                    f"the table {table!r} of {str(self.path)!r} has the columns {', '.join(found) or 'of no table'}",
                    rule=f"they are {', '.join(columns.split())}",
                    remedy=DAMAGED[1],
                )

    def _create(self) -> None:
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")  # of two processes that find the file empty, one creates the tables
            if self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
                for statement in filter(str.strip, _TABLES.split(";")):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                self._db.execute(f"PRAGMA user_version = {SCHEMA}")

    def _explained(self) -> AbstractContextManager[None]:
        return explained(self.path)


def _images(path: Path, key: str) -> Any:
    """The pictures of a cell, read now."""
    with Store(path, readonly=True) as store:
        return store.get(key).pictures.images
