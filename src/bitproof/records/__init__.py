"""What a result is: records of models, data, conditions, and of what was found. Knows nothing of torch."""

from bitproof.records.audit import (
    CLEAN,
    SUSPICIOUS,
    UNDECIDED,
    VERDICTS,
    Audit,
    Curves,
    Evidence,
    Named,
    Reading,
    Shown,
    evidence_key,
)
from bitproof.records.base import SCHEMA, Record
from bitproof.records.cell import ARRAYS, FURTHER, Cell, Pictures, cell_key, name_conditions
from bitproof.records.codec import pack, plain, unpack
from bitproof.records.condition import KINDS, ConditionRecord, heading, kind_order
from bitproof.records.coverage import Coverage, Part
from bitproof.records.data import DataRecord
from bitproof.records.masking import LEAST, MISLEADING, Diagnosis, Signal, diagnosis_key
from bitproof.records.model import ModelRecord
from bitproof.records.names import pack_names, unpack_names

RECORDS: dict[str, type] = {"cell": Cell, "masking": Diagnosis, "evidence": Evidence, "audit": Audit}
"""Every kind of record by the name that a store and the command line have for it."""

__all__ = [
    "ARRAYS",
    "CLEAN",
    "FURTHER",
    "KINDS",
    "LEAST",
    "MISLEADING",
    "RECORDS",
    "SCHEMA",
    "SUSPICIOUS",
    "UNDECIDED",
    "VERDICTS",
    "Audit",
    "Cell",
    "ConditionRecord",
    "Coverage",
    "Curves",
    "DataRecord",
    "Diagnosis",
    "Evidence",
    "ModelRecord",
    "Named",
    "Part",
    "Pictures",
    "Reading",
    "Record",
    "Shown",
    "Signal",
    "cell_key",
    "diagnosis_key",
    "evidence_key",
    "heading",
    "kind_order",
    "name_conditions",
    "pack",
    "pack_names",
    "plain",
    "unpack",
    "unpack_names",
]
