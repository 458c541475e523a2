"""Where results live: one SQLite file, one transaction a record.

In write-ahead mode readers see the last complete record while a run writes the next, a killed run loses
at most the records it was computing, and two runs may share a file. Records are immutable: a key that is
there already is never written again, unless what lies there is damaged.
"""

import json
import shutil
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from bitproof import records
from bitproof.errors import InputError, kind_of, lookup
from bitproof.files import scratch
from bitproof.records import RECORDS, SCHEMA, Cell, Record

_APPLICATION_ID = 0x62697470  # "bitp": marks the file as ours
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
_WAIT_S = 60.0
"""How long a writer waits for another process's transaction, which takes milliseconds."""
_MALFORMED = "malformed"  # what SQLite says of a file with damaged pages
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
        with self._explained():
            self._db = self._connect()
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
        row = (record.key, kind, run, time.time(), content, arrays, _checksum(kind, content, arrays))
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
            raise InputError(f"the result {key[:8]} is not in the store", rule=_DAMAGED[0], remedy=_DAMAGED[1])
        return _unpacked(row)

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
        asked |= {_inside(path): value for path, value in used.items()}
        where = " AND ".join(f"{column} = ?" for column in asked) or "1"
        with self._explained():
            with self._salvaging():
                rows = self._db.execute(f"{_ROWS} WHERE {where} ORDER BY written, key", tuple(asked.values()))
                return [record for record in map(self._record, rows) if record is not None]
            rows = self._salvaged(f"{_ROWS} WHERE {where}", tuple(asked.values()))
            return [record for record in map(self._record, rows) if record is not None]

    def environments(self) -> dict[int, dict[str, Any]]:
        """What each run ran on, by run number."""
        rows = []
        with self._explained(), self._salvaging():
            rows = self._db.execute("SELECT run, environment FROM runs ORDER BY run").fetchall()
        return {row["run"]: _environment(row["environment"]) for row in rows}

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
            kinds = f"SELECT DISTINCT {_inside('condition.kind')} AS kind FROM records WHERE kind = 'cell'"
            rows = self._db.execute(kinds).fetchall()
        return [row["kind"] for row in rows if row["kind"]]

    def _row(self, key: str) -> sqlite3.Row | None:
        with self._explained():
            return self._db.execute(f"{_ROWS} WHERE key = ?", (key,)).fetchone()

    @contextmanager
    def _salvaging(self) -> Iterator[None]:
        """Let pass that pages are damaged, where nothing is written."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if not (self.readonly and _MALFORMED in str(error)):
                raise

    def _salvaged(self, select: str, values: tuple[Any, ...], start: str = "") -> list[sqlite3.Row]:
        """The rows whose keys begin so that can still be reached: asked for in ever narrower ranges of keys."""
        asked = f"{select} AND key >= ? AND key < ? ORDER BY key"
        with self._salvaging():
            return self._db.execute(asked, (*values, start, f"{start}g")).fetchall()
        if len(start) == _NARROWEST:
            self.damaged[f"{start}..."] = "a page of the file is damaged"
            return []
        return [row for digit in "0123456789abcdef" for row in self._salvaged(select, values, start + digit)]

    def _record(self, row: sqlite3.Row) -> Any:
        """The record in a row; of a damaged one it is noted why, and None returned."""
        try:
            return _unpacked(row)
        except InputError as error:
            self.damaged[str(row["key"])] = error.what
            return None

    def _connect(self) -> sqlite3.Connection:
        if self.path is None:
            return _configured(sqlite3.connect(":memory:"))
        if self.path.exists() and not self.path.is_file():
            raise InputError(
                f"{str(self.path)!r} is a {'folder' if self.path.is_dir() else 'device or a pipe'}",
                rule="a store is a file",
                remedy="Choose another path, or leave the store out to keep nothing",
            )
        if self.readonly:
            return self._connect_readonly(self.path)
        if not self.path.parent.is_dir():
            raise InputError(
                f"the folder {str(self.path.parent)!r} does not exist",
                rule="a store is created in an existing folder",
                remedy="Create the folder or choose another path",
            )
        db = _configured(sqlite3.connect(self.path, timeout=_WAIT_S))
        db.execute("PRAGMA synchronous = NORMAL")  # safe against kill -9; a power cut may lose the last records
        return db

    def _connect_readonly(self, path: Path) -> sqlite3.Connection:
        if not path.is_file():
            raise InputError(
                f"there is no store at {str(path)!r}",
                rule="a report reads a store that a run has written",
                remedy="Check the path, or run `bitproof evaluate ... --store PATH` first",
            )
        base = path.resolve().as_uri()
        try:
            # Not opened as read-only where it can be written: then the last one to leave takes the log away with it.
            db = _configured(sqlite3.connect(f"{base}?mode=rw", uri=True, timeout=_WAIT_S))
            db.execute("PRAGMA query_only = ON")
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return db
        except sqlite3.OperationalError:  # a write-ahead file in a folder that cannot be written
            log = path.resolve().with_name(f"{path.resolve().name}-wal")
            if not (log.is_file() and log.stat().st_size):
                return _configured(sqlite3.connect(f"{base}?immutable=1", uri=True))
        # The last results lie in the log alone, and SQLite reads it only where it may write beside it.
        copied = self._copy.enter_context(scratch()) / "store.db"
        shutil.copyfile(path, copied)
        shutil.copyfile(log, copied.with_name("store.db-wal"))
        return _configured(sqlite3.connect(copied))

    def _open_schema(self) -> None:
        version, owner = (
            self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "application_id")
        )
        empty = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if empty and not owner and not self.readonly:
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
                    remedy=_DAMAGED[1],
                )

    def _create(self) -> None:
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")  # of two processes that find the file empty, one creates the tables
            if self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
                for statement in filter(str.strip, _TABLES.split(";")):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                self._db.execute(f"PRAGMA user_version = {SCHEMA}")

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


_FULL = ("each result needs room on the disk", "Free some space and run the same command again: nothing is lost")
_DAMAGED = ("a store is an SQLite file that bitproof created", "Restore the file from a copy or start a new one")
_CAUSES = (
    ("full", *_FULL),
    ("disk I/O", *_FULL),
    (
        "readonly",
        "a run writes its results",
        "Make the file and its folder writable or choose another path for the store",
    ),
    ("unable to open", "a run writes its results", "Make the folder writable or choose another path for the store"),
    ("not a database", "a store is an SQLite file that bitproof created", "Choose another path for the store"),
    (
        _MALFORMED,
        "a run writes into a whole file",
        "`bitproof report` and `bitproof export` show what can still be read, and change nothing; start a new store",
    ),
    ("no such column", *_DAMAGED),
    ("no such table", *_DAMAGED),
    ("locked", f"a writer waits {_WAIT_S:.0f} s for another one", "See what else holds the file, then run again"),
)


def _configured(db: sqlite3.Connection) -> sqlite3.Connection:
    db.row_factory = sqlite3.Row
    db.text_factory = lambda raw: raw.decode(errors="replace")  # what is damaged is left to the checksum
    return db


def _checksum(*columns: Any) -> int:
    """Of columns as SQLite gives them back, which may be damaged into another type."""
    checksum = 0
    for column in columns:
        raw = column if isinstance(column, bytes) else str(column or "").encode(errors="surrogatepass")
        checksum = zlib.crc32(raw, checksum)
    return checksum


def _environment(text: Any) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {"damaged": True}


def _unpacked(row: sqlite3.Row) -> Record:
    """The record in a row, compared with its checksum, its key and its run."""
    kind, reason = row["kind"], None
    if _checksum(kind, row["content"], row["arrays"]) != row["checksum"]:
        reason = "its checksum is another"
    elif kind not in RECORDS:
        reason = "it is of an unknown kind"
    elif not isinstance(row["run"], int):
        reason = "its run is no number"
    else:
        found = replace(cast(Cell, records.unpack(RECORDS[kind], row["content"], row["arrays"])), run=row["run"])
        if found.key == row["key"]:
            return found
        reason = "it belongs to another key"
    raise InputError(
        f"the stored {kind} {str(row['key'])[:8]} is damaged ({reason})",
        rule="it is what bitproof wrote",
        remedy="Run the same command again: it is computed anew",
    )


def _inside(path: str) -> str:
    """SQL for a value inside a record; of a damaged one NULL, where SQLite itself would give up the whole query."""
    return f"iif(json_valid(content), content ->> '$.{path}', NULL)"
