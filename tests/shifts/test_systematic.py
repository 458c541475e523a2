import io

import numpy as np
import pytest
from PIL import Image

from bitproof.core.pixels import RESIZES, Framing, encode_png
from bitproof.errors import InputError
from bitproof.shifts import Pipeline

SMOOTH = np.add.outer(np.arange(40), np.arange(60))[:, :, None].repeat(3, 2).astype(np.uint8) * 2
FRAMING = Framing(channels=3, height=16, width=16, shorter=18)


def jpeg(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", RESIZES)
def test_every_mode_gives_the_framed_picture(mode):
    result = Pipeline(resize=mode)(jpeg(SMOOTH), framing=FRAMING)
    assert (result.shape, result.dtype) == ((16, 16, 3), np.uint8)
    reference = Pipeline()(jpeg(SMOOTH), framing=FRAMING)
    assert np.abs(result.astype(int) - reference).mean() < 8  # the same picture


def test_the_modes_differ_from_one_another():
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    results = {Pipeline(resize=mode)(encode_png(noise), framing=FRAMING).tobytes() for mode in RESIZES}
    assert len(results) == len(RESIZES)


def test_shorter_side_and_crop_by_hand():
    picture = np.zeros((18, 36, 3), np.uint8)
    picture[:, 10:26] = 200  # exactly the centre crop, so no resize and no zero column remain
    assert (Pipeline()(encode_png(picture), framing=FRAMING) == 200).all()


def test_a_picture_of_the_right_size_is_only_changed_when_enlarged():
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    framing = Framing(channels=3, height=16, width=16)
    as_it_is, enlarged = (
        Pipeline(resize="opencv-area", enlarge=e)(encode_png(picture), framing=framing) for e in (1, 2)
    )
    assert (as_it_is == picture).all()
    assert (enlarged != picture).any()
    assert np.abs(enlarged.astype(int) - picture).mean() < 40


def test_grey_pictures_stay_grey():
    framing = Framing(channels=1, height=20, width=20)
    result = Pipeline(resize="opencv-cubic", decoder="opencv")(encode_png(SMOOTH[:, :, :1]), framing=framing)
    assert result.shape == (20, 20, 1)


def test_labels():
    assert Pipeline(resize="opencv-area").label == "resize opencv-area"
    assert Pipeline(decoder="opencv").label == "decoder opencv"
    assert Pipeline(decoder="opencv").name == "decoder"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"resize": "pillow-bicubic"}, "Did you mean 'pillow-cubic'"),
        ({"decoder": "cv2"}, "unknown decoder 'cv2'"),
        ({"enlarge": 0}, "enlarge is 0"),
    ],
)
def test_mistakes_are_explained(arguments, words):
    with pytest.raises(InputError, match=words):
        Pipeline(**arguments)
