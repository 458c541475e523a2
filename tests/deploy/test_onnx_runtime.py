"""ONNX files as models under test: any batch size, no gradients, judged like all others."""

import copy
import importlib.util
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.core.cpu import integer_instructions
from bitproof.deploy import OnnxModel, agreement, load_onnx, sizes
from bitproof.errors import InputError
from bitproof.subjects.fingerprint import fingerprint

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

CLASSES, PIXELS = 10, 400
WEIGHT = np.random.default_rng(0).normal(size=(PIXELS, CLASSES)).astype(np.float32)


def linear(batch="n", weight=WEIGHT, inputs=1, kind=TensorProto.FLOAT):
    """A linear classifier of the 20x20 digits as an ONNX file that bitproof did not write."""
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x0"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info(f"x{i}", kind, [batch, 1, 20, 20]) for i in range(inputs)],
        [helper.make_tensor_value_info("y", kind, [batch, CLASSES])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return model.SerializeToString()


class Linear(nn.Module):
    def forward(self, images):
        return images.flatten(1) @ torch.from_numpy(WEIGHT)


@pytest.fixture(scope="module")
def data():
    return bp.load_data("digits", limit=30)


@pytest.mark.parametrize("batch", ["n", 1, 8])
def test_any_number_of_images_even_where_the_file_fixes_it(batch, data):
    model = OnnxModel(linear(batch))
    images = data.images(range(30))
    assert model(images).shape == (30, 10)
    torch.testing.assert_close(model(images), Linear()(images), rtol=1e-4, atol=1e-4)


def test_a_session_is_tested_like_any_model(data):
    models = {"torch": Linear(), "onnx": OnnxModel(linear())}
    conditions = ["clean", "gaussian-noise:severity=3", "pipeline:resize=opencv-area"]
    result = bp.evaluate(models, data, conditions=conditions, progress=False)
    predictions = {(c.model.name, c.condition.label): c.predictions for c in result.cells}
    assert len(predictions) == 6
    for (name, label), found in predictions.items():
        assert np.array_equal(found, predictions["torch", label]), name
    assert len(result.table()) == 6


def test_attacks_that_follow_gradients_are_refused(data):
    with pytest.raises(InputError, match="Attack its twin"):
        bp.evaluate(OnnxModel(linear()), data, conditions=["fgsm"], progress=False)


def test_the_fingerprint_is_that_of_the_file_and_the_runtime():
    one, again, other = (OnnxModel(linear(weight=w)) for w in (WEIGHT, WEIGHT, WEIGHT + 1))
    assert fingerprint(one) == fingerprint(again) != fingerprint(other)
    assert f"instructions={integer_instructions()}" in str(one)
    assert "onnxruntime=" in str(one)


def test_copies_and_pickles_work_alone(data):
    model, images = OnnxModel(linear()), data.images(range(4))
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), bp.freeze(model)):  # noqa: S301
        assert torch.equal(other(images), model(images))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"junk", "cannot open the file"),
        (linear()[:-100], "cannot open the file"),
        (linear(inputs=2), "takes tensor\\(float\\).*, tensor\\(float\\)"),
        (linear(kind=TensorProto.DOUBLE, weight=WEIGHT.astype(np.float64)), "takes tensor\\(double\\)"),
    ],
)
def test_files_that_are_no_classifier_are_refused(content, message, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_onnx(path)


def test_nothing_outside_the_file_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    onnx.save(onnx.load_from_string(linear()), "big.onnx", save_as_external_data=True, location="w", size_threshold=0)
    assert (tmp_path / "w").exists()
    with pytest.raises(InputError, match="keeps 'w' outside itself"):
        load_onnx("big.onnx")


def outside(name):
    tensor = numpy_helper.from_array(WEIGHT, name)
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "secret"
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    return tensor


def with_nodes(nodes, initializers=()):
    """A classifier of the digits whose weight "w" these nodes make."""
    model = onnx.load_from_string(linear())
    del model.graph.initializer[:]
    model.graph.initializer.extend(initializers)
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    return model.SerializeToString()


def test_nor_is_it_through_a_constant_or_a_branch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_bytes(WEIGHT.tobytes())
    constant = helper.make_node("Constant", [], ["w"], value=outside("inner"))
    with pytest.raises(InputError, match="keeps 'inner' outside itself: files that a file names are not read"):
        OnnxModel(with_nodes([constant]))
    branch = helper.make_graph(
        [helper.make_node("Identity", ["deep"], ["v"])],
        "branch",
        [],
        [helper.make_tensor_value_info("v", TensorProto.FLOAT, WEIGHT.shape)],
        [outside("deep")],
    )
    choice = helper.make_node("If", ["yes"], ["w"], then_branch=branch, else_branch=branch)
    with pytest.raises(InputError, match="keeps 'deep' outside itself"):
        OnnxModel(with_nodes([choice], [numpy_helper.from_array(np.array(True), "yes")]))


def test_what_the_runtime_cannot_run_is_one_message(data):
    constant = helper.make_node("Constant", [], ["small"], value=numpy_helper.from_array(np.ones(3, np.float32), "s"))
    shape = numpy_helper.from_array(np.array([PIXELS, CLASSES]), "shape")
    model = with_nodes([constant, helper.make_node("Expand", ["small", "shape"], ["w"])], [shape])
    with pytest.raises(InputError, match="ONNX Runtime cannot (open the file|run the model)"):
        OnnxModel(model)(data.images(range(2)))


@pytest.mark.parametrize(
    "text",
    ["{", "null", "[" * 100_000, '{"scheme": 3}', '{"scheme": {"type": "PGD"}}', '{"step": "1"}', '{"step": 1e999}'],
)
def test_what_an_onnx_file_says_of_itself_is_checked(text):
    model = onnx.load_from_string(linear())
    entry = model.metadata_props.add()
    entry.key, entry.value = "bitproof", text
    with pytest.raises(InputError, match="what the ONNX file says of itself is damaged"):
        OnnxModel(model.SerializeToString())


def test_missing_and_empty_files_and_images_of_another_size_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_onnx(tmp_path / "none.onnx")
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(InputError, match="must not be empty"):
        load_onnx(tmp_path / "empty.onnx")
    with pytest.raises(InputError, match=r"takes images of shape \(1, 20, 20\)"):
        OnnxModel(linear())(torch.zeros(2, 1, 28, 28))


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"onnxruntime is not installed.*pip install 'bitproof\[deploy\]'"):
        OnnxModel(linear())


