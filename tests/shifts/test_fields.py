"""The random fields of ImageNet-C-bar against loops over their definitions, and their spectra."""

import itertools
import math

import numpy as np
import pytest
import torch

from bitproof.shifts import (
    IMAGENET_C,
    IMAGENET_C_BAR,
    BlueNoiseSample,
    BrownishNoise,
    PerlinNoise,
    PlasmaNoise,
    SingleFrequencyGreyscale,
)
from bitproof.shifts.fields import coloured_noise, frequencies, perlin, perlin_turbulence, sine_clouds


def power(noise: np.ndarray) -> np.ndarray:
    """The mean power of the frequencies 1 to 2, 2 to 4, ... periods a side."""
    spectrum = np.abs(np.fft.fft2(noise - noise.mean())) ** 2
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(len(noise)), np.fft.fftfreq(len(noise)))) * len(noise)
    edges = 2 ** np.arange(int(math.log2(len(noise))))
    return np.array([spectrum[(radius >= a) & (radius < b)].mean() for a, b in itertools.pairwise(edges)])


def test_the_held_out_ten_are_apart_from_the_fifteen():
    assert len(IMAGENET_C_BAR) == 10
    assert not IMAGENET_C_BAR.keys() & IMAGENET_C.keys()


def test_perlin_noise_is_the_eased_mean_of_four_slopes():
    gradients = np.random.default_rng(0).standard_normal((2, 6, 8)).astype(np.float32)
    noise = perlin(gradients, 20, 30, 0.23)
    ease = np.poly1d([-2, 3, 0, 0])
    for y, x in ((0, 0), (5, 7), (19, 29), (13, 2)):
        v, u = 0.23 * y, 0.23 * x
        expected = sum(
            ease(1 - abs(v - i)) * ease(1 - abs(u - j)) * (gradients[0, i, j] * (u - j) + gradients[1, i, j] * (v - i))
            for i in (int(v), int(v) + 1)
            for j in (int(u), int(u) + 1)
        )
        assert noise[y, x] == pytest.approx(expected, abs=1e-5)


def test_perlin_noise_is_zero_at_the_points_of_its_lattice():
    gradients = np.random.default_rng(0).standard_normal((2, 10, 10)).astype(np.float32)
    noise = perlin(gradients, 32, 32, 0.25)
    assert (noise[::4, ::4] == 0).all()
    assert (noise[1::4, 1::4] != 0).all()


def test_turbulence_fades_with_the_frequency():
    noise = np.mean([power(perlin_turbulence(np.random.default_rng(i), 128, 128, 7 / 128)) for i in range(8)], axis=0)
    assert (np.diff(noise[2:]) < 0).all()  # from the coarsest cell on: 7 a side
    assert noise[2] > 50 * noise[-1]


def test_plasma_is_its_recursion_point_by_point():
    time, bends, sharpness, scale = 3.7, 5, 0.8, 4.0
    clouds = sine_clouds(12, 9, time, bends, sharpness, scale)
    for row, column in ((0, 0), (11, 8), (4, 7)):
        x, y = column / scale, row / scale
        frequency = stretch = size = 1.0
        for _ in range(bends):
            a, b = math.cos(y * frequency + time / stretch) / size, math.sin(x * frequency + time / stretch) / size
            x, y = x + a - 0.3 * b, y + b + 0.3 * a
            frequency, stretch, size = 1.93 * frequency, 1.15 * stretch, (2.25 - sharpness) * size
        expected = math.sin(x - time), math.sin((x + y + math.sin(time)) / 2), math.sin(y + time)
        np.testing.assert_allclose(clouds[row, column], expected, atol=2e-4)


def test_plasma_fades_with_the_frequency():
    clouds = [sine_clouds(128, 128, t, 5, 0.75, 16)[:, :, 0] for t in range(1, 9)]
    noise = np.mean([power(c) for c in clouds], axis=0)
    assert (np.diff(noise[2:]) < 0).all()
    assert noise[0] > 50 * noise[-1]


@pytest.mark.parametrize("shape", [(64, 64), (33, 64), (64, 33), (31, 31)])
def test_coloured_noise_has_its_spectrum_and_unit_deviation(shape):
    amplitude = frequencies(*shape) ** 1.5
    noise = coloured_noise(np.random.default_rng(0), amplitude, shape[1], 400)
    np.testing.assert_allclose(noise.std((1, 2)), 1, rtol=1e-5)
    spectrum = (np.abs(np.fft.rfft2(noise)) ** 2).mean(0)
    ratio = np.delete((spectrum / np.maximum(amplitude, 1e-9) ** 2).ravel(), 0)
    own_opposites = ratio > 1.5 * np.median(ratio)  # these keep their whole variance: at most three
    np.testing.assert_allclose(ratio[~own_opposites] / np.median(ratio), 1, atol=0.25)
    assert own_opposites.sum() <= 3
    assert spectrum[0, 0] < 1e-4


