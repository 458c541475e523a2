"""Decoding, resizing and framing against closed forms and torchvision."""

import io
import struct
import zlib
from importlib.util import find_spec

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from bitproof.errors import InputError, UnreadableError
from bitproof.pictures.pixels import DECODERS as ALL_DECODERS
from bitproof.pictures.pixels import RESIZES, Framing, decode, encode_png, framed, resize, to_tensor

DECODERS = [name for name in ALL_DECODERS if find_spec("av") or not name.startswith("ffmpeg")]
EXACT = ["pillow", "opencv"]  # FFmpeg dithers what is deeper than 8 bits


def picture(height=12, width=10, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def jpeg(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("channels", [1, 3])
def test_png_round_trip_is_lossless(decoder, channels):
    pixels = picture(channels=channels)
    assert np.array_equal(decode(encode_png(pixels), decoder, channels=channels), pixels)


def test_what_is_no_picture_is_refused_in_the_same_words_each_time():
    with pytest.raises(InputError, match=r"cat\.jpg cannot be decoded by pillow \(no picture in it, or cut off\)"):
        decode(b"no picture", "pillow", channels=3, source="cat.jpg")


@pytest.mark.parametrize("decoder", DECODERS)
def test_grey_files_become_rgb_when_asked(decoder):
    grey = picture(channels=1)
    assert np.array_equal(decode(encode_png(grey), decoder, channels=3), np.repeat(grey, 3, axis=2))


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("cut", [0, 20, 600])
def test_cut_off_files_are_refused_by_name(decoder, cut):
    encoded = jpeg(picture(64, 64))
    assert len(encoded) > 1200
    with pytest.raises(InputError, match=rf"cat\.jpg cannot be decoded by {decoder}.*complete JPEG.*Replace the file"):
        decode(encoded[:cut], decoder, channels=3, source="cat.jpg")


def test_pillow_reads_no_other_format():
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, "GIF")
    with pytest.raises(InputError, match="must be a complete JPEG, PNG, WEBP or BMP file"):
        decode(buffer.getvalue(), "pillow", channels=3)


@pytest.mark.parametrize("decoder", EXACT)
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_keep_the_upper_eight(decoder, channels):
    """Pillow alone would make every 16-bit grey level above 255 white."""
    deep = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16
    buffer = io.BytesIO()
    Image.fromarray(deep).save(buffer, "PNG")
    expected = np.repeat((deep >> 8).astype(np.uint8)[:, :, None], channels, axis=2)
    assert np.array_equal(decode(buffer.getvalue(), decoder, channels=channels), expected)


@pytest.mark.parametrize("decoder", EXACT)
def test_sixteen_bit_colours_keep_the_upper_eight(decoder):
    deep = np.random.default_rng(0).integers(0, 2**16, (9, 7, 3), np.uint16)
    encoded = cv2.imencode(".png", deep[:, :, ::-1])[1].tobytes()
    assert np.array_equal(decode(encoded, decoder, channels=3), deep >> 8)


@pytest.mark.parametrize("decoder", EXACT)
def test_cmyk_becomes_rgb_within_what_jpeg_loses(decoder):
    smooth = resize(picture(4, 4), 48, 40, "pillow-cubic")
    buffer = io.BytesIO()
    Image.fromarray(smooth).convert("CMYK").save(buffer, "JPEG", quality=100, subsampling=0)
    pixels = decode(buffer.getvalue(), decoder, channels=3).astype(int)
    assert np.abs(pixels - decode(buffer.getvalue(), "pillow", channels=3)).max() <= 1
    assert np.abs(pixels - smooth).mean() < 3


@pytest.mark.parametrize("decoder", EXACT)
def test_transparency_and_palettes_give_their_colours(decoder):
    opaque = picture(16, 16)
    veiled = np.dstack([opaque, picture(16, 16, 1, seed=1)])
    for image in (Image.fromarray(veiled), Image.fromarray(opaque).quantize(8)):
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        expected = opaque if image.mode == "RGBA" else np.asarray(image.convert("RGB"))
        assert np.array_equal(decode(buffer.getvalue(), decoder, channels=3), expected)


def test_a_picture_of_one_row_is_refused_before_it_becomes_gigabytes():
    framing = Framing(channels=3, height=224, width=224, shorter=256)
    assert framed(picture(1, 128), framing, "pillow-bilinear").shape == (224, 224, 3)
    with pytest.raises(UnreadableError, match=r"too narrow \(129x1 pixels\).*longer one may have 32,768"):
        framed(picture(1, 129), framing, "pillow-bilinear")


def test_unknown_names_are_named():
    with pytest.raises(InputError, match=r"unknown decoder 'pilow'.*Did you mean 'pillow'"):
        decode(b"", "pilow", channels=3)
    with pytest.raises(InputError, match=r"unknown resize method 'pillow-bilinaer'.*Did you mean 'pillow-bilinear'"):
        resize(picture(), 4, 4, "pillow-bilinaer")


@pytest.mark.parametrize("method", RESIZES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(5, 7), (12, 10), (31, 23)], ids=["down", "same", "up"])
def test_a_constant_stays_constant_and_equal_size_is_the_identity(method, channels, size):
    colour = np.array([7, 130, 255][:channels], np.uint8)
    flat = np.broadcast_to(colour, (12, 10, channels)).copy()
    resized = resize(flat, *size, method)
    assert resized.dtype == np.uint8 and resized.shape == (*size, channels)
    assert (resized == colour).all()
    assert np.array_equal(resize(picture(), 12, 10, method), picture())


