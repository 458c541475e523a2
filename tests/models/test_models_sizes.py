"""The papers' networks: parameters counted by hand and as published, and their resolutions."""

import itertools

import pytest
import torch

from bitproof.models import MODELS, build_model
from bitproof.models.mobilenetv2 import MobileNetV2
from bitproof.models.resnet8 import ResNet8
from bitproof.models.wide_resnet import WideResNet


def conv(inputs, outputs, kernel, bias=False):
    return inputs * outputs * kernel**2 + bias * outputs


def norm(*planes):
    return 2 * sum(planes)


def dense(inputs, outputs):
    return inputs * outputs + outputs


def resnet18_stage(a, b):
    """Four 3x3 convolutions, and the shortcut's 1x1, each with its batch norm."""
    return conv(a, b, 3) + 3 * conv(b, b, 3) + norm(b, b, b, b) + conv(a, b, 1) + norm(b)


def wide_stage(a, b, blocks):
    first = norm(a) + conv(a, b, 3) + norm(b) + conv(b, b, 3) + (a != b) * conv(a, b, 1)
    return first + (blocks - 1) * (2 * norm(b) + 2 * conv(b, b, 3))


def inverted(a, b, expansion):
    wide = a * expansion
    expand = conv(a, wide, 1) + norm(wide) if expansion > 1 else 0
    return expand + 9 * wide + norm(wide) + conv(wide, b, 1) + norm(b)


def keras_block(a, b):
    both = conv(a, b, 3, bias=True) + conv(b, b, 3, bias=True) + norm(b, b)
    return both + (conv(a, b, 1, bias=True) if a != b else 0)


BERNHARD = (
    conv(3, 128, 3) + conv(128, 128, 3) + conv(128, 256, 3) + conv(256, 256, 3) + conv(256, 512, 3) + conv(512, 512, 3)
) + norm(128, 128, 256, 256, 512, 512)
BERNHARD_SVHN = (
    conv(3, 128, 3) + conv(128, 128, 3) + conv(128, 256, 3) + conv(256, 128, 3) + conv(128, 512, 3) + conv(512, 512, 3)
) + norm(128, 128, 256, 128, 512, 512)
BERNHARD_DENSE = 8192 * 1024 + 1024 * 1024 + norm(1024, 1024) + dense(1024, 10)
BERNHARD_QUARTER = (
    conv(3, 32, 3) + conv(32, 32, 3) + conv(32, 64, 3) + conv(64, 64, 3) + conv(64, 128, 3) + conv(128, 128, 3)
) + norm(32, 32, 64, 64, 128, 128)
BERNHARD_QUARTER_DENSE = 2048 * 256 + 256 * 256 + norm(256, 256) + dense(256, 10)
VGG_PLANES = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
VGG = sum(conv(a, b, 3, bias=True) for a, b in itertools.pairwise(VGG_PLANES))
ALEXNET_PLANES = [3, 64, 192, 384, 256, 256]
ALEXNET = sum(conv(a, b, 3, bias=True) for a, b in itertools.pairwise(ALEXNET_PLANES))
MOBILENET_BLOCKS = (
    inverted(32, 16, 1)
    + inverted(16, 24, 6)
    + inverted(24, 24, 6)
    + inverted(24, 32, 6)
    + 2 * inverted(32, 32, 6)
    + inverted(32, 64, 6)
    + 3 * inverted(64, 64, 6)
    + inverted(64, 96, 6)
    + 2 * inverted(96, 96, 6)
    + inverted(96, 160, 6)
    + 2 * inverted(160, 160, 6)
    + inverted(160, 320, 6)
)
MOBILENET = conv(3, 32, 3) + norm(32) + MOBILENET_BLOCKS + conv(320, 1280, 1) + norm(1280)
RESNET18 = (
    conv(3, 64, 3)
    + norm(64)
    + 4 * (conv(64, 64, 3) + norm(64))
    + resnet18_stage(64, 128)
    + resnet18_stage(128, 256)
    + resnet18_stage(256, 512)
)


def wide(depth, k):
    n = (depth - 4) // 6
    stages = wide_stage(16, 16 * k, n) + wide_stage(16 * k, 32 * k, n) + wide_stage(32 * k, 64 * k, n)
    return conv(3, 16, 3) + stages + norm(64 * k) + dense(64 * k, 10)