def test_noise_is_that_of_random_phases_on_the_whole_plane():
    """The same distribution as the reference's: the real part of the full transform, by two moments."""
    amplitude = np.hypot(np.fft.fftfreq(8)[:, None], np.fft.fftfreq(8)) * 8
    phases = np.random.default_rng(1).uniform(0, 2 * np.pi, (20_000, 8, 8))
    reference = np.fft.ifft2(amplitude * np.exp(1j * phases)).real
    reference /= reference.std((1, 2), keepdims=True)
    ours = coloured_noise(np.random.default_rng(0), frequencies(8, 8), 8, 20_000)
    for sample in (reference, ours):
        assert sample.mean() == pytest.approx(0, abs=1e-6)
    squares = [(np.abs(np.fft.rfft2(sample)) ** 2) for sample in (reference, ours)]
    np.testing.assert_allclose(squares[1].mean(0), squares[0].mean(0), rtol=0.04, atol=1e-3)
    np.testing.assert_allclose((squares[1] ** 2).mean(0), (squares[0] ** 2).mean(0), rtol=0.08, atol=1e-3)


def test_brownish_noise_falls_and_blue_noise_rises_with_the_frequency(rng):
    grey = torch.full((8, 3, 128, 128), 0.5)
    brownish = (BrownishNoise(severity=1, profile="hendrycks-224")(grey, rng=rng) - 0.5).numpy()
    assert np.all([np.diff(power(plane)) < 0 for image in brownish for plane in image])
    assert np.std(brownish, axis=(2, 3)) == pytest.approx(6.4 / 255, rel=0.01)
    assert np.corrcoef(brownish[0].reshape(3, -1))[0, 1] < 0.9  # another one in each channel
    mask = BlueNoiseSample(severity=5, profile="hendrycks-224")(torch.ones(8, 1, 128, 128), rng=rng)[:, 0].numpy()
    white = np.random.default_rng(0).random(mask.shape) < mask.mean()
    blue, even = (np.mean([power(m.astype(float)) for m in masks], axis=0) for masks in (mask, white))
    assert blue[:3].mean() < 0.75 * even[:3].mean()  # the threshold brings some low frequencies back
    assert blue[-1] > 1.2 * blue[0]


def test_blue_noise_blackens_the_share_that_a_normal_threshold_does_and_more_at_each_severity(rng):
    ones = torch.ones(8, 3, 128, 128)
    masks = [BlueNoiseSample(severity=s, profile="hendrycks-224")(ones, rng=rng) for s in range(1, 6)]
    assert all((a >= b).all() for a, b in itertools.pairwise(masks))
    for mask, level in zip(masks, (0.8, 1.6, 2.4, 4, 5.6), strict=True):
        share = 0.5 * math.erfc(-(0.3 * level - 2.5) / math.sqrt(2))
        assert 1 - mask.mean().item() == pytest.approx(share, abs=0.01)
        assert torch.equal(mask[:, 0], mask[:, 2])
        assert set(mask.unique().tolist()) == {0, 1}


def test_a_single_frequency_is_one(rng):
    grey = torch.full((8, 3, 64, 64), 0.5)
    wave = SingleFrequencyGreyscale(severity=3, profile="hendrycks-224")(grey, rng=rng).double() - 0.5
    assert torch.equal(wave[:, 0], wave[:, 1])
    assert wave.abs().max().item() == pytest.approx(2 * 19.6 / 255, rel=0.01)
    for image in wave[:, 0].numpy():  # a plane wave fulfils f(x - 1) + f(x + 1) = 2 cos(k) f(x), along both axes
        for sides, middle in (
            (image[:, 2:] + image[:, :-2], image[:, 1:-1]),
            (image[2:] + image[:-2], image[1:-1]),
        ):
            cosine = (sides * middle).sum() / (2 * (middle * middle).sum())
            np.testing.assert_allclose(sides, 2 * cosine * middle, atol=1e-6)


@pytest.mark.parametrize(("build", "share"), [(PerlinNoise, 0.05 * 4.6), (PlasmaNoise, 6.4 * 4.75 / 255)])
def test_mixed_in_fields_leave_their_share_of_the_picture(build, share, rng):
    build = build(severity=1, profile="hendrycks-224")
    dark, light = (build(torch.full((8, 3, 40, 56), v), rng=rng) for v in (0.5, 0.75))
    torch.testing.assert_close(light - dark, torch.full_like(dark, 0.25 * (1 - share)))
