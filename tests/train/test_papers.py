"""Recipes against their papers and the authors' scripts: numbers, updates by hand, starts, placements."""

import math
import typing
from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import bitproof as bp
from bitproof.errors import InputError
from bitproof.models.bernhard2019 import BernhardCnn
from bitproof.quant import Scheme
from bitproof.quant.attached import input_quantizer, weight_quantizer
from bitproof.settings import parse
from bitproof.train import RECIPES, Optimisation, Quantization, Recipe, changed, qat, standard
from bitproof.train.augment import AUGMENTATIONS
from bitproof.train.changes import Changes
from bitproof.train.objectives import Objective
from bitproof.train.papers.bernhard2019 import fully_quantized, weights_quantized
from bitproof.train.penalties import ClippingLevels

RUN = bp.Rng(0, np.zeros(1, np.int64))

STATED = {
    "lsq": {"optimizer": "sgd", "learning_rate": 0.01, "epochs": 90, "weight_decay": 1e-4, "schedule": "cosine"},
    "pact": {"optimizer": "sgd", "learning_rate": 0.1, "epochs": 200, "batch_size": 128, "weight_decay": 2e-4},
    "dorefa": {"optimizer": "adam", "eps": 1e-5, "weight_decay": 1e-7, "milestones": (0.5,), "decay": 0.5},
    "binaryconnect": {"optimizer": "adam", "learning_rate": 3e-3, "scaled": True, "epochs": 500, "batch_size": 50},
    "binarynet": {"optimizer": "adam", "learning_rate": 1e-3, "decay": 3e-4, "scaled": True, "batch_size": 50},
    "bernhard2019-full": {"optimizer": "adam", "schedule": "steps"},
    "bernhard2019-quantized": {"optimizer": "adam", "schedule": "steps"},
    "li2024-fine-tuning": {"epochs": 60},
    "li2024-from-scratch": {"epochs": 200},
    "lin2019-standard": {"learning_rate": 0.1, "milestones": (60 / 200, 120 / 200, 160 / 200), "decay": 0.2},
    "lin2019-svhn": {"epochs": 160, "learning_rate": 0.01, "milestones": (80 / 160, 120 / 160), "decay": 0.1},
}


@pytest.mark.parametrize("name", STATED)
def test_what_the_paper_or_its_script_states(name):
    how = RECIPES[name]().optimisation
    assert {field: getattr(how, field) for field in STATED[name]} == STATED[name]


def test_a_recipe_learns_one_step_a_layer_where_the_paper_does():
    quantized = bp.quantize(
        bp.load_model("digits_cnn"), RECIPES["lsq"]().quantization.scheme, [torch.rand(8, 1, 20, 20)]
    )
    steps = [p for name, p in quantized.named_parameters() if name.endswith("step")]
    assert len(steps) == 4 and all(p.numel() == 1 for p in steps)


def tiny(count: int = 8):
    generator = np.random.default_rng(0)
    return bp.from_arrays(generator.random((count, 3, 2, 2), np.float32), generator.integers(0, 2, count))


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(12, 2, bias=False)

    def forward(self, x):
        return self.fc(x.flatten(1))


def test_nesterov_momentum_by_hand():
    """Sutskever et al. 2013, as PyTorch has it: v <- m v + g; w <- w - lr (g + m v)."""
    data, model = tiny(), Linear()
    recipe = standard(
        epochs=3, batch_size=8, optimizer="sgd", learning_rate=0.5, nesterov=True, weight_decay=0.0, schedule="constant"
    )
    trained = recipe(model, data, rng=RUN)
    weight, velocity = model.fc.weight.detach().clone(), 0
    for _ in range(3):
        w = weight.clone().requires_grad_()
        loss = F.cross_entropy(data.images(range(8)).flatten(1) @ w.T, torch.from_numpy(data.labels))
        (gradient,) = torch.autograd.grad(loss, w)
        velocity = 0.9 * velocity + gradient
        weight = weight - 0.5 * (gradient + 0.9 * velocity)
    torch.testing.assert_close(trained.fc.weight.detach(), weight, rtol=1e-5, atol=1e-6)


