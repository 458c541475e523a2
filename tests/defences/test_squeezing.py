"""Feature squeezing against SciPy, thresholds against order statistics, the detector's attack against what it knows."""

import numpy as np
import pytest
import torch
from scipy.ndimage import median_filter
from torch import nn

from bitproof.attacks import PGD, Adaptive
from bitproof.core.rng import Rng
from bitproof.defences import Ensemble, RandomPrecision, Smoothing, Squeezing
from bitproof.defences.squeezing import depth, median
from bitproof.errors import InputError
from closed_form import LinearTwoClass


@pytest.mark.parametrize("window", [2, 3, 4, 5])
@pytest.mark.parametrize("shape", [(7, 9), (4, 4), (2, 3)])
def test_the_median_is_scipys(window, shape):
    images = torch.rand(2, 3, *shape)
    expected = median_filter(images.numpy(), size=(1, 1, window, window), mode="reflect")
    assert np.array_equal(median(images, window).numpy(), expected)


def test_the_medians_gradient_goes_to_the_chosen_pixel():
    images = torch.tensor([[[[0.1, 0.4], [0.2, 0.3]]]], requires_grad=True)
    (gradient,) = torch.autograd.grad(median(images, 2)[0, 0, 1, 1], images)
    assert gradient.tolist() == [[[[0.0, 0.0], [0.0, 1.0]]]]  # the third smallest of four


def test_depth_rounds_and_its_gradient_passes():
    images = torch.tensor([0.0, 0.016, 0.017, 1.0], requires_grad=True)
    shallow = depth(images.view(4, 1, 1, 1), 5)
    assert torch.allclose(shallow.flatten() * 31, torch.tensor([0.0, 0.0, 1.0, 31.0]))
    (gradient,) = torch.autograd.grad(shallow.sum(), images)
    assert torch.allclose(gradient, torch.ones(4))


def linear() -> LinearTwoClass:
    return LinearTwoClass(torch.ones(1, 4, 4), offset=0.0)


def test_as_a_step_before_the_model_it_is_all_that_the_model_sees():
    model, images = linear(), torch.rand(5, 1, 4, 4)
    squeezed = Squeezing(bits=3)(model)
    expected = model(median(depth(images, 3), 2))
    assert torch.equal(squeezed(images), expected)
    assert torch.equal(squeezed.examine(images).logits, expected) and squeezed.examine(images).refused is None
    assert squeezed.view is None


def test_the_hard_label_detector_takes_back_what_squeezing_changes():
    model = linear()
    images = torch.full((3, 1, 4, 4), 0.55)  # 0.5 + 0.05: one bit makes it white
    images[1] = 0.45
    images[2, :, 0, 0] = 0.0
    images[2] -= 0.06  # just black on the whole, of one bit black too
    examined = Squeezing(bits=1, window=1, detector="label")(model).examine(images)
    changed = model(images).argmax(1) != model(depth(images, 1)).argmax(1)
    assert torch.equal(examined.refused, changed)
    assert torch.equal(examined.logits, model(images))
    lone = torch.full((1, 1, 4, 4), 0.49)
    lone[0, 0, 0] = 0.9  # a bright row on grey: bright on the whole, dark once the grey is black
    assert Squeezing(bits=1, window=1, detector="label")(model).examine(lone).refused.all()


def test_the_threshold_is_the_order_statistic_of_clean_images():
    model, images = linear(), torch.rand(40, 1, 4, 4)
    for alarms, place in ((0.05, 38), (0.1, 36), (0.0, 40), (0.12, 36)):  # the ceil(N (1 - rate))-th smallest
        squeezed = Squeezing(bits=1, detector="l1", false_alarms=alarms)(model, clean=images)
        scores = squeezed.score(images)
        assert squeezed.threshold == scores.sort().values[place - 1]
        assert squeezed.examine(images).refused.float().mean() <= alarms
    squeezers = (depth(images, 1), median(images, 2))
    own = model(images).softmax(1)
    expected = torch.stack([(own - model(s).softmax(1)).abs().sum(1) for s in squeezers]).amax(0)
    assert torch.equal(scores, expected)


@pytest.mark.parametrize("detector", ["label", "l1"])
def test_the_adaptive_attack_passes_the_detector(detector):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 6)).eval()
    images = torch.rand(12, 1, 4, 4)
    labels = model(images).argmax(1)
    squeezed = Squeezing(bits=2, window=1, detector=detector, threshold=0.05 if detector == "l1" else None)(model)
    attack, rng = PGD(eps=0.2, steps=20), Rng(0, np.arange(12))
    plain, adaptive = (
        squeezed.examine(a(squeezed, images, labels, rng=rng)).fooled(labels)
        for a in (attack, Adaptive(attack=attack, classes=5))
    )
    assert plain.mean() < 0.9 and adaptive.all()
    said = squeezed.view.logits(images)
    accepted = said.argmax(1) < 6  # where another column than the last is the largest, the detector stands by it
    examined = squeezed.examine(images)
    assert not (examined.refused & accepted).any()
    assert torch.equal(examined.logits.argmax(1)[accepted], said.argmax(1)[accepted])


def test_mistakes_are_explained():
    for words, fields in (
        ("0 bits and a window of 2", {"bits": 0}),
        ("threshold is 1.0 for the detector 'label'", {"threshold": 1.0, "detector": "label"}),
        ("unknown detector", {"detector": "l2"}),
        ("false_alarms is 1", {"false_alarms": 1.0}),
    ):
        with pytest.raises(InputError, match=words):
            Squeezing(**fields)
    with pytest.raises(InputError, match="without clean images: its threshold is chosen on clean images"):
        Squeezing(detector="l1")(linear())
    with pytest.raises(InputError, match="squeezing .* of 2 models: it is made of one model"):
        Squeezing()(linear(), linear())
    with pytest.raises(InputError, match="a window of 9 pixels on images of 8x8: .* lies inside the image"):
        Squeezing(window=9)(linear())(torch.rand(2, 1, 8, 8))


def test_clean_images_are_images():
    model, defence = linear(), Squeezing(detector="l1")
    with pytest.raises(InputError, match="clean images range from 0 to 255.*Divide 8-bit images by 255"):
        defence(model, clean=torch.tensor([0.0, 255.0]).view(2, 1, 1, 1).expand(2, 1, 4, 4))


def test_a_defence_that_says_more_than_logits_goes_behind_no_other():
    """Its refusals, draws and counts were dropped without a word."""
    model = linear()
    says_more = [
        Squeezing(detector="label")(model),
        Ensemble(agreeing=2)(model, model),
        RandomPrecision()(model, model),
        Smoothing()(model),
    ]
    for inner in says_more:
        with pytest.raises(InputError, match="not what that takes back, draws or counts"):
            Squeezing()(inner)
    Ensemble(agreeing=2)(Squeezing()(model), model)  # a step before the model
