"""Results as files for other programs: tables of examples, and records of any kind as JSON."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from bitproof import records
from bitproof.errors import lookup
from bitproof.files import written
from bitproof.records import Cell, Record
from bitproof.store import Store

if TYPE_CHECKING:
    import pandas as pd

Files = Mapping[str, Mapping[int, str]]
"""The file of each example, by the fingerprint of the data and the example's number; empty where data have none."""

WRITERS = {".parquet": "to_parquet", ".csv": "to_csv", ".json": "JSON"}


def tidy(cells: Iterable[Cell], files: Files = MappingProxyType({})) -> "pd.DataFrame":
    """One row an example: what was tested, label, prediction, confidence, distances, what else a cell holds, and its
    file where the data come from files."""
    import pandas as pd

    frames = [
        pd.DataFrame(
            {
                "data": cell.data.name,
                "split": cell.data.split,
                "model": cell.model.name,
                "fingerprint": cell.model.fingerprint,
                "method": ((cell.model.scheme or {}).get("method") or {}).get("type"),
                "scheme": None if cell.model.scheme is None else json.dumps(cell.model.scheme),
                "weight_bits": cell.model.weight_bits,
                "act_bits": cell.model.act_bits,
                "kind": cell.condition.kind,
                "condition": cell.condition.label,
                "setting": json.dumps(cell.condition.setting),
                "norm": cell.condition.norm,
                "eps": cell.condition.eps,
                "seed": cell.seed,
                "key": cell.key,
                **{("id" if name == "ids" else name.rstrip("s")): getattr(cell, name) for name in records.ARRAYS},
                **({} if cell.losses is None else {"label_probability": cell.label_probabilities}),
                **({} if cell.ranks is None else {"rank": cell.ranks}),
                **(
                    {"file": [of.get(i) for i in cell.ids.tolist()]} if (of := files.get(cell.data.fingerprint)) else {}
                ),
                **({} if cell.targets is None else {"target": cell.targets}),
                **{f"tag_{key}": value for key, value in cell.model.tags.items()},
                **cell.values,
            }
        )
        for cell in cells
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def export_store(store: Store, path: str | Path) -> int:
    """Write what a store holds to a file, a cell at a time, whatever its size; returns the number of rows or entries.

    Args:
        store: open.
        path: .parquet or .csv for `tidy` of its cells, .json for a list of its other records.

    Raises:
        InputError: another suffix, or a path that cannot be written.
    """
    path = Path(path)
    lookup(WRITERS, path.suffix, "export format")
    if path.suffix == ".json":
        return export([record for record in store.query(None) if not isinstance(record, Cell)], path)
    files = store.files()
    form = tidy((_first(cell) for cell in store.each()), files)
    with written(path, "the export") as draft:
        if path.suffix == ".csv":
            form[:0].to_csv(draft, index=False)
            return sum(_append_csv(tidy([cell], files), form, draft) for cell in store.each())
        return _write_parquet(form, (tidy([cell], files) for cell in store.each()), draft)


def _first(cell: Cell) -> Cell:
    """The cell with one example, which tells the columns of its table."""
    arrays = {name: getattr(cell, name) for name in (*records.ARRAYS, *records.FURTHER)}
    return replace(
        cell,
        **{name: array[:1] for name, array in arrays.items() if array is not None},
        values={name: array[:1] for name, array in cell.values.items()},
    )


def _like(table: "pd.DataFrame", form: "pd.DataFrame") -> "pd.DataFrame":
    """The table with the columns of the whole, and their types."""
    return table.reindex(columns=form.columns).astype(form.dtypes.to_dict())


def _append_csv(table: "pd.DataFrame", form: "pd.DataFrame", draft: Path) -> int:
    _like(table, form).to_csv(draft, mode="a", header=False, index=False)
    return len(table)


def _write_parquet(form: "pd.DataFrame", tables: "Iterable[pd.DataFrame]", draft: Path) -> int:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    schema, count = pa.Schema.from_pandas(form, preserve_index=False), 0
    with ParquetWriter(draft, schema) as writer:
        for table in tables:
            writer.write_table(pa.Table.from_pandas(_like(table, form), schema=schema, preserve_index=False))
            count += len(table)
    return count


def export(found: Sequence[Record], path: str | Path, files: Files = MappingProxyType({})) -> int:
    """Write records to a file; returns the number of its rows or entries.

    Args:
        found: cells for a table; records of any kind for JSON.
        files: the files of examples, `Store.files()`.
        path: .parquet or .csv for `tidy` of the cells, .json for a list of whole records.

    Raises:
        InputError: another suffix, or a path that cannot be written.
    """
    path = Path(path)
    writer = lookup(WRITERS, path.suffix, "export format")
    with written(path, "the export") as draft:
        if path.suffix == ".json":
            draft.write_text(json.dumps([records.plain(record) for record in found], indent=2, allow_nan=False) + "\n")
            return len(found)
        table = tidy((record for record in found if isinstance(record, Cell)), files)
        getattr(table, writer)(draft, index=False)
    return len(table)
