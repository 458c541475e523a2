import colorsys
import io

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from bitproof.shifts import JPEG, Brightness, Contrast, Elastic, Pixelate, Saturate
from bitproof.shifts.digital import smooth_field

PIXELS = [(0.2, 0.5, 0.1), (0.9, 0.95, 0.3), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.3, 0.3, 0.3), (0.7, 0.0, 0.0)]


@pytest.mark.parametrize("pixel", PIXELS)
def test_brightness_raises_the_hsv_value(pixel, rng):
    image = torch.tensor(pixel).view(1, 3, 1, 1)
    hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
    expected = colorsys.hsv_to_rgb(hue, saturation, min(value + 0.15, 1))
    result = Brightness(severity=3)(image, rng=rng.select([0]))
    np.testing.assert_allclose(result.flatten(), expected, atol=1e-6)


@pytest.mark.parametrize("pixel", PIXELS)
@pytest.mark.parametrize("severity", [1, 3, 5])
def test_saturate_changes_the_hsv_saturation(pixel, severity, rng):
    factor, offset = {1: (0.3, 0), 3: (1.5, 0), 5: (2.5, 0.2)}[severity]
    hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
    expected = colorsys.hsv_to_rgb(hue, min(saturation * factor + offset, 1), value)
    result = Saturate(severity=severity)(torch.tensor(pixel).view(1, 3, 1, 1), rng=rng.select([0]))
    np.testing.assert_allclose(result.flatten(), expected, atol=1e-6)


def test_contrast_by_hand(rng):
    image = torch.tensor([0.2, 0.4, 0.6, 0.8]).view(1, 1, 2, 2)
    result = Contrast(severity=5)(image, rng=rng.select([0]))  # mean 0.5, factor 0.15
    np.testing.assert_allclose(result.flatten(), [0.455, 0.485, 0.515, 0.545], atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("build", [JPEG, Pixelate])
def test_jpeg_and_pixelate_are_pillows(build, channels, rng):
    pixels = np.random.default_rng(0).integers(0, 256, (2, channels, 24, 40), np.uint8)
    for picture, ours in zip(pixels, build(severity=2)(torch.from_numpy(pixels), rng=rng.select([0, 1])), strict=True):
        image = Image.fromarray(picture.transpose(1, 2, 0).squeeze())
        if build is JPEG:
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=65)
            image = Image.open(buffer)
        else:
            image = image.resize((36, 21), Image.Resampling.BOX).resize((40, 24), Image.Resampling.BOX)
        np.testing.assert_array_equal(ours.permute(1, 2, 0), np.asarray(image).reshape(24, 40, channels))


@pytest.mark.parametrize("sigma", [0.4, 2.44, 19.52, 170.8])
@pytest.mark.parametrize("shape", [(64, 64), (33, 50), (1, 20)])
def test_the_smooth_field_is_scipys(sigma, shape):
    """Relative to the field's own size: the longest sigma leaves little of it, and 488 pixels multiply that."""
    noise = np.random.default_rng(0).random((2, *shape)).astype(np.float32) * 2 - 1
    expected = [ndimage.gaussian_filter(n.astype(float), sigma, mode="reflect", truncate=3) for n in noise]
    ours = smooth_field(noise, sigma)
    assert np.abs(ours - expected).max() < 2e-6


@pytest.mark.parametrize("profile", ["hendrycks-32", "hendrycks-224"])
@pytest.mark.parametrize("severity", range(1, 6))
def test_elastic_is_the_whole_definition_with_the_same_draws(profile, severity, rng):
    """ImageNet-C's elastic transform, by OpenCV and SciPy; the package `imagecorruptions` has another one."""
    side = 32 if profile == "hendrycks-32" else 96
    alpha, sigma, affine = {
        "hendrycks-32": ((0, 0, 2.56), (1.6, 6.4, 2.24), (2.56, 1.92, 1.92), (3.2, 1.28, 1.6), (3.2, 0.96, 0.96)),
        "hendrycks-224": (
            *((488, 170.8, 24.4), (488, 19.52, 48.8), (12.2, 2.44, 4.88)),
            *((17.08, 2.44, 4.88), (29.28, 2.44, 4.88)),
        ),
    }[profile][severity - 1]
    picture = ndimage.gaussian_filter(np.random.default_rng(1).random((side, side, 3)), (1, 1, 0)).astype(np.float32)
    generator = rng.select([5]).generators()[0]
    half, third = side // 2, side // 3
    corners = np.float32([[half + third, half + third], [half + third, half - third], [half - third, half - third]])
    moved = corners + generator.uniform(-affine, affine, (3, 2)).astype(np.float32)
    matrix = cv2.getAffineTransform(corners, moved)
    expected = cv2.warpAffine(picture, matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101)
    if alpha:
        noise = generator.random((2, side, side), np.float32).astype(float) * 2 - 1
        dx, dy = (alpha * ndimage.gaussian_filter(n, sigma, mode="reflect", truncate=3) for n in noise)
        rows, columns = np.mgrid[:side, :side]
        at = np.stack([rows + dy, columns + dx])
        expected = np.stack(
            [ndimage.map_coordinates(p, at, order=1, mode="reflect") for p in expected.T.swapaxes(1, 2)], 2
        )
    image = torch.from_numpy(picture).permute(2, 0, 1)[None]
    result = Elastic(severity=severity, profile=profile)(image, rng=rng.select([5]))[0].permute(1, 2, 0).numpy()
    assert np.quantile(np.abs(result - expected), 0.999) < 1 / 255
    assert np.abs(result - expected).max() < 4 / 255
