"""OpenVINO's files: grids in closed form, the same file in ONNX Runtime, images as they are taken, what is refused."""

import copy
import importlib.util
import re
import sys

import numpy as np
import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.errors import InputError

if importlib.util.find_spec("openvino") is None:  # `importorskip` would import it with its telemetry
    pytest.skip("OpenVINO is not installed", allow_module_level=True)

from bitproof.deploy import OnnxModel, OpenVinoModel, Twin, check_twin, load_deployed, load_openvino
from bitproof.deploy.ir import check_xml
from bitproof.deploy.openvino import runtime
from bitproof.subjects.fingerprint import fingerprint
from foreign_onnx import convolutional, quantized
from openvino_files import SCALE, WEIGHT, converted, files, linear


@pytest.fixture(scope="module")
def data():
    return bp.load_data("digits", limit=20)


@pytest.fixture(scope="module")
def images(data):
    return data.images(range(20))


def closed_form(images, weight=WEIGHT):
    """What codes of images times codes of weights give."""
    codes = (images * 255).round().flatten(1).double()
    return (codes @ torch.from_numpy(weight).double().T * float(SCALE) / 255).float()


def origin():
    model = nn.Sequential(nn.Flatten(), nn.Linear(400, 10, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.from_numpy(WEIGHT).float() * SCALE)
    return model


@pytest.mark.parametrize("batch", [-1, 1, 7])
def test_an_int8_file_gives_what_integers_give(batch, images, tmp_path):
    model = load_openvino(files(linear(shape=(batch, 1, 20, 20)), tmp_path))
    torch.testing.assert_close(model(images), closed_form(images), rtol=1e-5, atol=1e-5)
    assert torch.equal(model(images[:3]), model(images)[:3])
    assert model.scheme is not None and model.scheme.label == "w8a8"
    assert model.shape == (1, 20, 20) and model.batch == (batch if batch > 0 else None)


def test_sums_of_products_do_not_saturate(tmp_path):
    weight = np.full_like(WEIGHT, 127)
    white = torch.ones(2, 1, 20, 20)
    found = load_openvino(files(linear(weight=weight), tmp_path))(white)
    torch.testing.assert_close(found, closed_form(white, weight), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "form",
    [{}, {"kind": "uint8"}, {"layout": "nhwc", "extra": True, "softmax": True}, {"batch": 3, "softmax": True}],
    ids=str,
)
def test_a_float_file_answers_as_in_onnx_runtime(form, images, tmp_path):
    content = convolutional(**form)
    model, other = load_openvino(converted(content, tmp_path)), OnnxModel(content)
    torch.testing.assert_close(model(images), other(images), rtol=1e-4, atol=1e-4)
    assert (model.shape, model.batch, model.probabilities) == (other.shape, other.batch, other.probabilities)
    assert model.scheme is None and model.codes() == [] and model.taken.kind == form.get("kind", "float32")


@pytest.mark.parametrize("per_channel", [False, True])
def test_a_quantized_file_answers_within_a_code_of_onnx_runtime(per_channel, images, tmp_path):
    content = quantized(convolutional(), images, tmp_path, per_channel=per_channel)
    model, other = load_openvino(converted(content, tmp_path)), OnnxModel(content)
    found, expected = model(images), other(images)
    codes = expected.unique().sort().values.diff()
    assert (found - expected).abs().max() <= 1.01 * codes[codes > 1e-6].min()
    assert (found.argmax(1) == expected.argmax(1)).all()
    assert model.scheme == other.scheme
    for mine, theirs in zip(model.codes(), other.codes(), strict=True):
        torch.testing.assert_close(mine.level, theirs.level)
        torch.testing.assert_close(mine.step, theirs.step)


def test_probabilities_become_logits_up_to_a_constant(images, tmp_path):
    model = load_openvino(files(linear(quantized=False, softmax=True), tmp_path))
    torch.testing.assert_close(model(images), origin()(images).log_softmax(1), rtol=1e-3, atol=1e-3)


def test_the_layout_that_a_file_states_is_taken(tmp_path):
    looks_last = linear(shape=(-1, 20, 20, 1), layout="NCHW")
    assert load_openvino(files(looks_last, tmp_path)).shape == (20, 20, 1)
    assert load_openvino(files(linear(shape=(-1, 20, 20, 1)), tmp_path)).shape == (1, 20, 20)


@pytest.mark.parametrize(("kind", "grid"), [("u8", None), ("u8", (1 / 255, 0)), ("i8", (1 / 255, -128))])
def test_codes_of_images_are_given_by_their_grid(kind, grid, images, tmp_path):
    given = linear(kind=kind, grid=grid, quantized=grid is not None)
    expected = closed_form(images) * (1 if grid else 255)
    found = load_openvino(files(given, tmp_path))
    torch.testing.assert_close(found(images), expected, rtol=1e-4, atol=1e-4)
    assert found.taken.of_pixels


def test_what_takes_off_a_mean_is_given_pixels(images, tmp_path):
    from openvino.preprocess import PrePostProcessor

    ov = runtime()
    steps = PrePostProcessor(linear(quantized=False))
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    steps.input().preprocess().convert_element_type(ov.Type.f32).mean(33.3).scale(60.0)
    steps.input().model().set_layout(ov.Layout("NCHW"))
    model = load_openvino(files(steps.build(), tmp_path))
    expected = origin()(((images * 255).round() - 33.3) / 60)
    torch.testing.assert_close(model(images), expected, rtol=1e-3, atol=1e-3)
    assert model.taken.channels_last and model.taken.of_pixels and model.shape == (1, 20, 20)


def test_it_is_tested_beside_its_origin_and_attacked_through_it(data, images, tmp_path):
    path = files(linear(), tmp_path)
    twin = Twin(load_deployed(path), gradient_from=origin())
    assert check_twin(twin, data).correlation > 0.99
    right = bp.from_arrays(images, twin(images).argmax(1), classes=data.classes)
    result = bp.evaluate({"float": origin(), "q": twin}, right, conditions=["pgd:eps=0.2,steps=4"], progress=False)
    table = result.table().set_index(["model", "condition"])["accuracy"]
    assert table["q", "clean"] == 1 and table["q", "pgd-4 linf 51/255"] < 0.7
    with pytest.raises(InputError, match="gradients are read from ONNX files"):
        Twin(load_openvino(path))


def test_copies_compile_a_model_of_their_own_and_either_file_is_its_identity(images, tmp_path):
    model = load_openvino(files(linear(), tmp_path))
    name = fingerprint(model)
    assert torch.equal(copy.deepcopy(model)(images), model(images))
    assert fingerprint(copy.deepcopy(model)) == fingerprint(model) == name
    description, weights = ((tmp_path / f"q.{suffix}").read_bytes() for suffix in ("xml", "bin"))
    other = OpenVinoModel(description.replace(b'levels="256"', b'levels="255"'), weights)
    assert len({name, fingerprint(other), fingerprint(OpenVinoModel(description, weights[:-1] + b"\x3c"))}) == 3


def test_codes_are_read_for_an_audit(data, tmp_path):
    model = load_openvino(files(linear(), tmp_path))
    (found,) = model.codes()
    assert torch.equal(found.level, torch.from_numpy(WEIGHT).float() * SCALE) and found.step == SCALE
    float_model = origin()
    rng = bp.Rng(0, np.zeros(1, np.int64))
    for away, clean in ((0.3, True), (0.6, False)):
        with torch.no_grad():
            float_model[1].weight.copy_((torch.from_numpy(WEIGHT) + away) * SCALE)
        case = bp.audit.Case.of(float_model, data, data, schemes=(), deployed=model)
        assert (bp.audit.Pair(images=8, draws=19, level=0.05)(case, rng=rng).says == "clean") == clean


def test_weights_on_a_grid_of_fake_quantization_and_in_groups_are_read(tmp_path):
    ov = runtime()
    op = ov.opset13
    weight = np.random.default_rng(1).uniform(-1, 1, (2, 2, 1, 3, 3)).astype(np.float32)
    ends = np.abs(weight).max((2, 3, 4), keepdims=True)
    grid = op.fake_quantize(op.constant(weight), op.constant(-ends), op.constant(ends), -ends, ends, 15)
    images = op.parameter([-1, 2, 20, 20], ov.Type.f32, name="images")
    maps = op.group_convolution(images, grid, [1, 1], [0, 0], [0, 0], [1, 1])
    logits = op.reduce_mean(maps, op.constant([2, 3]), False)
    model = load_openvino(files(ov.Model([logits], [images], "groups"), tmp_path))
    assert model.scheme is not None and model.scheme.label == "w4a32"
    (found,) = model.codes()
    step = torch.from_numpy(ends / 7).flatten(0, 1)
    torch.testing.assert_close(found.step, step)
    torch.testing.assert_close(found.level, (torch.from_numpy(weight).flatten(0, 1) / step).round() * step)


def test_openvino_is_imported_without_its_telemetry():
    runtime()
    assert not any(name.startswith("openvino_telemetry") for name in sys.modules)


def test_the_command_line_takes_the_xml(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = convolutional()
    (tmp_path / "float.onnx").write_bytes(content)
    converted(quantized(content, bp.load_data("digits", limit=20).images(range(20)), tmp_path), tmp_path)
    code, out, err = run("compare", "float.onnx", "q.xml", "--data", "digits", "--limit", 16)
    assert code == 0 and "16 predictions agree" in out, err
    code, out, err = run("evaluate", "q.xml", "--data", "digits", "--limit", 16, "--suite", "clean")
    assert code == 0 and "q.xml" in out, err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: b"junk", "syntax error"),
        (lambda x: x[:1500], "cannot be read"),
        (lambda x: x.replace(b"<net ", b'<!DOCTYPE net [<!ENTITY a "b">]><net '), "it has a document type"),
        (lambda x: x.replace(b"net", b"tent"), "its root is 'tent'"),
        (lambda x: x.replace(b"<layers>", b"<layers>" + b"<a>" * 99 + b"</a>" * 99), "elements inside one another"),
        # 8-byte integers: the product of both sizes is 4,000, which is what the .bin has
        (lambda x: x.replace(b"10, 400", b"7, 5270498306774158176"), "a tensor of shape '7, 5270498306774158176'"),
        (lambda x: re.sub(rb'offset="\d+" size="4000"', b'offset="9999" size="4000"', x), "Incorrect weights"),
        (lambda x: x.replace(b'type="MatMul" version="opset1"', b'type="Mine" version="extension"'), "Cannot create"),
        (lambda x: x.replace(b'"f32"', b'"f64"'), "cannot open the file|takes f64"),
    ],
)
def test_damaged_and_hostile_descriptions_are_refused(change, words, tmp_path):
    path = files(linear(), tmp_path)
    changed = change(path.read_bytes())
    assert changed != path.read_bytes()
    path.write_bytes(changed)
    with pytest.raises(InputError, match=words):
        load_openvino(path)