def test_nesterov_without_momentum_is_refused():
    for other in ({"optimizer": "adam"}, {"optimizer": "sgd", "momentum": 0.0}):
        with pytest.raises(InputError, match="nesterov with .* a way to use the momentum"):
            standard(nesterov=True, **other)


@pytest.mark.parametrize("learning_rate", [1e-3, 1e-2])
def test_binary_weights_move_by_the_rate_over_glorots_coefficient(learning_rate):
    """Adam's first step is the rate for every weight, whatever its gradient; biases move by the plain rate."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 2), nn.Flatten(), nn.Linear(4, 2))
    scheme = bp.Scheme("binaryconnect", weight_bits=1, act_bits=32, first="same", last="same")
    start = bp.quantize(model, scheme)
    recipe = qat(
        scheme=scheme, epochs=1, batch_size=8, optimizer="adam", weight_decay=0, schedule="constant",
        learning_rate=learning_rate, eps=1e-12, scaled=True,
    )  # fmt: skip
    trained = recipe(model, tiny(), rng=RUN)
    before = dict(start.named_parameters())
    for name, value in trained.named_parameters():
        moved = (value - before[name]).abs()
        if name.endswith("original"):
            fans = (12, 16) if value.dim() == 4 else (4, 2)
            expected = learning_rate / math.sqrt(1.5 / sum(fans))
        else:
            expected = learning_rate
        assert moved.max().item() == pytest.approx(expected, rel=1e-3), name


def test_fresh_binary_weights_are_uniform_between_their_limits():
    scheme = bp.Scheme("binaryconnect", weight_bits=1, act_bits=32, first="float", last="same")
    model, images = bp.load_model("digits_cnn"), bp.load_data("digits", split="train", limit=8)
    fresh, again, other = (
        Quantization(scheme=scheme, initial="uniform")(model, images, bp.Rng(seed, RUN.ids)) for seed in (0, 0, 1)
    )
    kept = Quantization(scheme=scheme)(model, images, RUN)
    for name, value in fresh.named_parameters():
        assert torch.equal(value, again.get_parameter(name))
        if not name.endswith("original"):
            assert torch.equal(value, kept.get_parameter(name))  # biases, and the float first layer
            continue
        assert not torch.equal(value, other.get_parameter(name))
        uniform = value.detach().flatten().sort().values
        expected = torch.linspace(-1, 1, len(uniform))
        assert (uniform - expected).abs().max() < 3 / math.sqrt(len(uniform))  # Kolmogorov-Smirnov


def test_binary_weights_that_do_not_learn_stay_as_given():
    scheme = bp.Scheme("binaryconnect", weight_bits=1, act_bits=32, first="float", last="same")
    model, images = bp.load_model("digits_cnn"), bp.load_data("digits", split="train", limit=8)
    names = [name for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    model.get_submodule(names[1]).requires_grad_(False)
    fresh = Quantization(scheme=scheme, initial="uniform")(model, images, RUN)
    kept = {
        name: torch.equal(fresh.get_submodule(name).parametrizations.weight.original, model.get_submodule(name).weight)
        for name in names[1:]  # pyright: ignore
    }
    assert kept == {name: name == names[1] for name in names[1:]}


def test_reflected_borders_by_hand():
    image = torch.arange(36.0).view(1, 1, 6, 6)
    upper_left = torch.tensor([[0.0, 0.0, 0.0]])  # rows and columns -4 to 1, not mirrored
    found = AUGMENTATIONS["crop-flip-reflect"](image, upper_left)
    at = torch.tensor([4, 3, 2, 1, 0, 1])
    assert torch.equal(found[0, 0], image[0, 0][at][:, at])
    assert RECIPES["lin2019-standard"]().augmentation == "crop-flip-reflect"


def placement(model: nn.Module) -> list[tuple[str, ...]]:
    """What is quantized of each layer, and onto how many levels its weights are."""
    found = []
    for _, layer in bp.quant.compute_layers(model):
        parts = {"weight": weight_quantizer(layer), "input": input_quantizer(layer)}
        found.append(tuple(name for name, quantizer in parts.items() if quantizer is not None))
    return found


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_the_fully_quantized_models_of_bernhard2019(bits):
    """Table 9: ConvolutionQuant first on float images, every reluQuant, Dense with float weights last."""
    activation = nn.Hardtanh if bits == 1 else nn.ReLU
    model = BernhardCnn(10, width=4, activation=activation).eval()
    images = torch.rand(4, 3, 32, 32)
    quantized = bp.quantize(model, fully_quantized(bits), [images])
    assert placement(quantized) == [("weight",), *[("weight", "input")] * 7, ("input",)]
    inputs: dict[int, torch.Tensor] = {}
    layers = [layer for _, layer in bp.quant.compute_layers(quantized)]
    for number, layer in enumerate(layers):
        layer.register_forward_hook(lambda _, args, output, number=number: inputs.update({number: args[0]}))
    quantized(images)
    assert torch.equal(inputs[0], images)
    assert all(len(inputs[number].unique()) <= 2**bits for number in range(1, 9))
    assert all(len(layer.weight.unique()) <= 2**bits for layer in layers[:-1])
    assert torch.equal(layers[-1].weight, model.linear.weight)


@pytest.mark.parametrize("bits", [1, 2])
def test_the_weight_quantized_models_of_bernhard2019(bits):
    """Table 10: weights of all layers but the last."""
    quantized = bp.quantize(BernhardCnn(10, width=4).eval(), weights_quantized(bits))
    assert placement(quantized) == [*[("weight",)] * 8, ()]
    assert all(len(layer.weight.unique()) <= 2**bits for _, layer in list(bp.quant.compute_layers(quantized))[:-1])


def test_all_weights_of_binarynet_are_binary_and_its_images_are_not():
    model = BernhardCnn(10, width=4, activation=nn.Hardtanh, last_norm=True).eval()
    quantized = bp.quantize(model, RECIPES["binarynet"]().quantization.scheme, [torch.rand(4, 3, 32, 32)])
    assert placement(quantized) == [("weight",), *[("weight", "input")] * 8]
    assert all(layer.weight.unique().tolist() == [-1, 1] for _, layer in bp.quant.compute_layers(quantized))


AS_TEXT = {"scheme": Scheme | str, "objective": Objective | Callable[..., typing.Any] | str}
"""What may be given in another form than the part has it."""


def test_the_names_of_changes_are_those_of_the_parts():
    """So that none can be forgotten, or mean something else."""
    parts = {f.name for part in (Recipe, Optimisation, Quantization) for f in fields(part)}
    composed = {"optimisation", "penalties", "quantization"}
    assert set(Changes.__annotations__) == parts - composed | {
        "distillation",
        "temperature",
        "penalty",
        "orthogonality",
    }
    hints = typing.get_type_hints(Changes)
    for part in (Recipe, Optimisation, Quantization):
        for name, hint in typing.get_type_hints(part).items():
            assert name in composed or hints[name] == AS_TEXT.get(name, hint)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_takes_the_same_changes(name):
    text = parse(f"{name}:epochs=3,learning_rate=1/8,distillation=0.5,temperature=2,penalty=0", RECIPES, "recipe")
    assert text == RECIPES[name](epochs=3, learning_rate=0.125, distillation=0.5, temperature=2.0, penalty=0)
    assert text == changed(RECIPES[name](), epochs=3, learning_rate=0.125, distillation=0.5, temperature=2.0, penalty=0)
    assert text.optimisation.epochs == 3
    assert not any(isinstance(penalty, ClippingLevels) for penalty in text.penalties)


def test_changes_that_are_none_are_refused():
    with pytest.raises(InputError, match="unknown setting of a recipe 'epoch'.*Did you mean 'epochs'"):
        standard(epoch=3)  # pyright: ignore
    with pytest.raises(InputError, match="calibration of a recipe that trains a float model"):
        standard(calibration=3)
    with pytest.raises(InputError, match="unknown field of lsq 'epoch'"):
        parse("lsq:epoch=3", RECIPES, "recipe")
    with pytest.raises(InputError, match="unknown initial 'unifrom'"):
        qat(initial="unifrom")
