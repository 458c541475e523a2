"""A model beside its deployment: agreement, noise layer by layer, the first layer that parts, mistakes in words."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.deploy.comparison import noise
from bitproof.errors import InputError

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from bitproof.deploy import OnnxModel, Twin, compare, export_onnx, integer_form, load_onnx
from bitproof.deploy.layers import layer_inputs
from bitproof.subjects import Subject
from foreign_onnx import convolutional, quantized


@pytest.fixture(scope="module")
def data():
    return bp.load_data("digits", limit=40)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("deployed") / "w4a4.onnx"


@pytest.fixture(scope="module")
def deployed(weights, path):
    """A trained network, its 4-bit copy and integer form, and the session of its file."""
    train = bp.load_data("digits", split="train", limit=64)
    model = bp.load_model("digits_cnn", weights=weights)
    w4a4 = bp.quantize(model, bp.Scheme(weight_bits=4, act_bits=4), train)
    form = integer_form(w4a4, train)
    export_onnx(form, path)
    return model, w4a4, form, load_onnx(path)


def test_decibels_have_a_closed_form():
    x = torch.tensor([3.0, 4.0])
    assert noise(x, 1.01 * x) == pytest.approx(40, abs=1e-3)
    assert noise(x, x) == math.inf
    assert noise(torch.zeros(2), x) == -math.inf


def test_the_inputs_of_a_sessions_layers_are_those_of_its_integer_form(deployed, data):
    _, _, form, session = deployed
    images = data.images(range(5))
    (one, expected), (other, found) = (layer_inputs(part, images) for part in (form, session))
    assert [name.removeprefix("graph.") for name, _ in one] == [name for name, _ in other]
    assert torch.equal(expected, found)
    for (name, x), (_, y) in zip(one, other, strict=True):
        torch.testing.assert_close(x.flatten(), y.flatten(), rtol=1e-6, atol=1e-6, msg=name)


def test_our_own_export_is_rebuilt_to_the_gradient_of_its_integer_form(deployed, data):
    _, w4a4, form, session = deployed
    twin, images = Twin(session), data.images(range(16))
    assert torch.equal(twin(images), form(images))
    found = []
    for model in (twin, form):
        inputs = images.clone().requires_grad_()
        found += torch.autograd.grad(model(inputs).logsumexp(1).sum(), inputs)
    assert nn.functional.cosine_similarity(*(part.flatten(1) for part in found)).min() > 0.999
    assert Subject.of(twin).scheme == w4a4.scheme


def test_an_integer_form_and_its_session_do_not_part(deployed, data):
    _, _, form, session = deployed
    found = compare(form, session, data)
    assert found.parted is None
    assert found.kinship.same == 40 and found.difference[0] == 0
    assert "equal but for rounding" in found.findings[-1]


def test_the_layer_in_which_they_part_is_named(deployed, data):
    _, _, form, session = deployed
    changed = copy.deepcopy(form)
    names = [name for name, _ in layer_inputs(session, data.images(range(2)))[0]]
    changed.layers()[names[1]].scale.mul_(1.5)
    found = compare(changed, session, data)
    assert found.parted is not None and found.parted.other == names[2]
    assert any(names[2] in finding for finding in found.findings)


def test_a_float_model_loses_with_every_layer(deployed, data):
    model, w4a4, _, session = deployed
    found = compare(model, session, data)
    levels = [layer.decibels for layer in found.layers]
    assert len(levels) == 4 and levels[0] > 40 and 0 < levels[-1] < 40
    simulated = compare(w4a4, session, data)
    assert simulated.logits > found.logits


def test_both_kinds_of_files_of_onnx_runtime_are_looked_into(data, tmp_path):
    from onnxruntime.quantization import QuantFormat, QuantType

    network, images = OnnxModel(convolutional()), next(data.inputs(40))
    for kind in (QuantFormat.QDQ, QuantFormat.QOperator):
        content = quantized(convolutional(), images, tmp_path, quant_format=kind, activation_type=QuantType.QUInt8)
        found = compare(network, OnnxModel(content), data)
        assert [layer.other for layer in found.layers] == ["w1", "w2", "w3"], kind
        assert all(layer.decibels > 25 for layer in found.layers)


def test_probabilities_are_logits_but_for_a_constant(data):
    found = compare(OnnxModel(convolutional()), OnnxModel(convolutional(softmax=True)), data)
    assert found.logits > 100 and "equal but for rounding" in found.findings[-1]


def test_what_cannot_be_matched_is_said(deployed, data):
    model, *_ = deployed
    found = compare(model, OnnxModel(convolutional()), data)
    assert found.layers == () and "layers with weights" in found.findings[1]
    with pytest.raises(InputError, match="gives 7 logits, the other one 10"):
        compare(model, nn.Sequential(nn.Flatten(), nn.Linear(400, 7)), data)


def test_the_command_prints_what_was_found(deployed, path, run, weights, tmp_path):
    code, out, _ = run("compare", "digits_cnn", path, "--weights", weights, "--data", "digits", "--limit", 40)
    assert code == 0
    for word in (
        "n = 40",
        "p = 1",
        "logits",
        "dB",
        "predictions agree",
        "the first layer that is given something else",
    ):
        assert word in out, word
    twice = ("--deployed-mean", "0.9", "--deployed-std", "0.1")  # its own graph normalises
    code, out, _ = run("compare", "digits_cnn", path, "--weights", weights, "--data", "digits", "--limit", 40, *twice)
    assert code == 0 and "it seems to normalise by itself: leave the normalisation before it out" in out
    code, _, err = run("compare", "digits_cnn", path, "--data", "digits", "--deployed-mean", "0.5")
    assert code == 2 and "one of mean and std alone" in err
    code, _, err = run("evaluate", "digits_cnn", "--data", "digits", "--limit", 8, *twice)
    assert code == 2 and "without --deployed" in err
    code, _, err = run("compare", "digits_cnn", tmp_path / "none.onnx", "--data", "digits")
    assert code == 2 and "there is no file" in err


def test_a_twin_on_the_command_line_is_attacked_by_gradients(deployed, path, run, weights, tmp_path):
    attack = ("--data", "digits", "--limit", 16, "--condition", "pgd:eps=0.2,steps=4")
    rates = {}
    for twin in (("--twin", "file"), ("--twin", "digits_cnn", "--weights", weights)):
        code, out, err = run("evaluate", path, *attack, *twin)
        assert code == 0 and "note: w4a4.onnx and its twin: " in err
        rates[twin[1]] = out
    assert all("pgd-4 linf 51/255" in out for out in rates.values())
    code, out, err = run("evaluate", "digits_cnn", "--weights", weights, "--onnx", path, *attack, "--twin", "model")
    assert code == 0 and "w4a4.onnx" in out
    code, _, err = run("evaluate", "digits_cnn", "--weights", weights, *attack, "--twin", "file")
    assert code == 2 and "without a deployed file" in err
    code, _, err = run("evaluate", path, *attack, "--twin", "digits_cnn")
    assert code == 2 and "--twin digits_cnn without --weights" in err and "random weights" in err
    other = tmp_path / "other.safetensors"
    bp.save_model(bp.load_model("digits_cnn"), other, architecture="digits_cnn")
    code, _, err = run("evaluate", path, *attack, "--twin", "digits_cnn", "--weights", other)
    assert code == 2 and "do not belong together" in err


def test_the_gate_judges_a_store(run, tmp_path):
    labels = np.arange(400) % 10
    images = torch.zeros(400, 1, 10, 10)
    images[torch.arange(400), 0, 0, labels] = 1

    class Right(nn.Module):
        """Right but for those whose last pixel is below a level."""

        def __init__(self, level):
            super().__init__()
            self.level = level

        def forward(self, x):
            logits = 9 * x[:, 0, 0].clone()
            return torch.where((x[:, 0, -1, -1] < self.level)[:, None], logits.roll(1, 1), logits)

    images[:, 0, -1, -1] = torch.linspace(0, 1, 400)
    store = tmp_path / "runs.db"
    data = bp.from_arrays(images, labels, classes=[str(i) for i in range(10)])
    models = {"float": Right(0.05), "good": Right(0.0501), "bad": Right(0.5), "near": Right(0.06)}
    bp.evaluate(models, data, suite="clean", store=store, progress=False)
    for name, code, verdict in (("good", 0, "passed"), ("bad", 1, "failed"), ("near", 3, "undecided")):
        found, out, _ = run("check", store, "--preset", "mlperf", "--model", name)
        assert found == code and out.startswith(f"{verdict}: acc >= 0.99 * float: {name}: ")
    junit, table = tmp_path / "rulings.xml", tmp_path / "rulings.md"
    code, out, _ = run("check", store, "--require", "acc >= 0.99 * float", "--junit", junit, "--markdown", table)
    assert code == 1 and len(out.splitlines()) == 3
    assert 'tests="3" failures="1" skipped="1"' in junit.read_text()
    assert table.read_text().count("\n| ") == 3
    assert run("check", store)[0] == run("check", store, "--require", "acc > 1")[0] == 2


def test_a_twin_of_ones_own_gets_the_normalisation_of_its_file(path, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "twin_nets.py").write_text(
        "import torch\nfrom torch import nn\n\n\nclass Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.linear = nn.Linear(400, 10)\n\n"
        "    def forward(self, x):\n        return self.linear(x.flatten(1)).sin()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    network = bp.load_model("twin_nets:Net")
    program = torch.export.export(
        network, (torch.zeros(2, 1, 20, 20),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)
    )
    torch.export.save(program, "net.pt2")
    torch.save(network.state_dict(), "net.pt")
    code, _, err = run(
        *("evaluate", "net.pt2", "--trust", "--mean", "0.5", "--std", "0.01", "--twin", "twin_nets:Net", "--weights"),
        *("net.pt", "--data", "digits", "--limit", 16, "--suite", "clean", "--quiet"),
    )
    assert code == 0 and "16 of 16 predictions agree, the logits correlate by 1.00" in err
