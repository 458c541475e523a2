import colorsys
import io
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.shifts import CORRUPTIONS, JPEG, Brightness, Contrast, GaussianNoise
from bitproof.shifts.base import PROFILES

ALL = list(CORRUPTIONS.values())
IDS = list(CORRUPTIONS)


def pictures(n: int = 8, shape: tuple[int, ...] = (3, 32, 32)) -> torch.Tensor:
    """Smooth random pictures that reach black and white."""
    coarse = torch.rand(n, shape[0], 4, 4, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, shape[1:], mode="bilinear", align_corners=False)
    return (1.4 * smooth - 0.2).clamp(0, 1)


@pytest.mark.parametrize("build", ALL, ids=IDS)
@pytest.mark.parametrize("profile", PROFILES)
def test_severities_are_ordered(build, profile, rng):
    images = pictures(8, (3, 64, 64))
    distances = [(build(severity=s, profile=profile)(images, rng=rng) - images).abs().mean() for s in range(1, 6)]
    assert all(a < b for a, b in itertools.pairwise(distances))


@pytest.mark.parametrize("build", ALL, ids=IDS)
@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    channels=st.sampled_from([1, 3]),
    severity=st.integers(1, 5),
    fill=st.one_of(st.none(), st.floats(0, 1, width=32)),
)
def test_any_image_keeps_shape_and_range_and_is_not_changed_in_place(build, height, width, channels, severity, fill):
    images = torch.rand(2, channels, height, width) if fill is None else torch.full((2, channels, height, width), fill)
    kept = images.clone()
    result = build(severity=severity)(images, rng=Rng(0, np.arange(2)))
    assert result.shape == images.shape
    assert result.dtype == torch.float32
    assert result.min() >= 0
    assert result.max() <= 1
    assert torch.equal(images, kept)


@pytest.mark.parametrize("build", ALL, ids=IDS)
def test_the_batch_changes_no_bit(build):
    images, rng = pictures(130), Rng(0, np.arange(130))
    whole = build(severity=4)(images, rng=rng)
    for size in (1, 7, 128):
        parts = [
            build(severity=4)(images[i : i + size], rng=rng.select(np.arange(i, min(i + size, 130))))
            for i in range(0, 130, size)
        ]
        assert torch.equal(torch.cat(parts), whole)


def test_noise_has_its_sigma(rng):
    grey = torch.full((8, 3, 64, 64), 0.5)
    for severity, sigma in enumerate((0.04, 0.06, 0.08, 0.09, 0.10), start=1):
        noise = GaussianNoise(severity=severity)(grey, rng=rng) - grey
        assert noise.std().item() == pytest.approx(sigma, rel=0.02)
        assert abs(noise.mean().item()) < 0.002


@pytest.mark.parametrize(
    "pixel", [(0.2, 0.5, 0.1), (0.9, 0.95, 0.3), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.3, 0.3, 0.3)]
)
def test_brightness_raises_the_hsv_value(pixel, rng):
    image = torch.tensor(pixel).view(1, 3, 1, 1)
    hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
    expected = colorsys.hsv_to_rgb(hue, saturation, min(value + 0.15, 1))
    result = Brightness(severity=3)(image, rng=rng.select([0]))
    np.testing.assert_allclose(result.flatten(), expected, atol=1e-6)


def test_contrast_by_hand(rng):
    image = torch.tensor([0.2, 0.4, 0.6, 0.8]).view(1, 1, 2, 2)
    result = Contrast(severity=5)(image, rng=rng.select([0]))  # mean 0.5, factor 0.15
    np.testing.assert_allclose(result.flatten(), [0.455, 0.485, 0.515, 0.545], atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_pillows_jpeg(channels, rng):
    images = pictures(2, (channels, 24, 40))
    result = JPEG(severity=2)(images, rng=rng.select([0, 1]))
    for image, ours in zip(images, result, strict=True):
        pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy().squeeze()
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=65)
        expected = np.asarray(Image.open(buffer)).reshape(24, 40, channels)
        np.testing.assert_array_equal((ours * 255).round().permute(1, 2, 0), expected)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"severity": 0}, "severity is 0.*1 to 5"),
        ({"severity": 6}, "severity is 6"),
        ({"profile": "hendrycks"}, "Did you mean"),
    ],
)
def test_mistakes_are_explained(arguments, words):
    with pytest.raises(InputError, match=words):
        JPEG(**arguments)
