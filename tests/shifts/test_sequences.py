import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.shifts import SEQUENCES, RotateSequence, ScaleSequence, ShearSequence, TiltSequence, TranslateSequence
from bitproof.shifts.base import PROFILES

COUNTS = {"translate-sequence": {"hendrycks-224": 41, "hendrycks-32": 16}, "motion-blur-sequence": {"hendrycks-32": 21}}
CLEAN = {  # the frame that is the picture itself, where there is one
    **{f"{name}-sequence": 0 for name in ("gaussian-noise", "shot-noise", "speckle-noise", "zoom-blur")},
    **{f"{name}-sequence": 15 for name in ("brightness", "rotate", "shear")},
}


def pictures(n: int = 2, shape: tuple[int, ...] = (3, 32, 32)) -> torch.Tensor:
    coarse = torch.rand(n, shape[0], 4, 4, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, shape[1:], mode="bilinear", align_corners=False)


@pytest.mark.parametrize("profile", ["hendrycks-224", "hendrycks-32"])
@pytest.mark.parametrize("name", SEQUENCES)
def test_frame_counts_and_the_clean_frame(name, profile, rng):
    images = pictures()
    frames = SEQUENCES[name](profile=profile)(images, rng=rng.select([0, 1]))
    assert frames.shape == (2, COUNTS.get(name, {}).get(profile, 31), 3, 32, 32)
    assert len({frame.numpy().tobytes() for frame in frames[0]}) > 0.9 * frames.shape[1]
    by_profile = {"scale-sequence": (24, 15), "translate-sequence": (20, 7)}
    index = by_profile[name][profile == "hendrycks-32"] if name in by_profile else CLEAN.get(name)
    if index is not None:
        torch.testing.assert_close(frames[:, index], images, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", SEQUENCES)
@settings(max_examples=8, deadline=None)
@given(
    height=st.integers(1, 16),
    width=st.integers(1, 16),
    channels=st.sampled_from([1, 3]),
    profile=st.sampled_from(PROFILES),
    fill=st.one_of(st.none(), st.floats(0, 1, width=32)),
)
def test_any_image_gives_frames_in_range(name, height, width, channels, profile, fill):
    images = torch.rand(1, channels, height, width) if fill is None else torch.full((1, channels, height, width), fill)
    kept = images.clone()
    frames = SEQUENCES[name](profile=profile)(images, rng=Rng(0, np.arange(1)))
    assert frames.shape[0] == 1
    assert frames.shape[2:] == images.shape[1:]
    assert frames.min() >= 0
    assert frames.max() <= 1
    assert torch.equal(images, kept)


@pytest.mark.parametrize("name", SEQUENCES)
def test_the_batch_changes_no_bit(name):
    images, rng = pictures(5), Rng(0, np.arange(5))
    whole = SEQUENCES[name](difficulty=2)(images, rng=rng)
    rows = ([0, 1], [2, 3], [4])
    parts = [SEQUENCES[name](difficulty=2)(images[part], rng=rng.select(part)) for part in rows]
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize(
    ("name", "deviations"),
    [
        ("gaussian-noise", (0.02, 0.04, 0.06)),
        ("shot-noise", (0.0267, 0.0354, 0.05)),  # (0.5 / photons) ** 0.5
        ("speckle-noise", (0.025, 0.035, 0.05)),
    ],
)
def test_noise_has_its_strength_and_is_new_in_each_frame(name, deviations, rng):
    grey = torch.full((2, 3, 64, 64), 0.5)
    for difficulty, deviation in enumerate(deviations, start=1):
        noise = SEQUENCES[f"{name}-sequence"](difficulty=difficulty)(grey, rng=rng.select([0, 1])) - 0.5
        assert noise[:, 1:].std().item() == pytest.approx(deviation, rel=0.02)
        assert abs((noise[:, 1] * noise[:, 2]).mean().item()) < 0.05 * deviation**2


def test_moves_follow_their_definition(rng):
    """A dot 20 pixels right of the centre of a 101-pixel picture, in the last frame of each."""
    dot = torch.zeros(1, 1, 101, 101)
    dot[..., 50, 70] = 1
    angle = np.deg2rad(15)
    expected = {
        TranslateSequence: (50, 90),  # 20 pixels to the right
        RotateSequence: (50 + 20 * np.sin(angle), 50 + 20 * np.cos(angle)),  # clockwise
        ScaleSequence: (50, 50 + 20 * 1.15),
        ShearSequence: (50, 70),  # in the middle row nothing moves
    }
    for build, place in expected.items():
        frame = build(profile="hendrycks-224")(dot, rng=rng.select([0]))[0, -1, 0].numpy()
        found = [np.sum(axis * frame) / frame.sum() for axis in np.mgrid[:101, :101]]
        np.testing.assert_allclose(found, place, atol=0.05)
    up = torch.zeros(1, 1, 101, 101)
    up[..., 30, 50] = 1
    frame = ShearSequence()(up, rng=rng.select([0]))[0, -1, 0].numpy()
    assert np.sum(np.arange(101) * frame) / frame.sum() == pytest.approx(50 + 20 * np.tan(angle), abs=0.05)


def test_tilt_is_the_references_chain_of_four_by_four_matrices(rng):
    import cv2

    picture = pictures(1, (1, 40, 60))
    h, w, t = 40, 60, np.deg2rad(-15)
    f, s, c = np.sqrt(w**2 + h**2), np.sin(t), np.cos(t)
    lift = np.array([[1, 0, -w / 2], [0, 1, -h / 2], [0, 0, 1], [0, 0, 1]])
    about_x = np.array([[1, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1]])
    about_y = np.array([[c, 0, -s, 0], [0, 1, 0, 0], [s, 0, c, 0], [0, 0, 0, 1]])
    away = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, f], [0, 0, 0, 1]])
    project = np.array([[f, 0, w / 2, 0], [0, f, h / 2, 0], [0, 0, 1, 0]])
    expected = cv2.warpPerspective(picture[0, 0].numpy(), project @ away @ about_x @ about_y @ lift, (w, h))
    frame = TiltSequence(profile="hendrycks-224")(picture, rng=rng.select([0]))[0, 0, 0]
    np.testing.assert_allclose(frame, expected, atol=1e-5)


def test_frames_are_cut_out_of_the_moved_picture(rng):
    """With a margin of 16 pixels, as of ImageNet-P's 256 around 224, a turn brings in what lies there, not black."""
    bright = torch.ones(1, 1, 64, 64)
    with_margin = RotateSequence()(bright, rng=rng.select([0]), size=(32, 32))
    assert with_margin.shape == (1, 31, 1, 32, 32)
    assert with_margin.min() > 0.999
    assert RotateSequence()(bright, rng=rng.select([0])).min() == 0


def test_water_runs_down(rng):
    spatter = SEQUENCES["spatter-sequence"](profile="hendrycks-224")
    light = spatter(torch.zeros(1, 1, 96, 96), rng=rng.select([0]))[0, :, 0].numpy().sum(2)
    centres = (light * np.arange(96)).sum(1) / light.sum(1)
    assert centres[8] > centres[0]


def test_mistakes_are_explained():
    with pytest.raises(InputError, match="difficulty is 4.*1 to 3"):
        RotateSequence(difficulty=4)
    assert RotateSequence(difficulty=2).label == "sequence rotate 2"
    with pytest.raises(TypeError):
        RotateSequence(compared="first")
