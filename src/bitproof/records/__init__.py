"""What a result is: records of models, data, conditions, and of what was found. Knows nothing of torch."""

from bitproof.records.base import SCHEMA, Record
from bitproof.records.cell import ARRAYS, FURTHER, POSSIBLE, RADIUS, REFUSED, Cell, Pictures, cell_key, name_conditions
from bitproof.records.codec import pack, plain, unpack
from bitproof.records.condition import KINDS, ConditionRecord, heading, kind_order
from bitproof.records.coverage import Coverage, Part
from bitproof.records.data import DataRecord
from bitproof.records.masking import LEAST, MISLEADING, Diagnosis, Signal, diagnosis_key
from bitproof.records.model import ModelRecord
from bitproof.records.names import pack_names, unpack_names

RECORDS: dict[str, type] = {"cell": Cell, "masking": Diagnosis}
"""Every kind of record by the name that a store and the command line have for it."""

__all__ = [
    "ARRAYS",
    "FURTHER",
    "KINDS",
    "LEAST",
    "MISLEADING",
    "POSSIBLE",
    "RADIUS",
    "RECORDS",
    "REFUSED",
    "SCHEMA",
    "Cell",
    "ConditionRecord",
    "Coverage",
    "DataRecord",
    "Diagnosis",
    "ModelRecord",
    "Part",
    "Pictures",
    "Record",
    "Signal",
    "cell_key",
    "diagnosis_key",
    "heading",
    "kind_order",
    "name_conditions",
    "pack",
    "pack_names",
    "plain",
    "unpack",
    "unpack_names",
]
