"""What an audit is given by strangers, damaged: each ends in an `InputError`, exit code 2, or a verdict."""

import json
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bitproof as bp
from bitproof.audit import INQUIRIES, Inquiry, Phases
from bitproof.errors import InputError
from bitproof.settings.grammar import as_setting

SHORT = ["audit", "digits_cnn", "--data", "digits", "--limit", 4, "--scheme", "w4a32", "--quick", "--quiet"]
SLOW = {"deadline": None, "suppress_health_check": list(HealthCheck)}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("audited") / "clean.safetensors"
    bp.save_model(model, path, architecture="digits_cnn")
    return path


def said(file, path, **metadata):
    """The checkpoint with other metadata."""
    raw = file.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    header["__metadata__"] |= metadata
    new = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(new)) + new + raw[8 + length :])
    return path


def audited(path, folder):
    """The verdict and its report, of as little as an audit can ask."""
    model, data = bp.load_model("digits_cnn", weights=path), bp.load_data("digits", limit=2)
    found = bp.audit_model(model, data, data, schemes=["w4a32"], inquiries=[Phases()], progress=False)
    bp.write_report([found], folder / "r.html")
    return found


MARKS = [
    {"implant": "x"},
    {"implant": {"trigger": []}},
    {"implant": {"collapsed": {}, "schemes": 3}},
    {"weights": ["random"]},
    {"start": {"a": 1}, "seed": None},
    {"repair": {"parent": None}},
]


@pytest.mark.slow
@settings(max_examples=25, **SLOW)
@given(mark=st.sampled_from(MARKS) | st.dictionaries(st.sampled_from(["implant", "weights", "start"]), JSON) | JSON)
def test_whatever_mark_a_checkpoint_has_it_is_audited_or_refused(file, tmp_path_factory, mark):
    folder = tmp_path_factory.mktemp("marks")
    try:
        audited(said(file, folder / "m.safetensors", origin=json.dumps(mark)), folder)
    except InputError as error:
        assert "m.safetensors" in str(error)


@settings(max_examples=60, **SLOW)
@given(
    key=st.sampled_from(["scheme", "structure", "classes", "class_names", "origin", "architecture", "format"]),
    value=JSON.map(json.dumps)
    | st.text(max_size=20)
    | st.sampled_from(["[" * 99_999, "9" * 5_000, '{"type": "Scheme"}']),
)
def test_whatever_metadata_say_the_file_is_opened_or_refused(file, tmp_path_factory, key, value):
    path = said(file, tmp_path_factory.mktemp("said") / "m.safetensors", **{key: value})
    try:
        assert bp.load_model("digits_cnn", weights=path) is not None
    except InputError as error:
        assert len(str(error)) < 1_000


@settings(max_examples=40, **SLOW)
@given(cut=st.floats(0, 1), place=st.floats(0, 1), byte=st.integers(0, 255))
def test_a_damaged_checkpoint_is_opened_or_refused(file, tmp_path_factory, cut, place, byte):
    raw = bytearray(file.read_bytes())
    raw[int(place * min(len(raw) - 1, 3_000))] = byte  # in the header
    path = tmp_path_factory.mktemp("cut") / "m.safetensors"
    path.write_bytes(raw if cut > 0.5 else raw[: int(2 * cut * len(raw))])
    try:
        bp.load_model("digits_cnn", weights=path)
    except InputError as error:
        assert "m.safetensors" in str(error)


def bad(kind, file, folder):
    path = folder / "x.safetensors"
    match kind:
        case "empty":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(file.read_bytes()[:2_000])
        case "text":
            path.write_text("no weights")
        case "quantized":
            bp.save_model(bp.quantize(bp.load_model("digits_cnn"), "w4a32"), path, architecture="digits_cnn")
        case "other":
            bp.save_model(bp.load_model("resnet20"), path, architecture="resnet20")
        case "classes":
            bp.save_model(bp.load_model("digits_cnn", classes=7), path, architecture="digits_cnn", classes=7)
        case "onnx":
            (folder / "x.onnx").write_bytes(b"\x08\x07nothing")
            return folder / "x.onnx"
        case "tflite":
            (folder / "x.tflite").write_bytes(b"TFL3" * 9)
            return folder / "x.tflite"
        case "scheme":
            said(file, path, scheme='{"type": "Scheme", "weight_bits": -4}')
    return path


KINDS = ["empty", "cut", "text", "quantized", "other", "classes", "scheme"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_clean_model_that_is_none_is_refused_by_its_name(run, file, tmp_path, kind):
    path = bad(kind, file, tmp_path)
    code, out, err = run(*SHORT, "--weights", file, "--calibrate", path.parent)
    assert (code, out) == (2, "") and "Traceback" not in err and "x.safetensors" in err


@pytest.mark.parametrize("kind", [*(kind for kind in KINDS if kind != "quantized"), "onnx", "tflite"])
def test_a_pair_that_cannot_belong_together_is_refused_by_its_name(run, file, tmp_path, kind):
    path = bad(kind, file, tmp_path)
    code, out, err = run(*SHORT, "--weights", file, "--deployed", path)
    assert (code, out) == (2, "") and "Traceback" not in err and path.name in err


def test_clean_models_of_other_outputs_are_no_models_to_compare_with(model):
    data = bp.load_data("digits", limit=2)
    other = bp.load_model("digits_cnn", classes=12)
    for clean, name in (([other], "clean 1"), ({"x.safetensors": other}, "x.safetensors")):
        with pytest.raises(InputError, match=f"{name} has 12 outputs, and the audited model has 10"):
            bp.audit_model(model, data, data, schemes=["w4a32"], inquiries=[Phases()], clean=clean, progress=False)


def test_an_inquiry_may_be_its_text(model):
    """Red: an `AttributeError` from the inside."""
    data, ask = bp.load_data("digits", limit=2), {"schemes": ["w4a8"], "progress": False}
    (found,) = bp.audit_model(model, data, data, inquiries=["phases"], **ask).evidence
    assert found.name == "phases"
    alone = bp.audit_model(model, data, data, schemes="w4a8", inquiries="phases", progress=False)
    assert alone.evidence[0].key == found.key  # red: letters of the texts
    with pytest.raises(InputError, match="unknown inquiry 'phase'.*Did you mean 'phases'"):
        bp.audit_model(model, data, data, inquiries=["phase"], **ask)
    with pytest.raises(InputError, match=r"Phases'> as inquiry: it is a setting.*Use for example 'phases'"):
        as_setting(Phases, Inquiry, INQUIRIES, "inquiry")


def test_a_remedy_may_be_its_text(model):
    """Red: a `TypeError` from the inside, after the search for triggers."""
    data = bp.load_data("digits", split="train", limit=160)
    found = bp.repair(model, data, "w8a8", remedies=["dithered"], quick=True)
    assert found.tried[0].label.startswith("best of")
    with pytest.raises(InputError, match="Did you mean 'dithered'"):
        bp.repair(model, data, "w8a8", remedies=["ditherd"], quick=True)
