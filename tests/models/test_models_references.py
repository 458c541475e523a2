"""The papers' networks against independent implementations: torchvision's, or their equations written out."""

from importlib.util import find_spec

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bitproof import Scheme, quantize
from bitproof.models import build_model
from bitproof.models.bernhard2019 import SVHN, BernhardCnn
from bitproof.models.resnet8 import ResNet8
from bitproof.models.wide_resnet import WideResNet


def settled(model, seed=0):
    """The model with batch norms that do something: random statistics, gains and offsets."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.5, 1.5),
                (module.weight.data, 0.5, 1.5),
                (module.bias.data, -0.5, 0.5),
            ):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)
    return model.eval()


def assert_alike(logits, reference):
    assert (logits - reference).norm() <= 1e-5 * reference.norm()


@pytest.fixture(scope="module")
def torchvision():
    if find_spec("torchvision") is None:
        pytest.skip("the extra `zoo` is not installed")
    from torchvision import models

    return models


@pytest.mark.parametrize("name", ["vgg16", "vgg16_bn"])
@torch.no_grad()
def test_vgg16_is_torchvisions_with_smaller_dense_layers(name, torchvision):
    backbone = settled(build_model(name)).backbone
    reference = torchvision.get_model(name, weights=None, num_classes=10)
    reference.avgpool = nn.Identity()
    reference.classifier[0], reference.classifier[3] = nn.Linear(512, 512), nn.Linear(512, 512)
    reference.classifier[6] = nn.Linear(512, 10)
    reference.features.load_state_dict(backbone.features.state_dict())
    for theirs, ours in ((0, 1), (3, 4), (6, 6)):
        reference.classifier[theirs].load_state_dict(backbone.classifier[ours].state_dict())
    images = torch.rand(2, 3, 32, 32)
    assert_alike(backbone(images), reference.eval()(images))


@torch.no_grad()
def test_alexnet_is_torchvisions_with_small_kernels(torchvision):
    backbone = build_model("alexnet").backbone
    reference = torchvision.alexnet(weights=None, num_classes=10)
    reference.avgpool = nn.Identity()
    reference.features[0] = nn.Conv2d(3, 64, 3, stride=2, padding=1)
    reference.features[3] = nn.Conv2d(64, 192, 3, padding=1)
    for position in (2, 5, 12):
        reference.features[position].kernel_size = 2
    reference.classifier[1] = nn.Linear(1024, 4096)
    reference.load_state_dict(backbone.state_dict())
    images = torch.rand(2, 3, 32, 32)
    assert_alike(backbone(images), reference.eval()(images))


@torch.no_grad()
def test_resnet18_is_torchvisions_with_another_stem(torchvision):
    backbone = settled(build_model("resnet18")).backbone
    reference = torchvision.resnet18(weights=None, num_classes=10)
    reference.conv1, reference.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    names = {"shortcut": "downsample", "linear": "fc"}
    renamed = {
        ".".join(names.get(part, part) for part in key.split(".")): value
        for key, value in backbone.state_dict().items()
    }
    reference.load_state_dict(renamed)
    images = torch.rand(2, 3, 32, 32)
    assert_alike(backbone(images), reference.eval()(images))


@torch.no_grad()
def test_mobilenetv2_for_64_pixels_is_torchvisions(torchvision):
    backbone = settled(build_model("mobilenetv2_64px")).backbone
    reference = torchvision.mobilenet_v2(weights=None, num_classes=200)
    reference.load_state_dict(backbone.state_dict())
    images = torch.rand(2, 3, 64, 64)
    assert_alike(backbone(images), reference.eval()(images))


@torch.no_grad()
def test_mobilenetv2_for_32_pixels_is_torchvisions_with_two_strides_of_1(torchvision):
    backbone = settled(build_model("mobilenetv2")).backbone
    reference = torchvision.mobilenet_v2(weights=None, num_classes=10)
    reference.load_state_dict(backbone.state_dict())
    reference.features[0][0].stride = reference.features[2].conv[1][0].stride = (1, 1)
    images = torch.rand(2, 3, 32, 32)
    assert_alike(backbone(images), reference.eval()(images))


def normalised(x, state, name, eps=1e-5):
    mean, variance, gain, offset = (
        state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
    )
    shape = (1, -1, *[1] * (x.dim() - 2))
    return (x - mean.view(shape)) / (variance.view(shape) + eps).sqrt() * gain.view(shape) + offset.view(shape)


@torch.no_grad()
def test_wide_resnet_is_its_equations():
    """x + conv(relu(bn(conv(relu(bn(x)))))), the shortcut projected from the activated x where channels change."""
    model = settled(WideResNet(16, 2, 10))
    state, images = model.state_dict(), torch.rand(2, 3, 32, 32)
    x = F.conv2d(images, state["conv1.weight"], padding=1)
    for stage in (1, 2, 3):
        for block in (0, 1):
            at = f"block{stage}.layer.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            active = normalised(x, state, f"{at}.bn1").relu()
            y = F.conv2d(active, state[f"{at}.conv1.weight"], stride=stride, padding=1)
            y = F.conv2d(normalised(y, state, f"{at}.bn2").relu(), state[f"{at}.conv2.weight"], padding=1)
            x = y + (F.conv2d(active, state[f"{at}.convShortcut.weight"], stride=stride) if block == 0 else x)
    pooled = normalised(x, state, "bn1").relu().mean((2, 3))
    assert_alike(model(images), pooled @ state["fc.weight"].T + state["fc.bias"])


@torch.no_grad()
def test_resnet8_pads_like_keras():
    """`same` padding of stride 2 over an even side adds one row below and one column to the right."""
    model = settled(ResNet8(10))
    state, images = model.state_dict(), torch.rand(2, 3, 32, 32)

    def layer(x, name, stride=1, padding=(1, 1, 1, 1)):
        return F.conv2d(F.pad(x, padding), state[f"{name}.weight"], state[f"{name}.bias"], stride=stride)

    x = normalised(layer(images, "conv1"), state, "bn1", 1e-3).relu()
    for block in ("block1", "block2", "block3"):
        halves = block != "block1"
        y = layer(x, f"{block}.conv1", 2, (0, 1, 0, 1)) if halves else layer(x, f"{block}.conv1")
        y = normalised(y, state, f"{block}.bn1", 1e-3).relu()
        y = normalised(layer(y, f"{block}.conv2"), state, f"{block}.bn2", 1e-3)
        x = (y + (layer(x, f"{block}.shortcut", 2, (0, 0, 0, 0)) if halves else x)).relu()
    assert_alike(model(images), x.mean((2, 3)) @ state["linear.weight"].T + state["linear.bias"])


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Hardtanh])
@torch.no_grad()
def test_bernhard2019_pools_before_it_normalises(activation):
    """Table 8, line by line. With negative gains the order of pooling and batch norm shows."""
    model = settled(BernhardCnn(10, width=4, filters=SVHN, activation=activation))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.neg_()
    state, images = model.state_dict(), torch.rand(2, 3, 32, 32)
    activate = torch.relu if activation is nn.ReLU else lambda values: values.clamp(-1, 1)
    planes, x = [], images
    for row, pools in enumerate([False, True] * 3):
        x = F.conv2d(x, state[f"features.{row}.0.weight"], padding=1)
        planes.append(x.shape[1])
        if pools:
            x = F.max_pool2d(x, 2)
        x = activate(normalised(x, state, f"features.{row}.{1 + pools}"))
    x = x.flatten(1)
    for row in (0, 1):
        x = activate(normalised(x @ state[f"dense.{row}.0.weight"].T, state, f"dense.{row}.1"))
    assert planes == [4, 4, 8, 4, 16, 16] and x.shape == (2, 32)
    assert_alike(model(images), x @ state["linear.weight"].T + state["linear.bias"])


def test_bernhard2019_binarizes_with_hardtanh():
    model = BernhardCnn(10, width=8, activation=nn.Hardtanh)
    images = torch.rand(4, 3, 32, 32)
    binary = quantize(model, Scheme("binarynet", weight_bits=1, act_bits=1), [images])
    with torch.no_grad():
        assert binary(images).isfinite().all() and binary(images).std(0).all()