def test_agreement_counts_what_differs(data):
    class Shifted(nn.Module):
        """The same, but for the first image, whose class 0 wins by far."""

        def forward(self, images):
            logits = session(images).clone()
            logits[0, 0] += 1000
            return logits

    session = OnnxModel(linear())
    found = agreement(Shifted(), session, [data.images(range(30))])
    assert (found.count, found.same, found.same_logits, found.steps) == (30, 29, 29, None)
    assert found.largest == pytest.approx(1000, rel=1e-4)


def test_sizes_count_bits_scales_and_zero_points():
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(5, 7))
    floats = 4 * (135 + 5 + 4 * 5 + 35 + 7)
    assert sizes(net).packed_bytes == sizes(net).float_bytes == floats
    rest = floats - 4 * (135 + 35)

    def packed(scheme):
        images = [torch.rand(4, 3, 3, 3)]
        return sizes(bp.quantize(net, bp.Scheme.parse(f"{scheme},first=same,last=same"), images)).packed_bytes - rest

    assert packed("w3a32") == 51 + 14 + 5 * (5 + 7)  # ceil(135 * 3 / 8), ceil(35 * 3 / 8), scale and zero point
    assert packed("w3a32,granularity=tensor") == 51 + 14 + 5 * 2
    assert packed("w3a8") == packed("w3a32") + 5 * 2
    assert packed("twn:w2a32") == 34 + 9 + 4 * 2
    assert packed("xnor:w1a32") == 17 + 5 + 4 * (5 + 7)
    quantized = bp.quantize(net, bp.Scheme(weight_bits=3, act_bits=32))
    assert sizes(nn.Sequential(nn.Identity(), quantized)) == sizes(quantized)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("sse avx2", "avx2"),
        ("avx2 avx512bw", "avx512"),
        ("avx2 avx512bw avx512_vnni", "avx512-vnni"),
        ("sse", "unknown"),
    ],
)
def test_the_integer_instructions_are_read_from_the_flags(flags, expected, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("pathlib.Path.read_text", lambda path: f"model name\t: any\nflags\t\t: fpu {flags}\n")
    assert integer_instructions.__wrapped__() == expected


def test_a_session_is_attacked_by_asking_and_through_its_twin(data):
    models = {"torch": Linear(), "onnx": OnnxModel(linear())}
    asking = ["square:eps=0.1,queries=50", "hopskipjump:queries=60", "spsa:eps=0.1,steps=3,samples=8"]
    result = bp.evaluate(models, data, conditions=asking, transfer=["fgsm:eps=0.1", "noise:eps=0.1"], progress=False)
    table = result.table().query("model == 'onnx'").set_index("condition")["accuracy"]
    clean = (Linear()(data.images(range(30))).argmax(1).numpy() == data.labels).mean()
    assert table["square-50 linf 25.5/255"] <= clean
    transfers = result.transfer()
    assert set(transfers["source"]) == {"torch", "onnx"}
    assert set(transfers.query("source == 'onnx'")["attack"]) == {"noise linf 25.5/255"}
    fgsm = transfers[transfers["attack"].str.startswith("fgsm")].set_index("target")["accuracy"]
    assert fgsm["onnx"] == fgsm["torch"] < clean