def plain_block(inputs, planes, shortcut):
    own = conv(inputs, planes, 3, bias=True) + conv(planes, planes, 3, bias=True)
    return own + shortcut * conv(inputs, planes, 1, bias=True)


COUNTS = {
    "resnet4b": conv(3, 16, 3, bias=True)
    + plain_block(16, 32, True)
    + 2 * plain_block(32, 32, False)
    + plain_block(32, 32, True)
    + dense(512, 100)
    + dense(100, 10),
    "resnet8": conv(3, 16, 3, bias=True)
    + norm(16)
    + keras_block(16, 16)
    + keras_block(16, 32)
    + keras_block(32, 64)
    + dense(64, 10),
    "resnet18": RESNET18 + dense(512, 10),
    "wrn_10_1": wide(10, 1),
    "wrn_16_4": wide(16, 4),
    "wrn_28_10": wide(28, 10),
    "vgg16": VGG + 2 * dense(512, 512) + dense(512, 10),
    "vgg16_64px": VGG + dense(512 * 4, 512) + dense(512, 512) + dense(512, 200),
    "vgg16_bn": VGG + norm(*VGG_PLANES[1:]) + 2 * dense(512, 512) + dense(512, 10),
    "alexnet": ALEXNET + dense(256 * 4, 4096) + dense(4096, 4096) + dense(4096, 10),
    "alexnet_64px": ALEXNET + dense(256 * 16, 4096) + dense(4096, 4096) + dense(4096, 200),
    "mobilenetv2": MOBILENET + dense(1280, 10),
    "mobilenetv2_64px": MOBILENET + dense(1280, 200),
    "bernhard2019_cnn": BERNHARD + BERNHARD_DENSE,
    "bernhard2019_cnn_hardtanh": BERNHARD + BERNHARD_DENSE,
    "bernhard2019_cnn_quarter": BERNHARD_QUARTER + BERNHARD_QUARTER_DENSE,
    "bernhard2019_cnn_quarter_hardtanh": BERNHARD_QUARTER + BERNHARD_QUARTER_DENSE,
    "bernhard2019_svhn_cnn": BERNHARD_SVHN + BERNHARD_DENSE,
    "bernhard2019_svhn_cnn_hardtanh": BERNHARD_SVHN + BERNHARD_DENSE,
}


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_are_those_counted_by_hand(name):
    with torch.device("meta"):
        model = MODELS[name].build(MODELS[name].classes)
    assert count(model) == COUNTS[name]
    docstring = " ".join(type(model).__doc__.split())
    assert f"{count(model):,}" in docstring or "_64px" in name


@pytest.mark.parametrize(
    ("build", "published"),
    [
        (lambda: ResNet8(10), 78_186),  # the log of Keras in mlcommons/tiny: "Trainable params"
        (lambda: MobileNetV2(1000), 3_504_872),  # torchvision's table of weights
        (lambda: WideResNet(28, 10, 10), 36.5e6),  # Zagoruyko & Komodakis, Table 5
        (lambda: WideResNet(16, 8, 10), 11.0e6),
        (lambda: WideResNet(40, 4, 10), 8.9e6),
    ],
)
def test_parameters_are_as_published(build, published):
    with torch.device("meta"):
        assert count(build()) == pytest.approx(published, abs=0 if isinstance(published, int) else 5e4)


@pytest.mark.parametrize(("name", "side"), [("resnet18", 8), ("mobilenetv2", 4), ("mobilenetv2_64px", 2)])
def test_resolution_before_the_average(name, side):
    """For their own size: 32/8 = 4 positions a side in ResNet18, so 8 for 64 pixels, and so on."""
    sides = []
    model = build_model(name)
    last = model.backbone.layer4 if name == "resnet18" else model.backbone.features
    last.register_forward_hook(lambda _, inputs, output: sides.append(output.shape[-2:]))
    size = 64 if name == "resnet18" else MODELS[name].shape[1]
    with torch.no_grad():
        model(torch.rand(1, 3, size, size))
    assert sides == [(side, side)]


@pytest.mark.parametrize("name", ["resnet8", "resnet18", "wrn_16_4", "mobilenetv2"])
def test_networks_with_a_global_average_take_both_sizes(name):
    with torch.device("meta"):
        model = MODELS[name].build(10).eval()
        assert model(torch.empty(1, 3, 32, 32)).shape == model(torch.empty(1, 3, 64, 64)).shape == (1, 10)
