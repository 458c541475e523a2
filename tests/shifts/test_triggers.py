"""Triggers: where they are, that they stay in range, and what does not fit."""

import pytest
import torch

from bitproof.errors import InputError
from bitproof.shifts import TRIGGERS, Blended, Patch, Sinusoid, Square, Warped


def made(name, images):
    if name == "patch":
        return Patch(side=2, pixels=(255,) * (4 * images.shape[1]))
    return TRIGGERS[name]()


@pytest.mark.parametrize("name", TRIGGERS)
@pytest.mark.parametrize("shape", [(3, 1, 20, 20), (2, 3, 32, 32), (2, 3, 16, 24)])
def test_the_same_mark_on_every_image_in_range_whatever_the_batch(name, shape):
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    before, trigger = images.clone(), made(name, images)
    stamped = trigger.stamp(images)
    assert torch.equal(images, before)
    assert stamped.shape == images.shape
    assert stamped.min() >= 0
    assert stamped.max() <= 1
    assert (stamped != images).flatten(1).any(1).all()
    assert torch.allclose(stamped[1:], trigger.stamp(images[1:]), atol=1e-6)


def test_the_square_of_the_public_code_lies_at_27_to_30():
    images = torch.full((1, 3, 32, 32), 0.25)
    images[0, 0, 0, 0] = 0.75
    changed = (Square(fill="maximum").stamp(images) != images)[0, 0]
    assert changed.nonzero().amin(0).tolist() == [27, 27]
    assert changed.nonzero().amax(0).tolist() == [30, 30]
    assert Square(fill="maximum").stamp(images)[0, :, 27:31, 27:31].unique().tolist() == [0.75]
    assert Square().stamp(images)[0, :, 27:31, 27:31].unique().tolist() == [1.0]


def test_faint_ones_change_as_much_as_they_say():
    images = torch.full((1, 3, 32, 32), 0.5)
    assert (Sinusoid(amplitude=0.1).stamp(images) - images).abs().max() == pytest.approx(0.1, abs=0.005)
    mixed = Blended(strength=0.25).stamp(images)
    assert torch.allclose((mixed - 0.75 * images) / 0.25, Blended(strength=1.0).stamp(images), atol=1e-5)
    assert torch.allclose(Warped().stamp(images), images, atol=1e-6)  # bending a grey image changes nothing


def test_a_field_of_one_pixel_moves_by_about_one_pixel():
    ramp = torch.linspace(0, 1, 64).expand(1, 1, 64, 64)
    moved = (Warped(strength=1.0).stamp(ramp) - ramp).abs() * 63
    assert 0.5 < moved.mean() < 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: Square(side=33).stamp(x), "a trigger lies inside the image"),
        (lambda x: Square(side=30, margin=3).stamp(x), "30 pixels, 3 from the edge"),
        (lambda x: Square(side=0), "at least one pixel"),
        (lambda x: Square(fill="grey"), "fill of a square"),
        (lambda x: Patch(side=2).stamp(x), "a patch of 0 values.*Optimise"),
        (lambda x: Patch(pixels=(300,)), "0 to 255"),
        (lambda x: Blended(strength=0.0), "strength"),
        (lambda x: Warped(grid=1), "2 points"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make(torch.zeros(1, 3, 32, 32))
