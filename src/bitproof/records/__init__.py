"""What a result is: records of models, data, conditions, and of what was found. Knows nothing of torch."""

from bitproof.records.agreement import Agreement
from bitproof.records.alignment import Alignment
from bitproof.records.amplification import Amplification
from bitproof.records.audit import (
    CLEAN,
    SUSPICIOUS,
    UNDECIDED,
    VERDICTS,
    Audit,
    Curves,
    Evidence,
    Finding,
    Named,
    Reading,
    Shown,
    Unaudited,
    evidence_key,
)
from bitproof.records.base import SCHEMA, Record
from bitproof.records.cell import (
    ARRAYS,
    FURTHER,
    KEPT,
    POSSIBLE,
    RADIUS,
    REFUSED,
    Cell,
    LaterPictures,
    Pictures,
    cell_key,
    joined,
    name_conditions,
)
from bitproof.records.clusters import ClassClusters, Clusters
from bitproof.records.codec import Shared, pack, plain, plain_data, unpack
from bitproof.records.condition import KINDS, ConditionRecord, heading, kind_order
from bitproof.records.coverage import Coverage, Part
from bitproof.records.curvature import Curvature, LayerTrace
from bitproof.records.data import DataRecord
from bitproof.records.explained import Explained, explanation_key
from bitproof.records.layers import Attribution, Change, LayerEffect
from bitproof.records.lipschitz import LayerNorm, Lipschitz
from bitproof.records.masking import LEAST, MISLEADING, Diagnosis, Signal, diagnosis_key
from bitproof.records.model import ModelRecord
from bitproof.records.names import pack_names, unpack_names
from bitproof.records.sharpness import LayerSharpness, Sharpness
from bitproof.records.shift import ValueShift
from bitproof.records.slices import LossSlice

_EXPLAINED = (
    Attribution,
    Alignment,
    Agreement,
    Amplification,
    ValueShift,
    Lipschitz,
    Curvature,
    Sharpness,
    LossSlice,
    Clusters,
)

RECORDS: dict[str, type] = {"cell": Cell, "masking": Diagnosis, "evidence": Evidence, "audit": Audit} | {
    kind.KIND: kind for kind in _EXPLAINED
}
"""Every kind of record by the name that a store and the command line have for it."""

__all__ = [
    "ARRAYS",
    "CLEAN",
    "FURTHER",
    "KEPT",
    "KINDS",
    "LEAST",
    "MISLEADING",
    "POSSIBLE",
    "RADIUS",
    "RECORDS",
    "REFUSED",
    "SCHEMA",
    "SUSPICIOUS",
    "UNDECIDED",
    "VERDICTS",
    "Agreement",
    "Alignment",
    "Amplification",
    "Attribution",
    "Audit",
    "Cell",
    "Change",
    "ClassClusters",
    "Clusters",
    "ConditionRecord",
    "Coverage",
    "Curvature",
    "Curves",
    "DataRecord",
    "Diagnosis",
    "Evidence",
    "Explained",
    "Finding",
    "LaterPictures",
    "LayerEffect",
    "LayerNorm",
    "LayerSharpness",
    "LayerTrace",
    "Lipschitz",
    "LossSlice",
    "ModelRecord",
    "Named",
    "Part",
    "Pictures",
    "Reading",
    "Record",
    "Shared",
    "Sharpness",
    "Shown",
    "Signal",
    "Unaudited",
    "ValueShift",
    "cell_key",
    "diagnosis_key",
    "evidence_key",
    "explanation_key",
    "heading",
    "joined",
    "kind_order",
    "name_conditions",
    "pack",
    "pack_names",
    "plain",
    "plain_data",
    "unpack",
    "unpack_names",
]
