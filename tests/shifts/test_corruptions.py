"""What holds for every corruption."""

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
from bitproof.shifts import (
    CORRUPTIONS,
    JPEG,
    Brightness,
    Contrast,
    DefocusBlur,
    Fog,
    Frost,
    GaussianBlur,
    ImpulseNoise,
    ZoomBlur,
)
from bitproof.shifts.base import PROFILES, PROTOCOLS

ALL = list(CORRUPTIONS.values())
IDS = list(CORRUPTIONS)

UNORDERED = {"glass-blur", "frost", "elastic", "saturate", "spatter", "motion-blur"}
"""Corruptions whose published tables are not monotone in pixel distance: elastic at severity 1 of ImageNet-C moves
the picture by up to 24 pixels and at 3 by 5, saturate 2 takes colour away and 3 adds it, spatter turns from water to
mud, CIFAR-10-C's motion blur 3 and 4 differ in the length of the tail only."""


def pictures(n: int = 8, shape: tuple[int, ...] = (3, 32, 32)) -> torch.Tensor:
    """Smooth random pictures with some grain, 8-bit values, that reach black and white."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(n, shape[0], 4, 4, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, shape[1:], mode="bilinear", align_corners=False)
    grain = 0.1 * torch.randn(n, *shape, generator=generator)
    return (255 * (1.4 * smooth - 0.2 + grain)).round().clamp(0, 255) / 255


@pytest.mark.parametrize("name", sorted(CORRUPTIONS.keys() - UNORDERED))
@pytest.mark.parametrize(("profile", "side"), [("hendrycks-32", 32), ("hendrycks-224", 224)])
def test_severities_are_ordered(name, profile, side, rng):
    build = CORRUPTIONS[name]
    images = pictures(8, (3, side, side))
    distances = [(build(severity=s, profile=profile)(images, rng=rng) - images).norm() for s in range(1, 6)]
    assert all(a < b for a, b in itertools.pairwise(distances)), distances


@pytest.mark.parametrize("build", ALL, ids=IDS)
@pytest.mark.parametrize("profile", PROFILES)
def test_every_severity_changes_the_picture_in_its_own_way(build, profile, rng):
    images = pictures(2, (3, 48, 40))
    results = [build(severity=s, profile=profile)(images, rng=rng.select([0, 1])) for s in range(1, 6)]
    for a, b in itertools.combinations([images, *results], 2):
        assert not torch.equal(a, b)


@pytest.mark.parametrize("build", ALL, ids=IDS)
@settings(max_examples=20, deadline=None)
@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    channels=st.sampled_from([1, 3]),
    severity=st.integers(1, 5),
    profile=st.sampled_from(PROFILES),
    protocol=st.sampled_from(PROTOCOLS),
    fill=st.one_of(st.none(), st.floats(0, 1, width=32)),
    whole=st.booleans(),
)
def test_any_image_keeps_shape_type_and_range_and_is_not_changed_in_place(
    build, height, width, channels, severity, profile, protocol, fill, whole
):
    images = torch.rand(2, channels, height, width) if fill is None else torch.full((2, channels, height, width), fill)
    images = (255 * images).to(torch.uint8) if whole else images
    kept = images.clone()
    result = build(severity=severity, profile=profile, protocol=protocol)(images, rng=Rng(0, np.arange(2)))
    assert result.shape == images.shape
    assert result.dtype == images.dtype
    assert result.min() >= 0  # fails for NaN too
    assert whole or result.max() <= 1
    assert torch.equal(images, kept)


@pytest.mark.parametrize("build", ALL, ids=IDS)
def test_the_batch_changes_no_bit(build):
    images, rng = pictures(40), Rng(0, np.arange(40))
    whole = build(severity=4)(images, rng=rng)
    for size in (1, 7, 32):
        parts = [
            build(severity=4)(images[i : i + size], rng=rng.select(np.arange(i, min(i + size, 40))))
            for i in range(0, 40, size)
        ]
        assert torch.equal(torch.cat(parts), whole)
    order = np.random.default_rng(0).permutation(40)
    assert torch.equal(build(severity=4)(images[order], rng=rng.select(order)), whole[order])


@pytest.mark.parametrize("build", ALL, ids=IDS)
def test_the_number_of_threads_changes_no_bit(build):
    import cv2

    images, rng = pictures(2, (3, 96, 96)), Rng(0, np.arange(2))
    threads = cv2.getNumThreads(), torch.get_num_threads()
    results = []
    try:
        for count in (1, 2):
            cv2.setNumThreads(count)
            torch.set_num_threads(count)
            results.append(build(severity=3, profile="hendrycks-224")(images, rng=rng))
    finally:
        cv2.setNumThreads(threads[0])
        torch.set_num_threads(threads[1])
    assert torch.equal(*results)


@pytest.mark.parametrize("build", [Brightness, Contrast, DefocusBlur, GaussianBlur, ZoomBlur])
def test_a_grey_picture_is_treated_like_the_same_in_colour(build, rng):
    """Where nothing is drawn; the other corruptions draw fewer numbers for one channel than for three."""
    grey = pictures(1, (1, 32, 32))
    colour = build(severity=3)(grey.expand(1, 3, 32, 32), rng=rng.select([0]))
    torch.testing.assert_close(build(severity=3)(grey, rng=rng.select([0])).expand(1, 3, 32, 32), colour)


def test_uint8_images_are_the_same_images_and_results_are_cut(rng):
    images = pictures(4)
    for build in (ImpulseNoise, Fog):
        floats = build()(images, rng=rng.select(range(4)))
        whole = build()((images * 255).round().to(torch.uint8), rng=rng.select(range(4)))
        assert torch.equal(whole, (floats * 255 + 1e-3).to(torch.uint8))


@pytest.mark.parametrize("channels", [1, 3])
def test_released_files_are_cut_to_8_bits_and_compressed(channels, rng):
    images = pictures(2, (channels, 24, 40))
    memory = Fog(severity=2)(images, rng=rng.select([0, 1]))
    cut = Fog(severity=2, protocol="uint8")(images, rng=rng.select([0, 1]))
    stored = Fog(severity=2, protocol="jpeg-85")(images, rng=rng.select([0, 1]))
    assert (memory - cut).min() > -1e-5
    assert (memory - cut).max() <= 1 / 255
    for image, ours in zip(cut, stored, strict=True):
        buffer = io.BytesIO()
        pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        Image.fromarray(pixels.squeeze()).save(buffer, "JPEG", quality=85)
        expected = np.asarray(Image.open(buffer)).reshape(24, 40, channels)
        np.testing.assert_array_equal((ours * 255).round().permute(1, 2, 0), expected)


@pytest.mark.parametrize(("profile", "side"), [("hendrycks-32", 32), ("hendrycks-224", 224)])
@pytest.mark.parametrize("build", ALL, ids=IDS)
def test_the_scaled_profile_is_the_published_one_at_its_size(build, profile, side, rng):
    images = pictures(1, (3, side, side))
    published, scaled = (build(severity=2, profile=p)(images, rng=rng.select([0])) for p in (profile, "scaled"))
    assert torch.equal(published, scaled)


def test_the_scaled_profile_stretches_lengths(rng):
    dot = torch.zeros(1, 1, 113, 113)
    dot[..., 56, 56] = 1
    blurred = GaussianBlur(severity=4, profile="scaled")(dot, rng=rng.select([0]))  # 4 x 113 / 224 pixels
    distance = torch.arange(113.0) - 56
    assert (blurred[0, 0].sum(0) * distance**2).sum().sqrt().item() == pytest.approx(4 * 113 / 224, rel=0.01)


def test_labels_name_the_protocol():
    assert Fog(severity=2).label == "fog 2"
    assert Fog(severity=2, protocol="jpeg-85").label == "fog 2 jpeg-85"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"severity": 0}, "severity is 0.*1 to 5"),
        ({"severity": 6}, "severity is 6"),
        ({"profile": "hendrycks"}, "Did you mean"),
        ({"protocol": "jpeg"}, "unknown corruption protocol"),
    ],
)
def test_mistakes_are_explained(arguments, words):
    with pytest.raises(InputError, match=words):
        JPEG(**arguments)


def test_a_missing_frost_texture_is_explained(tmp_path):
    with pytest.raises(InputError, match="no pictures of frost"):
        Frost(textures=str(tmp_path))
