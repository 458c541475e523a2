"""Opening the file of a store, and what is said where SQLite cannot use it."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bitproof.errors import InputError
from bitproof.files import scratch

MALFORMED = "malformed"
"""What SQLite says of a file with damaged pages."""
_WAIT_S = 60.0
"""How long a writer waits for another process's transaction, which takes milliseconds."""

_FULL = ("each result needs room on the disk", "Free some space and run the same command again: nothing is lost")
DAMAGED = ("a store is an SQLite file that bitproof created", "Restore the file from a copy or start a new one")
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
    ("malformed database schema", *DAMAGED),
    (
        MALFORMED,
        "a run writes into a whole file",
        "`bitproof report` and `bitproof export` show what can still be read, and change nothing; start a new store",
    ),
    ("no such column", *DAMAGED),
    ("no such table", *DAMAGED),
    ("locked", f"a writer waits {_WAIT_S:.0f} s for another one", "See what else holds the file, then run again"),
)


@contextmanager
def explained(path: Path | None) -> Iterator[None]:
    """Turn what SQLite says about the disk into a message with a remedy.

    Raises:
        InputError: in the place of SQLite's errors.
    """
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        # SQLite repeats of a damaged schema what Python cannot decode.
        said = str(error) if isinstance(error, sqlite3.Error) else "malformed database schema"
        rule, remedy = next(
            ((rule, remedy) for text, rule, remedy in _CAUSES if text in said),
            ("SQLite could not use the file", "Check the disk and the file, or choose another path for the store"),
        )
        raise InputError(f"store {str(path)!r}: {said}", rule=rule, remedy=remedy) from error


def connect(path: Path | None, *, readonly: bool, copies: ExitStack) -> sqlite3.Connection:
    """Open the file, or a new one in memory.

    Args:
        path: the file; None is none.
        readonly: nothing is written.
        copies: keeps a copy of the file for as long as it is read, where it cannot be read at its place.

    Raises:
        InputError: no file or folder there.
    """
    if path is None:
        return _configured(sqlite3.connect(":memory:"))
    if path.exists() and not path.is_file():
        raise InputError(
            f"{str(path)!r} is a {'folder' if path.is_dir() else 'device or a pipe'}",
            rule="a store is a file",
            remedy="Choose another path, or leave the store out to keep nothing",
        )
    if readonly:
        return _connect_readonly(path, copies)
    folder = path.resolve().parent if path.is_symlink() else path.parent
    if not folder.is_dir():
        raise InputError(
            f"the folder {str(folder)!r} does not exist",
            rule="a store is created in an existing folder",
            remedy="Create the folder or choose another path",
        )
    db = _configured(sqlite3.connect(path, timeout=_WAIT_S))
    db.execute("PRAGMA synchronous = NORMAL")  # safe against kill -9; a power cut may lose the last records
    return db


def _connect_readonly(path: Path, copies: ExitStack) -> sqlite3.Connection:
    if not path.is_file():
        raise InputError(
            f"there is no store at {str(path)!r}",
            rule="what is read here is a store that a run has written",
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
    copied = copies.enter_context(scratch()) / "store.db"
    shutil.copyfile(path, copied)
    shutil.copyfile(log, copied.with_name("store.db-wal"))
    return _configured(sqlite3.connect(copied))


def _configured(db: sqlite3.Connection) -> sqlite3.Connection:
    db.row_factory = sqlite3.Row
    db.text_factory = lambda raw: raw.decode(errors="replace")  # what is damaged is left to the checksum
    return db
