"""A linear model, its images, and what masks its gradient on purpose."""

import pytest
import torch
from torch import Tensor, nn

import bitproof as bp
from closed_form import LinearTwoClass

LITTLE = {"steps": 5, "queries": 10, "draws": 5, "directions": 4}
FREE, TRANSFER, ONE_STEP, UNBOUNDED, FLAT, ZERO, RANDOM, ASKEW, MISLED = range(9)


def line(size: int = 6, seed: int = 0) -> LinearTwoClass:
    weight = torch.randn(1, size, size, generator=torch.Generator().manual_seed(seed))
    return LinearTwoClass(weight, 0.0).eval()


def images(model: nn.Module, n: int = 60, size: int = 6) -> bp.Data:
    """Random images away from the walls of the box, with what the model says of them as labels."""
    inputs = 0.25 + 0.5 * torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return bp.from_arrays(inputs.numpy(), model(inputs).argmax(1).numpy(), classes=["a", "b"])


class Before(nn.Module):
    """A model behind something done to its images."""

    def __init__(self, model: nn.Module, change) -> None:
        super().__init__()
        self.model, self.change = model, change

    def forward(self, x: Tensor) -> Tensor:
        return self.model(self.change(x))


def four_bits(x: Tensor) -> Tensor:
    return torch.round(15 * x) / 15


@pytest.fixture(scope="module")
def healthy() -> tuple[LinearTwoClass, bp.Data]:
    model = line()
    return model, images(model)
