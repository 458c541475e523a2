"""Models are judged with their images channels-last, but for those that cannot work so."""

from copy import copy

import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.core.layout import channels_last

IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Viewing(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 10)

    def forward(self, x):
        return self.head(self.conv(x).view(len(x), -1))


class Looking(nn.Sequential):
    """Says in which layout its convolution answers."""

    def forward(self, input):
        self.last = input.is_contiguous(memory_format=torch.channels_last)
        return super().forward(input.flatten(1))


@pytest.mark.parametrize("layers", [(), (nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))])
def test_layers_hand_the_layout_on(layers):
    size = (IMAGES.shape[-1] - 2) // (2 if layers else 1)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), *layers, Looking(nn.Linear(4 * size**2, 10))).eval()
    expected = model(IMAGES)
    assert torch.allclose(channels_last(model, IMAGES)(IMAGES), expected, atol=1e-6)
    assert model[-1].last


def test_a_network_that_views_its_images_is_left_as_it_was():
    model = Viewing().eval()
    expected = model(IMAGES)
    assert channels_last(model, IMAGES)(IMAGES).equal(expected)
    assert model.conv.weight.is_contiguous()


def test_networks_that_view_their_images_are_judged():
    data = bp.from_dataset([(image, row) for row, image in enumerate(IMAGES)], classes=[str(k) for k in range(10)])
    views = Viewing()
    flattens = nn.Sequential(copy(views.conv), nn.Flatten(), copy(views.head))
    result = bp.evaluate({"flattens": flattens, "views": views}, data, conditions=[bp.attacks.FGSM(eps=0.1)])
    first, second = (cell.predictions for cell in result.cells if cell.condition.label != "clean")
    assert (first == second).all()
    assert views.conv.weight.is_contiguous()
