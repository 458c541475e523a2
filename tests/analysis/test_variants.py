"""One layer at a time: the logits are those of the whole model with that layer, at the cost of what follows it."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import bitproof as bp
from bitproof.analysis import variants
from bitproof.analysis.forms import forms
from bitproof.analysis.variants import Variants
from bitproof.errors import InputError
from bitproof.quant.attached import compute_layers

IMAGES = torch.rand(6, 2, 4, 4)


class Odd(nn.Module):
    """Calls a layer twice, registers one twice, adds a shortcut, and lends the weight of one to a function."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 3, 3, padding=1)
        self.twice = nn.Conv2d(3, 3, 3, padding=1)
        self.also = self.twice
        self.lent = nn.Linear(48, 8)
        self.last = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = torch.relu(x + self.also(torch.relu(self.twice(x))))
        x = F.linear(x.flatten(1), self.lent.weight, self.lent.bias)
        return self.last(torch.relu(x))


@pytest.fixture
def both():
    model = Odd().eval()
    return forms(bp.quantize(model, "w3a3", [IMAGES]))


@pytest.mark.parametrize("way", [0, 1], ids=["to float", "quantized"])
def test_logits_are_those_of_the_model_with_that_layer(both, way):
    base, other = both[way], both[1 - way]
    looked = Variants(base, IMAGES)
    assert torch.equal(looked.base(IMAGES), base(IMAGES))
    for name, layer in compute_layers(other):
        whole = copy.deepcopy(base)
        for place in ("twice", "also") if name == "twice" else (name,):
            whole.set_submodule(place, layer)
        assert torch.equal(looked.of({name: layer}), whole(IMAGES)), name
        assert torch.equal(looked.of({}), base(IMAGES))
    assert torch.equal(looked.of(dict(compute_layers(other))), other(IMAGES))
    assert torch.equal(base(IMAGES), both[way](IMAGES))  # is left as it was


class InPlace(nn.Module):
    """Writes into what its layers have answered."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(2, 2, 3, padding=1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            y = layer(x)
            y += x
            x = y.sub_(0.1)
        return x.flatten(1)


def test_answers_that_are_written_into_are_kept_as_they_were():
    rounded, loose = forms(bp.quantize(InPlace().eval(), "w3a3", [IMAGES]))
    looked = Variants(rounded, IMAGES)
    looked.base(IMAGES)
    for name, layer in compute_layers(loose):
        whole = copy.deepcopy(rounded)
        whole.set_submodule(name, layer)
        for _ in range(2):
            assert torch.equal(looked.of({name: layer}), whole(IMAGES)), name


def test_a_layer_costs_what_follows_it():
    """Four equal layers: the k-th alone costs 4 - k quarters, all together 10/4."""
    model = nn.Sequential(*(nn.Conv2d(2, 2, 3, padding=1) for _ in range(4)), nn.Flatten()).eval()
    looked, costs = Variants(bp.freeze(model), IMAGES), []
    looked.base(IMAGES)
    for name, layer in list(compute_layers(model)):
        before = looked.passes
        looked.of({name: layer})
        costs.append((looked.passes - before) / len(IMAGES))
    assert costs == pytest.approx([1, 0.75, 0.5, 0.25])


def test_as_many_images_are_kept_as_memory_is_given(monkeypatch):
    monkeypatch.setattr(variants, "MOST_BYTES", 4 * 3 * 2 * 4 * 4 * 4)  # three images of four outputs
    model = nn.Sequential(*(nn.Conv2d(2, 2, 3, padding=1) for _ in range(4)), nn.Flatten()).eval()
    assert Variants(bp.freeze(model), IMAGES).images == 3


def test_float_and_frozen_models_are_refused():
    model = bp.load_model("digits_cnn")
    with pytest.raises(InputError, match="the model is float"):
        forms(model)
    with pytest.raises(InputError, match=r"float weights of backbone.features.0.0 are gone.*jobs=1"):
        forms(bp.freeze(bp.quantize(model, "w4a32")))
    bare = bp.freeze(bp.quantize(model, "w32a4", bp.load_data("digits", limit=8)))
    assert torch.equal(forms(bare)[1].backbone.features[0][0].weight, model.backbone.features[0][0].weight)
