"""What every record is: plain data and arrays about a model on a data set, found again by a key.

Another kind of record costs three files: the record here (with a line in `RECORDS`), what makes it, and its panel in
the report.
"""

from typing import Protocol, runtime_checkable

from bitproof.records.data import DataRecord
from bitproof.records.model import ModelRecord

SCHEMA = 3
"""Version of the layout of records and store; part of every key. A reader refuses others."""


@runtime_checkable
class Record(Protocol):
    """A dataclass whose fields are plain data, settings' descriptions, NumPy arrays, and dataclasses of these.

    Attributes:
        model, data, seed: what was looked at, on what, with which randomness.
        key: content address, 32 hexadecimal digits over everything that determines the record.
        run: which run of the store computed it; None before it is stored.
    """

    @property
    def model(self) -> ModelRecord: ...

    @property
    def data(self) -> DataRecord: ...

    @property
    def seed(self) -> int: ...

    @property
    def key(self) -> str: ...

    @property
    def run(self) -> int | None: ...
