import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage

from bitproof.pictures.pixels import encode_png
from bitproof.shifts import Fog, Frost, Snow, Spatter
from bitproof.shifts.frost import drawn
from bitproof.shifts.weather import flakes, plasma


def flat(value: float, side: int = 64, n: int = 1) -> torch.Tensor:
    return torch.full((n, 3, side, side), value)


@pytest.mark.parametrize("size", [1, 1.75, 3, 4.5])
def test_flakes_are_enlarged_noise_above_the_threshold(size):
    noise = np.random.default_rng(0).random((int(np.ceil(40 / size)),) * 2, np.float32)
    expected = ndimage.zoom(noise, size, order=1)
    margin = (len(expected) - 40) // 2
    expected = expected[margin : margin + 40, margin : margin + 40]
    expected = np.floor(np.where(expected < 0.5, 0, expected) * 255) / 255
    assert np.quantile(np.abs(flakes(noise, size, (40, 40), 0.5) - expected), 0.995) <= 1.001 / 255


def test_snow_whitens_and_is_the_same_upside_down(rng):
    """The layer is added together with itself turned by 180 degrees, so that a flat picture stays symmetric."""
    result = Snow(severity=3, profile="hendrycks-224")(flat(0.1), rng=rng.select([0]))
    torch.testing.assert_close(result, result.flip(2, 3))
    assert result.min().item() == pytest.approx(0.7 * 0.1 + 0.3 * (0.15 + 0.5), abs=1e-6)  # no flake there


def test_plasma_fills_its_range_and_repeats(rng):
    clouds = [plasma(generator, 128, 2.0) for generator in rng.generators()]
    for cloud in clouds:
        assert cloud.shape == (128, 128)
        assert (cloud.min(), cloud.max()) == (0, 1)
        steps = np.abs(np.diff(cloud, axis=0)).mean()
        assert np.abs(cloud[-1] - cloud[0]).mean() < 3 * steps  # opposite edges are neighbours


@pytest.mark.parametrize("decay", [1.4, 2.0, 3.0])
def test_plasma_gets_smoother_with_its_decay(decay, rng):
    """Each level adds displacements whose standard deviation is 1 / decay**2 of the last one's."""
    details = []
    for generator in rng.generators():
        cloud = plasma(generator, 64, decay)
        middle = cloud[1::2, 1::2] - (cloud[::2, ::2] + np.roll(cloud[::2, ::2], -1, 0)) / 4
        middle -= (np.roll(cloud[::2, ::2], -1, 1) + np.roll(cloud[::2, ::2], (-1, -1), (0, 1))) / 4
        coarse = cloud[::2, ::2]
        before = coarse[1::2, 1::2] - (coarse[::2, ::2] + np.roll(coarse[::2, ::2], -1, 0)) / 4
        before -= (np.roll(coarse[::2, ::2], -1, 1) + np.roll(coarse[::2, ::2], (-1, -1), (0, 1))) / 4
        details.append(middle.std() / before.std())
    assert np.mean(details) == pytest.approx(decay**-2, rel=0.05)


def test_fog_keeps_the_maximum_possible(rng):
    """x + c cloud is scaled back by max / (max + c): black becomes at most c max / (max + c)."""
    image = flat(0.0, side=32)
    image[..., 0, 0] = 0.8
    result = Fog(severity=4)(image, rng=rng.select([0]))
    assert result.max().item() <= 0.8 + 1e-6
    assert result.max().item() > 0.4 * 0.8 / 1.8


def test_frost_is_a_weighted_sum_with_the_users_texture(tmp_path, rng):
    texture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    (tmp_path / "frost.png").write_bytes(encode_png(texture))
    for source in (tmp_path, tmp_path / "frost.png"):
        frost = Frost(severity=2, profile="hendrycks-224", textures=str(source))
        added = (frost(flat(0.2, side=16), rng=rng.select([0])) - 0.8 * 0.2) / 0.6
        windows = np.lib.stride_tricks.sliding_window_view(texture / 255, (16, 16), (0, 1))
        reachable = (windows - added[0].numpy()).clip(-1, 1)
        unclipped = np.abs(0.6 * added[0].numpy() + 0.16) < 1 - 1e-6
        assert (np.abs(reachable) * unclipped).max((2, 3, 4)).min() < 1e-5


def test_a_result_names_the_content_of_the_textures(tmp_path):
    (tmp_path / "a.png").write_bytes(encode_png(np.zeros((20, 20, 3), np.uint8)))
    (tmp_path / "b.png").write_bytes(encode_png(np.ones((20, 20, 3), np.uint8)))
    contents = {Frost(textures=str(tmp_path / name)).content for name in ("a.png", "b.png")}
    assert len({*contents, Frost().content}) == 3
    assert Frost().content == "procedural 1"


def test_drawn_frost_is_always_the_same_and_looks_like_frost():
    """Mean, contrast and spectrum lie in the range measured on the photographs of ImageNet-C: mean 0.35 to 0.81,
    standard deviation 0.07 to 0.17, and a power that falls by 2**-5.5 to 2**-8 from periods of 96 to 12 pixels."""
    for number in range(5):
        picture = drawn(number)
        np.testing.assert_array_equal(picture, drawn(number))
        grey = picture.mean(2)
        assert 0.34 < grey.mean() < 0.82
        assert 0.06 < grey.std() < 0.18
        part = grey[:224, :224]
        power = np.abs(np.fft.fft2(part - part.mean())) ** 2
        frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(224), np.fft.fftfreq(224)))
        bands = [power[(frequency > low) & (frequency <= 2 * low)].mean() for low in (1 / 128, 1 / 16)]
        assert -9 < np.log2(bands[1] / bands[0]) < -5
        assert (picture[:, :, 2] >= picture[:, :, 0] - 0.02).mean() > 0.95  # bluish


def test_a_grey_picture_gets_grey_frost(tmp_path, rng):
    texture = np.zeros((20, 20, 3), np.uint8) + np.array([200, 100, 50], np.uint8)
    (tmp_path / "frost.png").write_bytes(encode_png(texture))
    frost = Frost(severity=1, profile="hendrycks-224", textures=str(tmp_path))
    result = frost(torch.zeros(1, 1, 16, 16), rng=rng.select([0]))
    luma = (0.299 * 200 + 0.587 * 100 + 0.114 * 50) / 255
    np.testing.assert_allclose(result, 0.4 * luma, atol=1e-5)


def test_water_lightens_and_mud_covers(rng):
    water = Spatter(severity=2, profile="hendrycks-224")(flat(0.3, n=8), rng=rng)
    assert (water >= 0.3 - 1e-6).all()
    lit = water[0] > 0.31
    np.testing.assert_allclose((water[0][1] - 0.3)[lit[1]] / (water[0][2] - 0.3)[lit[1]], 1, atol=1e-4)
    mud = Spatter(severity=4, profile="hendrycks-224")(flat(0.9, n=8), rng=rng)
    covered = mud[:, 0] < 0.5
    assert 0.01 < covered.float().mean() < 0.6
    assert mud[:, 0].min() >= 63 / 255 - 1e-6
    assert cv2.connectedComponents(covered[0].numpy().astype(np.uint8))[0] > 2
