"""A trained network and its 4-bit copy, and a quiet way to evaluate them."""

import numpy as np
import pytest
import torch

import bitproof as bp
from bitproof.train import standard


@pytest.fixture(scope="session")
def data():
    return bp.load_data("digits", split="test", limit=60)


@pytest.fixture(scope="session")
def model():
    torch.manual_seed(0)
    train = bp.load_data("digits", split="train")
    return standard(epochs=3)(bp.load_model("digits_cnn"), train, rng=bp.Rng(0, np.zeros(1, np.int64)))


@pytest.fixture(scope="session")
def models(model):
    calibration = bp.load_data("digits", split="train", limit=128)
    return {"float": model, "w4a4": bp.quantize(model, bp.Scheme(weight_bits=4, act_bits=4), calibration)}


def run(models, data, conditions, **options):
    return bp.evaluate(models, data, conditions=conditions, progress=False, **options)
