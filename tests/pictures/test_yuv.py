"""YUV to RGB against the standards' formulas, OpenCV and Pillow."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bitproof.errors import InputError
from bitproof.pictures.yuv import MATRICES, RANGES, through_nv12, to_rgb

CODE = st.integers(0, 255)

# R = Y + a V, G = Y - b U - c V, B = Y + d U: as printed in JFIF (BT.601) and in ITU-R BT.709
COEFFICIENTS = {"bt601": (1.402, 0.344136, 0.714136, 1.772), "bt709": (1.5748, 0.187324, 0.468124, 1.8556)}


def plane(*rows):
    return np.array(rows, np.uint8)


def planes(height=6, width=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (3, height, width), np.uint8)


@given(y=CODE, u=CODE, v=CODE, matrix=st.sampled_from(list(MATRICES)), levels=st.sampled_from(list(RANGES)))
def test_a_pixel_follows_the_printed_formula(y, u, v, matrix, levels):
    found = to_rgb(plane([y]), plane([u]), plane([v]), matrix=matrix, levels=levels)[0, 0]
    luma, cb, cr = (y, u - 128, v - 128)
    if levels == "limited":
        luma, cb, cr = (y - 16) * 255 / 219, cb * 255 / 224, cr * 255 / 224
    a, b, c, d = COEFFICIENTS[matrix]
    expected = np.clip([luma + a * cr, luma - b * cb - c * cr, luma + d * cb], 0, 255)
    assert np.abs(found - expected).max() <= 0.502  # the coefficients are printed with six digits


@pytest.mark.parametrize("matrix", MATRICES)
def test_grey_stays_grey_and_the_ranges_reach_black_and_white(matrix):
    neutral = np.full((1, 256), 128, np.uint8)
    ramp = np.arange(256, dtype=np.uint8)[None]
    assert (to_rgb(ramp, neutral, neutral, matrix=matrix) == ramp[:, :, None]).all()
    limited = to_rgb(ramp, neutral, neutral, matrix=matrix, levels="limited")
    assert (limited[0, :17] == 0).all() and (limited[0, 235:] == 255).all() and (limited[0, 17:235] > 0).all()


def test_opencv_and_pillow_convert_alike_to_one_level():
    y, u, v = planes(40, 50)
    found = to_rgb(y, u, v).astype(int)
    assert np.abs(found - cv2.cvtColor(np.dstack([y, v, u]), cv2.COLOR_YCrCb2RGB)).max() <= 1
    assert np.abs(found - np.asarray(Image.fromarray(np.dstack([y, u, v]), "YCbCr").convert("RGB"))).max() <= 1


def test_limited_range_is_what_opencv_takes_video_for():
    y, u, v = planes(40, 50)
    y = y.clip(16, 255)  # OpenCV cuts what is blacker than black before it adds chroma
    half = np.ascontiguousarray(u[::2, ::2]), np.ascontiguousarray(v[::2, ::2])
    i420 = np.concatenate([y.ravel(), *(p.ravel() for p in half)]).reshape(60, 50)
    expected = cv2.cvtColor(i420, cv2.COLOR_YUV2RGB_I420).astype(int)
    assert np.abs(to_rgb(y, *half, levels="limited", chroma="nearest") - expected).max() <= 1


def test_smaller_chroma_is_repeated_or_weighted_three_to_one():
    luma, neutral = np.full((2, 4), 100, np.uint8), plane([128, 128])
    red = plane([128, 168])  # 0 and 40 above neutral
    repeated = to_rgb(luma, neutral, red, chroma="nearest")
    weighted = to_rgb(luma, neutral, red)
    assert repeated[0, :, 0].tolist() == [100, 100, 156, 156]
    assert weighted[1, :, 0].tolist() == [100, round(100 + 1.402 * 10), round(100 + 1.402 * 30), 156]


@pytest.mark.parametrize("chroma", ["bilinear", "nearest"])
@pytest.mark.parametrize(("height", "width", "down", "right"), [(5, 7, 2, 2), (5, 7, 1, 2), (3, 5, 1, 4), (1, 1, 2, 2)])
def test_flat_chroma_of_any_layout_is_flat(chroma, height, width, down, right):
    luma = np.full((height, width), 90, np.uint8)
    cb, cr = (np.full((-(-height // down), -(-width // right)), code, np.uint8) for code in (100, 150))
    found = to_rgb(luma, cb, cr, chroma=chroma)
    assert found.shape == (height, width, 3) and (found == found[0, 0]).all()


def test_nv12_keeps_flat_colours_and_loses_fine_ones():
    for colour in ([200, 30, 90], [0, 0, 0], [255, 255, 255], [10, 250, 20]):
        flat = np.full((5, 7, 3), colour, np.uint8)
        assert np.abs(through_nv12(flat).astype(int) - colour).max() <= 2
    stripes = np.full((4, 8, 3), 110, np.uint8)
    stripes[:, ::2, 0], stripes[:, 1::2, 2] = 150, 150
    found = through_nv12(stripes).astype(int)
    differences = found[:, ::2] - found[:, 1::2]
    assert np.ptp(differences, axis=2).max() <= 2  # luma alone still differs from column to column


def test_unknown_names_are_explained():
    pixel = plane([128])
    with pytest.raises(InputError, match="unknown YUV matrix 'bt2020'"):
        to_rgb(pixel, pixel, pixel, matrix="bt2020")
    with pytest.raises(InputError, match="unknown YUV range 'tv'"):
        to_rgb(pixel, pixel, pixel, levels="tv")
    with pytest.raises(InputError, match="unknown way to enlarge chroma 'cubic'"):
        to_rgb(pixel, pixel, pixel, chroma="cubic")
