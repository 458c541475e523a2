"""Records of every kind are plain data and arrays, and come back as they were."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bitproof.records import RECORDS, ModelRecord, name_conditions, pack, plain, unpack
from bitproof.records.coverage import Coverage, Part
from bitproof.records.data import DataRecord
from bitproof.records.imagenet import wnids, words
from explained_samples import make_explanations
from samples import make_audit, make_cell, make_diagnosis

MODEL = ModelRecord(
    name="w4a4",
    fingerprint="ab",
    bytes=1000,
    scheme={"method": "lsq", "bits": [4, 4]},
    weight_bits=4,
    act_bits=4,
    architecture="digits_cnn",
    origin={"parent": "cd", "marks": ["pruned"]},
    gradients=False,
    random=True,
    of_batch=True,
    coverage=Coverage(parts=(Part(name="conv", weights=9, products=81, weight_bits=4, act_bits=4),)),
    tags={"train_seed": 1},
    notes=("its products are not exact",),
)
DATA = replace(make_cell().data, left_out={"a.jpg": "is empty"})


def full_cell() -> Any:
    """A cell that holds everything that a cell can."""
    cell = make_cell(n=3)
    condition = replace(
        cell.condition,
        variant="8/255",
        setting={"type": "EOT", "attack": {"type": "PGD", "eps": 8 / 255}},
        how={"after": {"eps": 4 / 255}},
        norm="linf",
        eps=float("inf"),
        severity=3,
        targets="next",
        source="float",
        compared="previous",
        step=2,
    )
    return replace(
        cell,
        model=MODEL,
        condition=condition,
        data=DATA,
        losses=np.array([0.5, 0, np.inf], np.float32),
        ranks=np.array([0, 2, -1], np.int32),
        squares=np.array([0.5, 1, 0], np.float32),
        frames=np.arange(6).reshape(3, 2),
        digests=np.array([0, 1, 2**64 - 1], np.uint64),
        targets=np.array([1, -1, 0]),
        device="cuda:0",
        values={"radius": np.array([0.5, np.inf, 0.0]), "abstains": np.array([True, False, False])},
    )


AUDIT = make_audit(MODEL, DATA)
EVIDENCE = replace(AUDIT.evidence[0], deployed=MODEL, shown=AUDIT.evidence[1].shown)
SAMPLES = {
    "cell": full_cell(),
    "masking": replace(make_diagnosis(MODEL, DATA), twin=MODEL),
    "evidence": EVIDENCE,
    "audit": replace(AUDIT, deployed=MODEL, evidence=(EVIDENCE,), probability=0.5),
    **make_explanations(MODEL, MODEL, DATA),
}


def same(a: Any, b: Any) -> bool:
    """Equal in value and in type, all the way down."""
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)
    if type(a) is not type(b):
        return False
    if dataclasses.is_dataclass(a):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def left_at_default(value: Any) -> list[str]:
    """The fields whose loss would not be noticed: they would come back as they are."""
    if isinstance(value, tuple):
        return [name for entry in value for name in left_at_default(entry)]
    if not dataclasses.is_dataclass(value):
        return []
    fields = [(f, getattr(value, f.name)) for f in dataclasses.fields(value) if f.name != "run"]
    inside = [name for _, entry in fields for name in left_at_default(entry)]
    return inside + [f.name for f, entry in fields if same(entry, f.default)]


@pytest.mark.parametrize("kind", RECORDS)
def test_records_are_plain_data(kind):
    record = SAMPLES[kind]
    assert not left_at_default(record)
    content, arrays = pack(record)
    assert same(unpack(RECORDS[kind], content, arrays), record)
    exported = plain(record)
    assert same(json.loads(json.dumps(exported)), exported)


def test_a_cell_prints_itself_in_a_line():
    shown = repr(make_cell(n=3000))
    assert shown.startswith("Cell: ") and "n = 3,000" in shown and len(shown) < 150


def test_classes_of_imagenet_have_words():
    record = DataRecord(name="imagenet", split="test", fingerprint="", count=0, classes=("n01440764", "own"))
    assert [record.words(index) for index in range(3)] == ["tench", "own", "class 2"]
    assert len(wnids()) == len(set(words().values())) == 1000
    assert list(wnids()) == sorted(wnids())


def test_labels_of_long_settings_are_short():
    cell = make_cell(n=3)
    about = replace(cell.condition, kind="universal")
    settings = ({"levels": [level] * 3072, "steps": level} for level in (1, 2))
    made = [replace(cell, condition=replace(about, setting=setting)) for setting in settings]
    labels = [named.condition.label for named in name_conditions(made)]
    assert len(set(labels)) == 2 and all(len(label) < len(cell.condition.label) + 50 for label in labels)
    assert "levels=" in labels[0] and "steps=1" in labels[0]
