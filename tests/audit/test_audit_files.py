"""Pairs whose deployed half is a file that a converter made of the float model, or somebody after it."""

import warnings
from functools import partial

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic

import bitproof as bp
from bitproof.audit import Case, Pair
from bitproof.audit.deployed import matched
from bitproof.core.cpu import integer_instructions
from bitproof.deploy.codes import Stored
from bitproof.quant import compute_layers
from bitproof.records import CLEAN, SUSPICIOUS, UNDECIDED
from foreign_onnx import quantized

RNG = bp.Rng(0, np.zeros(1, np.int64))
PAIR = Pair(draws=19, level=0.05, images=20)


@pytest.fixture(scope="module")
def train():
    return bp.load_data("digits", split="train", limit=128)


@pytest.fixture(scope="module")
def case(data, train, model):
    return partial(Case.of, model, data, train, schemes=())


def exported(model, folder) -> bytes:
    """The float model as PyTorch's older exporter writes it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing
        options = {"dynamo": False, "dynamic_axes": {"images": {0: "n"}}}
        images = torch.rand(2, 1, 20, 20)
        torch.onnx.export(model, (images,), folder / "float.onnx", input_names=["images"], **options)
    return (folder / "float.onnx").read_bytes()


def converted(model, train, folder, **options) -> bytes:
    return quantized(exported(model, folder), train.images(range(32)), folder, weight_type=QuantType.QInt8, **options)


@pytest.mark.parametrize("options", [{"per_channel": True}, {"per_channel": False}], ids=["channel", "tensor"])
@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_what_onnxruntime_makes_of_it_is_clean(case, model, train, tmp_path, options, form):
    kind = {"quant_format": getattr(QuantFormat, form), "activation_type": QuantType.QUInt8}
    theirs = bp.deploy.OnnxModel(converted(model, train, tmp_path, **kind, **options))
    audited = case(deployed=theirs)
    assert set(audited.claimed.layers) == {name for name, _ in compute_layers(model)}
    found = PAIR(audited, rng=RNG)
    assert found.says == CLEAN, found.sentence
    assert "0.00% of" in found.sentence


def test_a_file_that_onnxruntime_takes_only_as_it_is_is_opened_so(case, model, train, tmp_path):
    """int8 by int8: there is no such QGemm on uint8, which exact products on older processors would need."""
    kind = {"quant_format": QuantFormat.QOperator, "activation_type": QuantType.QInt8}
    file = converted(model, train, tmp_path, **kind)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = PAIR(case(deployed=bp.deploy.OnnxModel(file)), rng=RNG)
    inexact = integer_instructions() in ("avx2", "avx512")
    assert {"exact products" in str(one.message) for one in told} == ({True} if inexact else set())
    assert found.says == CLEAN
    assert found.deployed is not None and len(found.deployed.notes) == int(inexact)
    assert not any(inexact and "saturate" not in note for note in found.deployed.notes)


def test_a_file_of_dynamic_quantization_is_clean_too(case, model, tmp_path):
    exported(model, tmp_path)
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "theirs.onnx", weight_type=QuantType.QInt8)
    found = PAIR(case(deployed=bp.deploy.OnnxModel((tmp_path / "theirs.onnx").read_bytes())), rng=RNG)
    assert found.says == CLEAN, found.sentence
    assert "0.00% of" in found.sentence


def test_codes_that_were_changed_in_the_file_are_found(case, model, train, tmp_path):
    """Codes of the last layer are moved by one, in favour of class 3."""
    proto = onnx.load_from_string(converted(model, train, tmp_path, per_channel=True))
    (tensor,) = (t for t in proto.graph.initializer if sorted(t.dims) == [10, 1200])
    codes = numpy_helper.to_array(tensor).astype(int)
    row = (slice(None), 3) if codes.shape[1] == 10 else (3, slice(None))
    codes[row] = np.minimum(codes[row] + 1, 127)
    tensor.CopyFrom(numpy_helper.from_array(codes.astype(np.int8), tensor.name))
    found = PAIR(case(deployed=bp.deploy.OnnxModel(proto.SerializeToString())), rng=RNG)
    assert found.says in (SUSPICIOUS, UNDECIDED), found.sentence
    share = next(reading.value for reading in found.readings if "not nearest" in reading.statistic)
    assert share == pytest.approx(1200 / sum(w.weight.numel() for _, w in compute_layers(model)), rel=0.1)


def test_a_float_file_is_audited_by_its_own_layers(model, data, train, tmp_path):
    """The commonest pair of people who live in ONNX: the float file and what was made of it."""
    theirs = converted(model, train, tmp_path, per_channel=True)
    own = bp.deploy.OnnxModel((tmp_path / "float.onnx").read_bytes())
    audited = Case.of(own, data, train, schemes=(), deployed=bp.deploy.OnnxModel(theirs))
    assert len(audited.claimed.layers) == 4
    assert PAIR(audited, rng=RNG).says == CLEAN
    assert Case.of(own, data, train, schemes=(bp.Scheme(),)).forms[0].layers


def test_another_networks_file_is_no_rounding_of_this_one(case, train, tmp_path):
    theirs = converted(bp.load_model("digits_cnn", seed=9), train, tmp_path)
    assert PAIR(case(deployed=bp.deploy.OnnxModel(theirs)), rng=RNG).says == UNDECIDED


def test_a_linear_layer_behind_channels_last_maps_is_found(model):
    """TFLite flattens [h, w, c]: the columns of the layer behind it come in another order."""
    own = {name: layer.weight.detach() for name, layer in compute_layers(model)}
    stored = [Stored(level=weight, step=torch.tensor(0.01)) for weight in own.values() if weight.dim() > 2]
    turned = own["backbone.linear"].unflatten(1, (48, 25)).transpose(1, 2).flatten(1)
    pairs = matched(model, [*stored, Stored(level=turned, step=torch.full((10, 1), 0.01))])
    assert set(pairs) == set(own)
    assert all(torch.equal(weight, found.level) for weight, found in pairs.values())


def test_a_layer_that_is_used_twice_may_stand_in_the_file_twice(model):
    stored = [Stored(level=layer.weight.detach(), step=torch.tensor(0.01)) for _, layer in compute_layers(model)]
    assert len(matched(model, [*stored, stored[1]])) == len(stored)
    assert matched(model, [*stored, Stored(level=stored[1].level + 0.1, step=torch.tensor(0.01))]) == {}
