"""A row of a store: what is written with a record, and what is looked at before it is believed."""

import json
import sqlite3
import zlib
from dataclasses import replace
from typing import Any, cast

from bitproof import records
from bitproof.errors import InputError
from bitproof.records import RECORDS, Cell, Record, Shared


def checksum(*columns: Any) -> int:
    """Of columns as SQLite gives them back, which may be damaged into another type."""
    total = 0
    for column in columns:
        raw = column if isinstance(column, bytes) else str(column or "").encode(errors="surrogatepass")
        total = zlib.crc32(raw, total)
    return total


def environment(text: Any) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {"damaged": True}


def unpacked(row: sqlite3.Row, shared: Shared | None = None) -> Record:
    """The record in a row, compared with its checksum, its key and its run; see `records.unpack`."""
    kind, reason = row["kind"], None
    if checksum(kind, row["content"], row["arrays"]) != row["checksum"]:
        reason = "its checksum is another"
    elif kind not in RECORDS:
        reason = "it is of an unknown kind"
    elif not isinstance(row["run"], int):
        reason = "its run is no number"
    else:
        found = replace(
            cast(Cell, records.unpack(RECORDS[kind], row["content"], row["arrays"], shared)), run=row["run"]
        )
        if found.key == row["key"]:
            return found
        reason = "it belongs to another key"
    raise InputError(
        f"the stored {kind} {str(row['key'])[:8]} is damaged ({reason})",
        rule="it is what bitproof wrote",
        remedy="Run the same command again: it is computed anew",
    )


def inside(path: str) -> str:
    """SQL for a value inside a record; of a damaged one NULL, where SQLite itself would give up the whole query."""
    return f"iif(json_valid(content), content ->> '$.{path}', NULL)"
