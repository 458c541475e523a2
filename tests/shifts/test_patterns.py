"""The drawn patterns of ImageNet-C-bar against loops over their definitions."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from bitproof.core.rng import Rng
from bitproof.shifts import CausticRefraction, CheckerboardCutout, CocentricSineWaves, InverseSparkles, Sparkles
from bitproof.shifts.patterns import caustics, refracted, star


@pytest.mark.parametrize("power", [1, 0.13, 1.3])
def test_a_star_is_its_definition(power):
    lengths = np.random.default_rng(0).uniform(1, 3, 50)
    centre = np.array([7.3, 4.6])
    light = star((16, 12), centre, lengths, power)
    for y, x in ((0, 0), (15, 11), (7, 4), (3, 9), (12, 0)):
        turns = (math.atan2(x - centre[1], y - centre[0]) + math.pi) / (2 * math.pi) * 50
        ray, part = int(turns), turns % 1
        length = (1 - part) * lengths[ray % 50] + part * lengths[(ray + 1) % 50]
        near = (length**2 / ((y - centre[0]) ** 2 + (x - centre[1]) ** 2 + 1e-4)) ** power
        assert light[y, x] == pytest.approx(min(1, near * (1 - (part - 0.5) ** 2)), abs=0.01)


def test_sparkles_whiten_and_the_inverse_keeps_a_star(rng):
    black = torch.zeros(8, 3, 64, 64)
    sparkled = Sparkles(severity=3, profile="hendrycks-224")(black, rng=rng)
    assert (sparkled.amax((1, 2, 3)) > 0.7).all()
    assert sparkled.median() < 0.3
    kept = InverseSparkles(severity=5, profile="hendrycks-224")(black, rng=rng)
    dark = (kept[:, 0] < 0.3).float().mean((1, 2))  # a disk of radius 0.25, if the rays were even
    assert dark.mean().item() == pytest.approx(math.pi / 16, abs=0.05)
    for build in (Sparkles, InverseSparkles):
        torch.testing.assert_close(build(severity=5)(black + 1, rng=rng), black + 1)


def test_rings_are_a_sawtooth_in_the_bent_distance(rng):
    grey = torch.full((8, 3, 48, 48), 0.5)
    rings = CocentricSineWaves(severity=1, profile="hendrycks-224")(grey, rng=rng) - 0.5
    for image, generator in zip(rings, rng.generators(), strict=True):
        centre, waves, (bend, ring) = (
            generator.uniform(0, 48, 2),
            generator.uniform(0, 10),
            generator.uniform(0, 4.8, 2),
        )
        for y, x in ((0, 0), (47, 13), (20, 30)):
            dy, dx = y - centre[0], x - centre[1]
            distance = math.hypot(dx, dy) + bend * math.sin(math.atan2(dx, dy) * waves)
            error = abs(image[0, y, x].item() / (3 * 12.8 / 255) - (distance % ring / ring - 0.5))
            assert min(error, 1 - error) < 0.01 + 1e-4 / ring


def test_half_the_share_of_a_chessboard_is_cut_and_more_at_each_severity():
    rng = Rng(0, np.arange(64))
    white = torch.ones(64, 3, 64, 64)
    last = torch.zeros(64, 3, 64, 64, dtype=torch.bool)
    for severity, share in enumerate((0.2, 0.3, 0.4, 0.5, 0.6), start=1):
        result = CheckerboardCutout(severity=severity, profile="hendrycks-224")(white, rng=rng)
        cut = result != 1
        assert (result[cut] == 128 / 255).all()
        assert cut.float().mean().item() == pytest.approx(share / 2, abs=0.03)
        assert cut[last].all()
        last = cut


def test_snell_turns_a_ray():
    """Against vectors: the ray in the plane of the vertical and the normal, at the angle of the law."""
    for slope in (0.05, 0.3, 1.0, 3.0):
        angle = math.atan(slope)
        inside = math.asin(math.sin(angle) / 4)
        turned = math.sin(angle - inside)  # sideways part of a unit vector, that far from the vertical
        assert refracted(np.array([[slope]]))[0, 0] * slope == pytest.approx(turned, rel=1e-6)
    assert refracted(np.array([[0.0, 0.04]])).tolist() == [[0, 0]]


def test_caustics_are_their_definition():
    time, size = 1.3, 20.0
    light = caustics(24, 18, time, size)
    for row, column in ((0, 0), (3, 5), (19, 17), (23, 2)):
        p, q = (v / size % 1 * 2 * math.pi - 250 for v in (row, column))
        y, x, total = p, q, 1.0
        for n in range(5):
            t = time * (1 - 3.5 / (n + 1))
            y, x = p + math.cos(t - y) + math.sin(t + x), q + math.sin(t - x) + math.cos(t + y)
            total += 1 / math.hypot(p / (math.sin(y + t) / 0.005), q / (math.cos(x + t) / 0.005))
        assert light[row, column] == pytest.approx(min(1, abs(1.17 - (total / 5) ** 1.4) ** 8), abs=2e-3)
    np.testing.assert_allclose(light[20:24, :], light[:4, :], atol=2e-3)  # it repeats


def test_water_bends_and_lights_by_the_slopes_of_its_surface(rng):
    """On a flat picture nothing bends inside: only the light is left."""
    grey = torch.full((8, 1, 64, 64), 0.5)
    water = CausticRefraction(severity=1, profile="hendrycks-224")(grey, rng=rng)
    for image, generator in zip(water, rng.generators(), strict=True):
        time, size = generator.uniform(0.5, 2), generator.uniform(0.75, 1.25) * 64
        surface = np.pad(ndimage.gaussian_filter(caustics(64, 64, time, size), 1, mode="nearest"), 1)
        light = (surface[2:, 1:-1] - surface[:-2, 1:-1]) - (surface[1:-1, 2:] - surface[1:-1, :-2])
        expected = (0.5 + 0.47 * light).clip(0, 1)
        np.testing.assert_allclose(image[0, 12:-12, 12:-12], expected[12:-12, 12:-12], atol=1e-5)
