import io

import numpy as np
import pytest
from PIL import Image

from bitproof.errors import InputError
from bitproof.pictures.pixels import RESIZES, Framing, encode_png, resize
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
    assert Pipeline().label == "resize pillow-bilinear"
    assert Pipeline(axis="decoder").label == "decoder pillow"
    assert Pipeline(decoder="opencv", resize="pillow-box", colour="bgr").label == "decoder opencv pillow-box bgr"
    assert Pipeline(protocol="squash").label == "protocol squash"
    assert Pipeline(decoder="opencv", colour="nv12", axis="colour").label == "colour nv12 opencv"


def test_the_axis_names_the_condition_and_changes_no_pixel():
    assert (Pipeline(axis="decoder")(jpeg(SMOOTH), framing=FRAMING) == Pipeline()(jpeg(SMOOTH), framing=FRAMING)).all()
    assert Pipeline(axis="decoder") != Pipeline()


def test_squashing_resizes_both_sides_and_cuts_the_centre():
    found = Pipeline(protocol="squash", resize="opencv-area")(encode_png(SMOOTH), framing=FRAMING)
    assert np.array_equal(found, resize(SMOOTH, 18, 18, "opencv-area")[1:17, 1:17])


@pytest.mark.parametrize("protocol", ["shorter-side", "squash"])
def test_a_picture_that_is_not_cropped_is_resized_whole(protocol):
    framing = Framing(channels=3, height=10, width=20)
    found = Pipeline(protocol=protocol)(encode_png(SMOOTH), framing=framing)
    assert np.array_equal(found, resize(SMOOTH, 10, 20, "pillow-bilinear"))


@pytest.mark.parametrize("mode", RESIZES)
def test_bgr_is_the_picture_with_its_channels_turned_round(mode):
    colours = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    straight, turned = (Pipeline(colour=c, resize=mode)(encode_png(colours), framing=FRAMING) for c in ("rgb", "bgr"))
    assert np.array_equal(turned, straight[:, :, ::-1]) and (turned != straight).any()


def test_nv12_blurs_colours_and_hardly_changes_grey():
    colours = np.random.default_rng(0).integers(0, 256, (17, 17, 3), dtype=np.uint8)
    framing = Framing(channels=3, height=17, width=17)
    found = Pipeline(colour="nv12")(encode_png(colours), framing=framing).astype(int)
    assert np.abs(found - colours).mean() > 20
    grey = Framing(channels=1, height=17, width=17)
    found = Pipeline(colour="nv12")(encode_png(colours[:, :, :1]), framing=grey).astype(int)
    assert 0 < np.abs(found - colours[:, :, :1]).max() <= 2


def test_antialiasing_weighs_all_pixels_and_torch_then_agrees_with_pillow():
    """Down by 4, plain bilinear looks at the two middle samples a side."""
    line = np.zeros((4, 4, 1), np.uint8)
    line[0] = 200
    assert resize(line, 1, 1, "torch-bilinear")[0, 0, 0] == 0
    assert (
        resize(line, 1, 1, "torch-bilinear-antialias")[0, 0, 0] == resize(line, 1, 1, "pillow-bilinear")[0, 0, 0] > 20
    )
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    for kind in ("bilinear", "cubic"):
        own, pillow = (
            resize(noise, 17, 19, name).astype(int) for name in (f"torch-{kind}-antialias", f"pillow-{kind}")
        )
        plain, opencv = (resize(noise, 17, 19, name).astype(int) for name in (f"torch-{kind}", f"opencv-{kind}"))
        assert np.abs(own - pillow).max() <= 1
        assert np.abs(plain - opencv).mean() < 0.5
        assert np.abs(own - plain).mean() > 10


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"resize": "pillow-bicubic"}, "Did you mean 'pillow-cubic'"),
        ({"decoder": "cv2"}, "unknown decoder 'cv2'"),
        ({"enlarge": 0}, "enlarge is 0"),
        ({"protocol": "stretch"}, "unknown protocol 'stretch'"),
        ({"colour": "grb"}, "unknown colour 'grb'.*known are bgr, nv12, rgb"),
        ({"axis": "enlarge"}, "unknown axis 'enlarge'"),
    ],
)
def test_mistakes_are_explained(arguments, words):
    with pytest.raises(InputError, match=words):
        Pipeline(**arguments)
