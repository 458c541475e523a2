import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from bitproof.shifts import DefocusBlur, GaussianBlur, GlassBlur, MotionBlur, ZoomBlur
from bitproof.shifts.blur import disk, shuffled, streak, zoomed


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32)


@pytest.mark.parametrize("reach", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(30, 41), (9, 12), (8, 8), (5, 1)])
def test_the_shuffle_is_the_sequential_loop(reach, shape):
    height, width = shape
    inner = max(0, height - 2 * reach), max(0, width - 2 * reach)
    offsets = np.random.default_rng(reach).integers(-reach, reach, (2, *inner), np.int8)
    expected = np.arange(height * width).reshape(shape)
    for h in range(height - reach, reach, -1):
        for w in range(width - reach, reach, -1):
            dx, dy = offsets[:, h - reach - 1, w - reach - 1]
            expected[h, w] = expected[h + dy, w + dx]
    np.testing.assert_array_equal(shuffled(offsets, height, width, reach), expected.ravel())


def test_glass_leaves_a_border_and_a_flat_picture_alone(rng):
    image = torch.from_numpy(noise(1, 3, 32, 32))
    moved = (GlassBlur(severity=1)(image, rng=rng.select([0])) - image).abs() > 1 / 255
    assert not moved[..., :2, :].any()
    assert moved[..., 2:, 2:].float().mean() > 0.5
    flat = torch.full((1, 3, 64, 64), 100 / 255)
    result = GlassBlur(severity=5, profile="hendrycks-224")(flat, rng=rng.select([0]))
    torch.testing.assert_close(result, flat)


@pytest.mark.parametrize("angle", [-45, -30, -12.3, 0, 30, 45, -90, -135, 100])
def test_a_streak_is_a_sum_of_shifted_pictures(angle):
    picture = noise(40, 30)
    expected = np.zeros(picture.shape)
    weights = np.exp(-(np.arange(21) ** 2) / (2 * 3**2))
    rise, run = 21 * np.sin(np.deg2rad(angle)), 21 * np.cos(np.deg2rad(angle))
    padded = np.pad(picture, 25, mode="edge")
    for i, weight in enumerate(weights / weights.sum()):
        y, x = (25 + math.ceil(i * part / math.hypot(rise, run) - 0.5) for part in (rise, run))
        expected += weight * padded[y : y + 40, x : x + 30]
    import cv2

    kernel, anchor = streak(10, 3, angle)
    ours = cv2.filter2D(picture, -1, kernel, anchor=anchor, borderType=cv2.BORDER_REPLICATE)
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_a_streak_follows_its_angle(rng):
    dot = torch.zeros(1, 1, 63, 63)
    dot[..., 31, 31] = 1
    blurred = MotionBlur(severity=5, profile="hendrycks-224")(dot, rng=rng.select([3]))[0, 0].numpy()
    y, x = (np.sum(axis * blurred) - 31 for axis in np.mgrid[:63, :63])
    angle = rng.select([3]).generators()[0].uniform(-45, 45)
    assert np.degrees(np.arctan2(-y, -x)) == pytest.approx(angle, abs=2)  # what was ahead is smeared back
    assert blurred.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("factor", [1.0, 1.01, 1.13, 1.24, 2.5])
@pytest.mark.parametrize("shape", [(64, 64), (50, 81)])
def test_zoom_is_scipys_on_the_centre(factor, shape):
    picture = noise(*shape, 3)
    part = [math.ceil(side / factor) for side in shape]
    top, left = ((side - p) // 2 for side, p in zip(shape, part, strict=True))
    expected = ndimage.zoom(picture[top : top + part[0], left : left + part[1]], (factor, factor, 1), order=1)
    top, left = ((a - b) // 2 for a, b in zip(expected.shape, shape, strict=False))
    expected = expected[top : top + shape[0], left : left + shape[1]]
    np.testing.assert_allclose(zoomed(picture, factor), expected, atol=2e-3)


def test_zoom_blur_is_the_mean_with_the_picture_itself(rng):
    picture = noise(32, 32, 3)
    factors = (1, 1.01, 1.02, 1.03, 1.04, 1.05, 1.06)  # np.arange(1, 1.06, 0.01) in floating point has its end too
    expected = np.mean([picture, *(zoomed(picture, factor) for factor in factors)], axis=0)
    image = torch.from_numpy(picture).permute(2, 0, 1)[None]
    result = ZoomBlur(severity=1)(image, rng=rng.select([0]))[0].permute(1, 2, 0)
    np.testing.assert_allclose(result, expected, atol=1e-6)


@pytest.mark.parametrize("radius", [0.3, 3, 8, 10])
def test_the_disk_is_symmetric_and_as_wide_as_its_radius(radius):
    kernel = disk(radius, 0.5)
    assert kernel.sum() == pytest.approx(1, abs=0.015)  # the softened edge of the large ones is mirrored at the grid's
    np.testing.assert_allclose(kernel, kernel.T, atol=1e-8)
    np.testing.assert_allclose(kernel, kernel[::-1], atol=1e-8)
    assert np.sqrt((kernel > kernel.max() / 2).sum() / np.pi) == pytest.approx(max(radius, 0.56), abs=0.3)


def test_defocus_spreads_a_dot_over_its_disk(rng):
    dot = torch.zeros(1, 1, 41, 41)
    dot[..., 20, 20] = 1
    blurred = DefocusBlur(severity=3, profile="hendrycks-224")(dot, rng=rng.select([0]))[0, 0]
    np.testing.assert_allclose(blurred[12:29, 12:29], disk(6, 0.5), atol=1e-6)


@pytest.mark.parametrize("severity", range(1, 6))
def test_gaussian_blur_is_scipys(severity, rng):
    picture = noise(40, 30)
    result = GaussianBlur(severity=severity)(torch.from_numpy(picture)[None, None], rng=rng.select([0]))
    sigma = (0.4, 0.6, 0.7, 0.8, 1)[severity - 1]
    np.testing.assert_allclose(result[0, 0], ndimage.gaussian_filter(picture, sigma, mode="nearest"), atol=1e-6)
