"""Results as files for other programs: tables of examples, and records of any kind as JSON."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from bitproof import records
from bitproof.errors import lookup
from bitproof.files import written
from bitproof.records import Cell, Record

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