def test_weights_that_are_missing_or_cut_are_refused(tmp_path):
    path = files(linear(), tmp_path)
    weights = path.with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(InputError, match="cannot open the file.*keep both files together"):
        load_openvino(path)
    weights.unlink()
    with pytest.raises(InputError, match=r"there is no .*q\.bin'.*Put the \.bin there"):
        load_openvino(path)


def test_models_of_another_kind_are_refused(tmp_path):
    ov = runtime()
    op = ov.opset13
    a, b = (op.parameter([-1, 1, 20, 20], ov.Type.f32, name=name) for name in "ab")
    one = op.constant(np.float32(1))
    with pytest.raises(InputError, match=r"takes f32 \[None, 1, 20, 20\], f32"):
        load_openvino(files(ov.Model([op.multiply(op.add(a, b), one)], [a, b], "two"), tmp_path))
    before = op.read_value(op.constant(np.zeros((1, 1, 20, 20), np.float32)), "seen", ov.Type.f32, [1, 1, 20, 20])
    keeps = ov.Model([op.result(op.add(a, before))], [op.assign(before, "seen")], [a], "keeps")
    with pytest.raises(InputError, match="and keeps seen"):
        load_openvino(files(keeps, tmp_path))
    model = linear(shape=(2**16 + 1, 1, 20, 20))
    with pytest.raises(InputError, match="takes 65,537 images at once"):
        load_openvino(files(model, tmp_path))
    maps = op.multiply(a, one)
    with pytest.raises(InputError, match=r"returns \[2, 1, 20, 20\] for 2 images"):
        load_openvino(files(ov.Model([maps], [a], "maps"), tmp_path))(torch.zeros(2, 1, 20, 20))


def test_images_of_another_size_and_gradients_are_refused(tmp_path):
    model = load_openvino(files(linear(), tmp_path))
    with pytest.raises(InputError, match=r"takes images of shape \(1, 20, 20\)"):
        model(torch.zeros(1, 1, 28, 28))
    with pytest.raises(InputError, match="no gradients.*--twin NAME"):
        model(torch.zeros(1, 1, 20, 20, requires_grad=True))


def test_where_it_is_missing_the_extra_is_named(monkeypatch, tmp_path):
    path = files(linear(), tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"OpenVINO files need the extra `openvino`. Run pip install 'bitproof\[open"):
        load_openvino(path)


def test_a_description_may_nest_a_few_bodies():
    check_xml(b"<net>" + b"<body><layers><layer>" * 5 + b"</layer></layers></body>" * 5 + b"</net>")
