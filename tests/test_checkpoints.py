"""Checkpoints of networks that only their owner has."""

import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.subjects import Subject
from bitproof.train import standard


class MyNet(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, width, 5, 3, bias=False), nn.BatchNorm2d(width)
        self.fc = nn.Linear(width * 36, 10)

    def forward(self, x):
        return self.fc(self.norm(self.conv(x)).relu().flatten(1))


@pytest.fixture(scope="module")
def images():
    return bp.load_data("digits", split="train", limit=16).images(range(16))


@pytest.mark.parametrize("folded", [False, True])
def test_an_own_network_comes_back_as_it_was_saved(folded, images, tmp_path):
    torch.manual_seed(0)
    network = MyNet().eval()
    start = bp.ptq.fold_batch_norm(network, images) if folded else network
    quantized = bp.quantize(start, bp.Scheme("lsq", weight_bits=4, act_bits=4, first="same"), [images])
    quantized.origin = {"seed": 3}
    bp.save_model(quantized, tmp_path / "q.safetensors", architecture="mynet")
    fresh = MyNet()
    opened = bp.load_model(fresh, weights=tmp_path / "q.safetensors")
    assert torch.equal(opened(images), quantized(images))
    assert (opened.scheme, opened.origin, opened.training) == (quantized.scheme, {"seed": 3}, False)
    assert fresh.training and not hasattr(fresh, "scheme")


def test_class_names_are_kept_and_compared_with_those_of_the_data(images, tmp_path):
    network, path = MyNet().eval(), tmp_path / "c.safetensors"
    network.class_names = names = (*"abcdefghi", "caf\u00e9")
    bp.save_model(network, path, architecture="mynet")
    opened = bp.load_model(MyNet(), weights=path)
    assert opened.class_names == names
    assert bp.quantize(opened, bp.Scheme(act_bits=32)).class_names == names
    labels = [0] * 16
    right = bp.from_arrays(images, labels, classes=[*names[:9], "cafe\u0301"])
    assert len(bp.evaluate(opened, right, suite="clean", progress=False).cells) == 1
    assert len(bp.evaluate(opened, bp.load_data("digits", limit=8), suite="clean", progress=False).cells) == 1
    mixed = bp.from_arrays(images, labels, classes=["b", "a", *names[2:]])
    with pytest.raises(bp.InputError, match="class 0 of model 'model' is 'a', of data set 'arrays' it is 'b'.*a, b, c"):
        bp.evaluate(bp.quantize(opened, bp.Scheme(act_bits=32)), mixed, suite="clean", progress=False)
    assert Subject.of(opened).fingerprint == Subject.of(bp.load_model(MyNet(), weights=path)).fingerprint


def test_training_keeps_the_names_of_its_classes(tmp_path):
    train = bp.from_arrays(*_few(), classes=[f"number {i}" for i in range(10)])
    bp.experiment.train(
        standard(epochs=1),
        bp.load_model("digits_cnn"),
        train,
        output=tmp_path,
        architecture="digits_cnn",
        progress=False,
    )
    opened = bp.load_model("digits_cnn", weights=tmp_path / "last.safetensors")
    assert opened.class_names[3] == "number 3"


def _few():
    data = bp.load_data("digits", split="train", limit=64)
    return data.images(range(64)), data.labels


def test_an_own_network_takes_a_plain_state_dict(images, tmp_path):
    network = MyNet().eval()
    torch.save(network.state_dict(), tmp_path / "w.pt")
    assert torch.equal(bp.load_model(MyNet(), weights=tmp_path / "w.pt")(images), network(images))


def test_mistakes_with_own_networks_are_explained(images, tmp_path):
    bp.save_model(MyNet(), tmp_path / "f.safetensors", architecture="mynet")
    with pytest.raises(bp.InputError, match=r"unknown model 'mynet'.*pass it: load_model\(Network\(\), weights"):
        bp.load_model("mynet", weights=tmp_path / "f.safetensors")
    with pytest.raises(bp.InputError, match="a MyNet without weights"):
        bp.load_model(MyNet())
    with pytest.raises(bp.InputError, match="a MyNet with classes.*build the network with the classes"):
        bp.load_model(MyNet(), weights=tmp_path / "f.safetensors", classes=3)
    with pytest.raises(bp.InputError, match="does not fit MyNet"):
        bp.load_model(MyNet(width=5), weights=tmp_path / "f.safetensors")
