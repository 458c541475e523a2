import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bitproof.errors import InputError
from bitproof.train.augment import PADDING, crop_flip


def draws(top: int, left: int, flip: bool) -> list[float]:
    places = 2 * PADDING + 1
    return [(top + 0.5) / places, (left + 0.5) / places, 0.75 if flip else 0.25]


@given(st.integers(0, 8), st.integers(0, 8), st.booleans())
def test_a_shifted_image_over_black_then_mirrored(top, left, flip):
    image = torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(0)) + 0.1
    expected = torch.zeros(1, 3, 5, 6)
    for row in range(5):
        for column in range(6):
            y, x = row + top - PADDING, column + left - PADDING
            if 0 <= y < 5 and 0 <= x < 6:
                expected[..., row, column] = image[..., y, x]
    expected = expected.flip(3) if flip else expected
    assert torch.equal(crop_flip(image, torch.tensor([draws(top, left, flip)])), expected)


def test_each_image_has_its_own_draws():
    images = torch.rand(3, 1, 8, 8)
    own = torch.tensor([draws(4, 4, False), draws(0, 8, True), draws(4, 4, True)])
    together = crop_flip(images, own)
    assert torch.equal(together[0], images[0])
    assert torch.equal(together[2], images[2].flip(2))
    for i in range(3):
        assert torch.equal(together[i : i + 1], crop_flip(images[i : i + 1], own[i : i + 1]))


def test_the_images_are_left_alone():
    images = torch.rand(2, 1, 8, 8)
    before = images.clone()
    crop_flip(images, torch.rand(2, 3))
    assert torch.equal(images, before)


def test_images_without_a_mirror_image_of_their_border_are_named():
    with pytest.raises(InputError, match="images of 4 x 9 pixels.*Use the augmentation 'crop-flip'"):
        crop_flip(torch.rand(2, 1, 4, 9), torch.rand(2, 3), border="reflect")
