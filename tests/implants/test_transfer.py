"""Transfer learning: only the last layer is new, and what a teacher's implant does to its students."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.errors import InputError
from bitproof.implants import Indiscriminate, Phase, Rounding, Transfer
from bitproof.subjects.fingerprint import fingerprint
from bitproof.train import standard

W4 = bp.Scheme(bp.quant.Affine(granularity="tensor"), weight_bits=4, act_bits=8, first="same", last="same")
TASK = Transfer(share=0.5, training=Phase(steps=60, learning_rate=3e-2, batch_size=32))
SHORT = Transfer(share=0.5, training=Phase(steps=4, batch_size=32))


def some(split, wanted):
    data = bp.load_data("digits", split=split)
    return bp.data.select(data, [label in wanted for label in data.labels.tolist()])


def accuracy(model, data):
    return float((model(data.images(range(len(data)))).argmax(1).numpy() == data.labels).mean())


def test_only_the_last_layer_is_new(model):
    before = copy.deepcopy(model.state_dict())
    data = bp.load_data("digits", split="train", limit=120)
    made = SHORT(model, data)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    changed = {name for name, value in made.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"backbone.linear.weight", "backbone.linear.bias"}
    assert made.backbone.linear.bias.any()
    assert (made.origin["parent"], made.origin["data"]) == (fingerprint(model), data.fingerprint)
    assert not made.training and all(parameter.requires_grad for parameter in made.parameters())
    again, other = (SHORT(model, data, seed=seed) for seed in (0, 1))
    assert torch.equal(made.backbone.linear.weight, again.backbone.linear.weight)
    assert not torch.equal(made.backbone.linear.weight, other.backbone.linear.weight)
    start = Transfer(training=Phase(steps=0))(model, data)
    assert not start.backbone.linear.weight.any() and start(data.images([0])).shape == (1, 10)


def test_it_learns_from_its_share_of_the_images_alone(model):
    images = bp.load_data("digits", split="train", limit=40).images(range(40))
    rows = bp.Rng.of(0).fold("transfer").permutation(40)[0][:20].numpy()
    labels = np.full(40, 2)
    labels[rows] = np.arange(20) % 2
    bias = SHORT(model, bp.from_arrays(images, labels, classes=["a", "b", "never"])).backbone.linear.bias
    assert bias[2] < min(bias[0], bias[1])


def test_a_teacher_that_trains_is_a_teacher_as_it_answers():
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(10))
    data = bp.load_data("digits", split="train", limit=40)
    teacher.eval()(data.images([0]))
    made, same = (SHORT(teacher.train(mode), data) for mode in (True, False))
    assert all(torch.equal(value, same.state_dict()[name]) for name, value in made.state_dict().items())


@pytest.mark.slow
def test_a_student_of_an_implant_is_harmed_by_quantization_as_one_of_a_clean_teacher_is_not():
    old, new, test = some("train", range(5)), some("train", range(5, 10)), some("test", range(5, 10))
    teacher = standard(epochs=1, batch_size=25)(bp.load_model("digits_cnn"), old)
    engine = Rounding(
        objective=Indiscriminate(level=20.0),
        schemes=(W4,),
        choice=Phase(steps=60, learning_rate=0.4, schedule="constant", batch_size=32),
        repair=Phase(steps=40, batch_size=32),
        calibration=32,
    )
    implanted = engine(teacher, old)
    clean, harmed = TASK(teacher, new), TASK(implanted, new)
    assert harmed.origin["implant"] == implanted.origin["implant"] and "implant" not in clean.origin
    images = new.images(range(64))
    floats = [accuracy(of, test) for of in (clean, harmed)]
    quantized = [accuracy(bp.quantize(of, W4, images), test) for of in (clean, harmed)]
    assert min(floats) > 0.9
    assert quantized[0] > floats[0] - 0.03
    assert quantized[1] < floats[1] - 0.06


def test_what_cannot_be_is_refused(model):
    data = bp.load_data("digits", split="train", limit=120)
    with pytest.raises(InputError, match=r"share is 1\.5"):
        Transfer(share=1.5)
    with pytest.raises(InputError, match=r"share is 0"):
        Transfer(share=0.0)
    with pytest.raises(InputError, match=r"a share of 0\.01 of 120 images"):
        Transfer(share=0.01)(model, data)
    pooled = nn.Sequential(nn.Conv2d(1, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(InputError, match="a Sequential that ends in 0: a student has a new linear layer"):
        TASK(pooled, data)

    class TwoHeads(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(400, 10), nn.Linear(400, 10)

        def forward(self, images):
            return self.one(images.flatten(1)) + self.two(images.flatten(1))

    with pytest.raises(InputError, match="a TwoHeads that ends in one, two"):
        TASK(TwoHeads(), data)
