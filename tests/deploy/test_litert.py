"""TensorFlow Lite files by LiteRT: codes in closed form, probabilities, twins of the float origin, what is refused."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.errors import InputError

pytest.importorskip("ai_edge_litert")

from bitproof.deploy import LiteRtModel, Twin, check_twin, load_deployed, load_litert
from bitproof.subjects.fingerprint import fingerprint
from tflite_files import GRIDS, WEIGHT, linear


@pytest.fixture(scope="module")
def data():
    return bp.load_data("digits", limit=20)


def closed_form(images):
    """What the int8 file computes, on integers."""
    (xs, xz), ws, (ys, yz) = GRIDS
    codes = torch.clamp((images / xs).round() + xz, -128, 127).flatten(1)
    sums = (codes - xz).double() @ torch.from_numpy(WEIGHT).double().T
    out = torch.clamp((sums * (xs * ws / ys)).round() + yz, -128, 127)
    return ((out - yz) * ys).float()


def test_an_int8_file_gives_what_integers_give(data):
    model, images = LiteRtModel(linear()), data.images(range(20))
    step = GRIDS[2][0]
    found = model(images)
    away = ((found - closed_form(images)) / step).round().abs()
    assert away.max() <= 1 and (away == 0).float().mean() > 0.95  # kernels round in integers
    assert torch.equal(model(images[:1]), found[:1])


def test_probabilities_become_logits_up_to_a_constant(data):
    images = data.images(range(20))
    found = LiteRtModel(linear(kind="float32", softmax=True))(images)
    weight = torch.from_numpy(WEIGHT).float() * GRIDS[1]
    torch.testing.assert_close(found, (images.flatten(1) @ weight.T).log_softmax(1), rtol=1e-4, atol=1e-4)


def test_it_is_tested_beside_its_origin_and_attacked_through_it(data, tmp_path):
    path = tmp_path / "q.tflite"
    path.write_bytes(linear())
    origin = nn.Sequential(nn.Flatten(), nn.Linear(400, 10, bias=False))
    with torch.no_grad():
        origin[1].weight.copy_(torch.from_numpy(WEIGHT).float() * GRIDS[1])
    twin = Twin(load_deployed(path), gradient_from=origin)
    assert check_twin(twin, data).correlation > 0.99
    right = bp.from_arrays(data.images(range(20)), twin(data.images(range(20))).argmax(1), classes=data.classes)
    result = bp.evaluate({"float": origin, "q": twin}, right, conditions=["pgd:eps=0.2,steps=4"], progress=False)
    table = result.table().set_index(["model", "condition"])["accuracy"]
    assert table["q", "clean"] == 1 and table["q", "pgd-4 linf 51/255"] < 0.7
    with pytest.raises(InputError, match="gradients are read from ONNX files"):
        Twin(load_litert(path))


def test_copies_open_an_interpreter_of_their_own(data):
    model = LiteRtModel(linear())
    other, images = copy.deepcopy(model), data.images(range(3))
    assert torch.equal(other(images), model(images))
    assert fingerprint(other) == fingerprint(model) != fingerprint(LiteRtModel(linear(kind="float32")))


@pytest.mark.parametrize("content", [b"junk", linear()[:-400], b"\x00" * 64])
def test_damaged_files_are_refused(content, tmp_path):
    path = tmp_path / "q.tflite"
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot open the file"):
        load_litert(path)


def test_images_of_another_size_and_gradients_are_refused():
    model = LiteRtModel(linear())
    with pytest.raises(InputError, match=r"takes images of shape \(1, 20, 20\)"):
        model(torch.zeros(1, 1, 28, 28))
    with pytest.raises(InputError, match="no gradients.*--twin NAME"):
        model(torch.zeros(1, 1, 20, 20, requires_grad=True))
    assert np.dtype(model.taken.kind) == np.int8
    assert model.scheme is not None and model.scheme.label == "w8a8"
    assert LiteRtModel(linear(kind="float32")).scheme is None


def test_codes_are_read_for_an_audit(data):
    model = LiteRtModel(linear())
    (found,) = model.codes()
    assert torch.equal(found.level, torch.from_numpy(WEIGHT).float() * np.float32(GRIDS[1]))
    assert LiteRtModel(linear(kind="float32")).codes() == []
    origin = nn.Sequential(nn.Flatten(), nn.Linear(400, 10, bias=False))
    with torch.no_grad():
        origin[1].weight.copy_((torch.from_numpy(WEIGHT) + 0.3) * GRIDS[1])
    case = bp.audit.Case.of(origin, data, data, schemes=(), deployed=model)
    rng = bp.Rng(0, np.zeros(1, np.int64))
    assert bp.audit.Pair(images=8)(case, rng=rng).says == "clean"
    with torch.no_grad():
        origin[1].weight.add_(0.3 * GRIDS[1])  # most codes are not the nearest any more
    case = bp.audit.Case.of(origin, data, data, schemes=(), deployed=model)
    assert bp.audit.Pair(images=8, draws=19, level=0.05)(case, rng=rng).says != "clean"
