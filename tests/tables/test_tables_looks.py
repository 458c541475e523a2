"""Gradients side by side, and perturbations on their way through a model, in closed form."""

import numpy as np
import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.tables.alignment import cosines, input_gradients
from bitproof.tables.amplification import layer_distances


@pytest.fixture(scope="module")
def images():
    return bp.load_data("digits", limit=6)


def linear(rows: torch.Tensor) -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(400, 10, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(rows)
    return model.eval()


def test_the_gradient_of_a_linear_model_is_known(images):
    torch.manual_seed(0)
    weight = torch.randn(10, 400)
    found = input_gradients(linear(weight), images, batch_size=4)
    x = images.images(range(6)).flatten(1)
    expected = (torch.softmax(x @ weight.T, 1) - torch.eye(10)[torch.from_numpy(images.labels)]) @ weight
    assert torch.allclose(found, expected, atol=1e-5)
    assert np.allclose(cosines(found, 3 * found), 1) and np.allclose(cosines(found, -found), -1)


def test_a_zero_gradient_points_nowhere():
    assert cosines(torch.zeros(2, 3), torch.ones(2, 3)).tolist() == [0, 0]


def test_scaling_layers_keep_a_relative_distance_and_the_first_is_that_of_the_images():
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)).eval()
    with torch.no_grad():
        for layer in model:
            layer.weight.copy_(5 * torch.eye(3))
    clean, moved = torch.tensor([[3.0, 4.0, 0.0]]), torch.tensor([[3.0, 4.0, 1.0]])
    found = layer_distances(model, clean, moved)
    assert {name: scores.tolist() for name, scores in found.items()} == {"0": [0.2], "1": [0.2]}
    assert not any(layer._forward_pre_hooks for layer in model)


def test_a_grid_rounds_a_small_difference_away_and_enlarges_one_at_its_edge(images, model):
    coarse = bp.quantize(model, bp.Scheme(weight_bits=32, act_bits=2, first="same", last="same"), images)
    x = images.images(range(6))
    alike = layer_distances(coarse, x, x)
    assert all((scores == 0).all() for scores in alike.values()) and len(alike) == 4
    small = layer_distances(coarse, torch.zeros_like(x[:1]) + 0.5, torch.zeros_like(x[:1]) + 0.5001)
    assert next(iter(small.values())).tolist() == [0.0]
    assert next(iter(layer_distances(model, x[:1], (x[:1] + 0.001).clamp(0, 1)).values()))[0] > 0
