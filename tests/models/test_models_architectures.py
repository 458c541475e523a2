"""The architectures: sizes known from the papers, closed forms, and that the small one learns."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bitproof.data import load_data
from bitproof.errors import InputError
from bitproof.models import MODELS, Normalize, build_model, normalized
from bitproof.models.cifar_resnet import BasicBlock
from bitproof.models.initial import he_normal


def test_normalize_is_x_minus_mean_over_std():
    inputs = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    mean, std = (0.1, 0.2, 0.3), (0.5, 1.0, 2.0)
    outputs = Normalize(mean, std)(inputs)
    for channel in range(3):
        torch.testing.assert_close(outputs[:, channel], (inputs[:, channel] - mean[channel]) / std[channel])
    assert repr(Normalize(mean, std)) == "Normalize(mean=[0.1, 0.2, 0.3], std=[0.5, 1.0, 2.0])"


def test_normalisation_is_the_first_layer():
    model = normalized(nn.Identity(), (0.5,), (0.25,))
    assert [name for name, _ in model.named_children()] == ["normalize", "backbone"]
    assert model(torch.ones(1, 1, 1, 1)).item() == 2


@pytest.mark.parametrize(
    ("mean", "std"), [((), ()), ((0.5,), (0.5, 0.5)), ((0.5,), (0.0,)), ((0.5,), (-1.0,)), ((float("nan"),), (1.0,))]
)
def test_impossible_normalisation_is_refused(mean, std):
    with pytest.raises(InputError, match=r"one finite mean and one positive std a channel.*0\.485"):
        Normalize(mean, std)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("resnet20", 269_722),
        ("resnet32", 464_154),
        ("resnet44", 658_586),
        ("resnet56", 853_018),
        ("resnet110", 1_727_962),
        ("resnet20_hardtanh", 269_722),
        ("digits_cnn", 30_778),
        ("digits_cnn_hardtanh", 30_778),
    ],
)
def test_parameter_counts_and_shapes(name, parameters):
    model = build_model(name)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert not any(module.training for module in model.modules())
    assert model(torch.rand(2, *MODELS[name].shape)).shape == (2, 10)
    assert build_model(name, classes=3)(torch.rand(1, *MODELS[name].shape)).shape == (1, 3)


NUMBERED = [name for name in MODELS if name.startswith(("resnet", "wrn", "vgg")) and name != "resnet4b"]
"""4B is four blocks."""


@pytest.mark.parametrize("name", NUMBERED)
def test_a_network_has_as_many_layers_as_its_name_says(name):
    """ResNets do not count the 1x1 projections of their shortcuts; WRN counts them, but not the linear layer. A WRN of
    width 1 has none in its first stage."""
    with torch.device("meta"):
        layers = [m for m in MODELS[name].build(10).modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    projections = [layer for layer in layers if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1)]
    depth = int("".join(c if c.isdigit() else " " for c in name).split()[0])
    uncounted = len(projections) - 2 if name.startswith("wrn") else len(projections)
    assert len(layers) - uncounted == depth


def test_starting_weights_have_a_variance_of_2_over_fan_in():
    model = nn.Sequential(nn.Conv2d(16, 64, 3), nn.Linear(512, 64), nn.BatchNorm2d(64))
    biases = [parameter.clone() for parameter in model.parameters() if parameter.dim() == 1]
    torch.manual_seed(0)
    he_normal(model)
    for layer, fan_in in ((model[0], 16 * 9), (model[1], 512)):
        assert layer.weight.var().item() == pytest.approx(2 / fan_in, rel=0.05)
    assert all(torch.equal(p, q) for p, q in zip([p for p in model.parameters() if p.dim() == 1], biases, strict=True))


def test_option_a_shortcut_subsamples_and_pads_with_zeros():
    """With a silent residual branch a block is its shortcut."""
    block = BasicBlock(4, 8).eval()
    nn.init.zeros_(block.conv2.weight)
    inputs = torch.rand(2, 4, 6, 6)
    outputs = block(inputs)
    assert torch.equal(outputs[:, 2:6], inputs[:, :, ::2, ::2])
    assert not outputs[:, :2].any() and not outputs[:, 6:].any()


@pytest.fixture(scope="module")
def digits_accuracy():
    """Test accuracy of the small net after a plain training run."""
    torch.manual_seed(0)
    train, test = load_data("digits", split="train"), load_data("digits")
    images, labels = train.images(train.ids), torch.from_numpy(train.labels)
    model = build_model("digits_cnn").train()
    epochs, batch_size = 5, 64
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=epochs * (len(train) // batch_size))
    for _ in range(epochs):
        for rows in torch.randperm(len(train))[: len(train) // batch_size * batch_size].split(batch_size):
            optimizer.zero_grad()
            F.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        predictions = torch.cat([model.eval()(batch).argmax(1) for batch in test.inputs()])
    return float(np.mean(predictions.numpy() == test.labels))


def test_the_digits_net_learns_the_digits(digits_accuracy):
    assert digits_accuracy >= 0.97


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet21", {}, r"unknown model 'resnet21': known are alexnet, .*digits_cnn.*Did you mean 'resnet"),
        ("hub:resnet18", {}, r"unknown network 'hub:resnet18'.*a zoo \(timm, torchvision, local-dir\)"),
        ("resnet20", {"classes": 1}, r"classes is 1.*at least 2"),
        ("resnet20", {"mean": (0.5,)}, r"mean has 1 and std 3 numbers.*resnet20 takes 3 channels"),
    ],
)
def test_mistakes_in_load_model_are_named(name, options, message):
    with pytest.raises(InputError, match=message):
        build_model(name, **options)
