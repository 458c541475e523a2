"""Calling models: nothing that they do, or that is switched on around the call, spoils the images or the results."""

import numpy as np
import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.core.calling import forward
from bitproof.core.passes import Counted
from bitproof.ptq import PostTraining


class InPlace(nn.Module):
    """Normalises what it is given in place, as code for memory does."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x):
        return self.body(x.sub_(0.3).mul_(1.5))


@pytest.fixture
def in_place(model):
    return InPlace(model).eval()


def test_a_model_that_writes_into_its_input_spoils_nothing(in_place, data):
    images = data.images(range(8))
    before = images.clone()
    with torch.no_grad():
        forward(in_place, images, "m")
        Counted(in_place)(images)
    x = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(Counted(in_place)(x).sum(), x)
    assert torch.equal(images, before)
    assert gradient.abs().sum() > 0
    quantized = bp.quantize(in_place, bp.Scheme(), [images])
    PostTraining(rounding="brecq", iterations=2)(in_place, [images])
    assert torch.equal(images, before)
    conditions = ["fgsm:eps=8/255", "noise:eps=8/255"]
    together = bp.evaluate({"a": in_place, "b": quantized}, data, conditions=conditions, progress=False)
    for name, model in {"a": in_place, "b": quantized}.items():
        alone = bp.evaluate({name: model}, data, conditions=conditions, progress=False)
        for cell in alone.cells:
            (other,) = [c for c in together.cells if c.key == cell.key and c.model.name == name]
            assert np.array_equal(cell.predictions, other.predictions)


def test_a_student_that_writes_into_its_input_leaves_the_teacher_its_images(in_place, model, data):
    recipe = bp.train.Recipe(
        optimisation=bp.train.Optimisation(epochs=1),
        objective=bp.train.Distillation(weight=0.5),
    )
    start = bp.load_model("digits_cnn", seed=5)

    class Copying(InPlace):
        def forward(self, x):
            return super().forward(x.clone())

    rng = bp.Rng(0, np.zeros(1, np.int64))
    trained = [recipe(kind(start), data, rng=rng, teacher=kind(model)) for kind in (InPlace, Copying)]
    for one, other in zip(*(m.state_dict().values() for m in trained), strict=True):
        assert torch.equal(one, other)


def test_what_is_switched_on_around_the_call_changes_nothing(model, data):
    wanted = bp.evaluate(model, data, conditions=["fgsm:eps=8/255"], progress=False)
    quantized = bp.quantize(model, bp.Scheme(), data)
    for around in (torch.autocast("cpu", torch.bfloat16), torch.no_grad(), torch.inference_mode()):
        with around:
            found = bp.evaluate(model, data, conditions=["fgsm:eps=8/255"], progress=False)
            again = bp.quantize(model, bp.Scheme(), data)
        for one, other in zip(found.cells, wanted.cells, strict=True):
            assert np.array_equal(one.confidences, other.confidences)
        assert torch.equal(again(data.images(range(4))), quantized(data.images(range(4))))