@pytest.mark.parametrize("method", RESIZES)
def test_grey_is_treated_like_each_colour(method):
    grey = picture(channels=1)
    assert np.array_equal(
        resize(np.repeat(grey, 3, axis=2), 7, 21, method), np.repeat(resize(grey, 7, 21, method), 3, axis=2)
    )


@pytest.mark.parametrize("method", ["pillow-nearest", "opencv-nearest"])
def test_nearest_repeats_pixels(method):
    assert np.array_equal(resize(picture(), 36, 30, method), picture().repeat(3, axis=0).repeat(3, axis=1))


@pytest.mark.parametrize("method", ["pillow-box", "opencv-area"])
def test_box_averages_whole_blocks(method):
    means = picture().reshape(6, 2, 5, 2, 3).mean((1, 3))
    assert np.abs(resize(picture(), 6, 5, method) - means).max() <= 1  # Pillow rounds after each of two passes


def test_opencv_bilinear_skips_the_antialiasing_that_pillow_has():
    """Down by 4, OpenCV averages the two middle samples a side; Pillow weighs all pixels by a triangle."""
    line = np.zeros((4, 4, 1), np.uint8)
    line[0] = 200  # the outer row, which OpenCV never looks at
    assert resize(line, 1, 1, "opencv-bilinear")[0, 0, 0] == 0
    assert resize(line, 1, 1, "pillow-bilinear")[0, 0, 0] > 20


def test_every_method_is_another_one():
    outputs = {resize(picture(60, 52), 17, 19, method).tobytes() for method in RESIZES}
    assert len(outputs) == len(RESIZES) == 15


def test_to_tensor_is_x_over_255_in_nchw():
    pixels = np.stack([picture(seed=0), picture(seed=1)])
    tensor = to_tensor(pixels)
    assert tensor.dtype == torch.float32 and tensor.shape == (2, 3, 12, 10)
    assert tensor[1, 2, 3, 4] == np.float32(pixels[1, 3, 4, 2]) / np.float32(255)


@pytest.mark.parametrize("size", [(61, 47), (47, 61), (40, 90), (33, 33)])
def test_framing_is_torchvisions_resize_and_centre_crop(size):
    transforms = pytest.importorskip("torchvision.transforms", reason="the extra `zoo` is not installed")
    reference = transforms.Compose([transforms.Resize(39), transforms.CenterCrop(32)])
    pixels = picture(*size)
    framing = Framing(channels=3, height=32, width=32, shorter=39)
    expected = np.asarray(reference(Image.fromarray(pixels)))
    assert np.array_equal(framed(pixels, framing, "pillow-bilinear"), expected)


def test_framing_without_a_crop_stretches():
    framing = Framing(channels=3, height=8, width=9)
    assert np.array_equal(framed(picture(), framing, "opencv-cubic"), resize(picture(), 8, 9, "opencv-cubic"))


def of_size(content, width, height):
    """The PNG or JPEG file with another size in its header."""
    if content.startswith(b"\x89PNG"):
        header = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
        return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("encode", [encode_png, jpeg])
def test_one_bound_for_all_decoders(decoder, encode):
    content = of_size(encode(picture()), 13_000, 13_000)
    with pytest.raises(UnreadableError, match=r"it has 13000x13000 pixels.*at most 67,108,864 pixels"):
        decode(content, decoder, channels=3)


def test_scans_of_a_jpeg_are_counted():
    buffer = io.BytesIO()
    Image.fromarray(picture(1000, 1000)).save(buffer, "JPEG", progressive=True)
    whole = buffer.getvalue()
    assert decode(whole, "pillow", channels=3).shape == (1000, 1000, 3)
    first = whole.index(b"\xff\xda")
    scan = whole[first : whole.index(b"\xff\xda", first + 2)]
    with pytest.raises(UnreadableError, match="it has 1000x1000 pixels in 1[0-9]{3} scans"):
        decode(whole[:first] + scan[:12] * 1100 + whole[first:], "pillow", channels=3)
