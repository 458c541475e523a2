"""FFmpeg's decoders against PyAV's own way, planes that are known, and the other libraries."""

import importlib.util
import io

import cv2
import numpy as np
import pytest
from PIL import Image

from bitproof.errors import InputError
from bitproof.pictures import ffmpeg
from bitproof.pictures.pixels import DECODERS, decode, encode_png
from bitproof.shifts import Pipeline

av = pytest.importorskip("av", reason="the extra `video` is not installed")

COUNT = 40


def saved(image, kind="JPEG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def blocks(seed=0):
    """YCbCr codes in blocks of 16x16, which JPEG at quality 100 keeps exactly, subsampled or not."""
    codes = np.random.default_rng(seed).integers(60, 190, (3, 4, 3), np.uint8)
    return codes.repeat(16, axis=0).repeat(16, axis=1)


def smooth():
    x, y = np.meshgrid(np.linspace(0, 1, 61), np.linspace(0, 1, 47))
    return np.rint(255 * np.stack([x, y, (x + y) / 2], axis=2)).astype(np.uint8)


@pytest.fixture(scope="module")
def photographs(shared):
    files = sorted((shared / "data" / "imagenet_sample" / "jpeg").glob("*.JPEG"))[:COUNT]
    return [file.read_bytes() for file in files]


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_known_planes_come_back(subsampling):
    picture = blocks()
    encoded = saved(Image.fromarray(picture, "YCbCr"), quality=100, subsampling=subsampling)
    frame = ffmpeg._frame(encoded)
    assert frame.format.name == ("yuvj444p", "yuvj422p", "yuvj420p")[subsampling]
    for index, plane in enumerate(map(ffmpeg._samples, frame.planes)):
        down, right = (picture.shape[axis] // plane.shape[axis] for axis in (0, 1))
        assert np.array_equal(plane, picture[::down, ::right, index])


def test_decoded_planes_follow_the_standards():
    """A block of known Y, Cb and Cr, decoded as each variant takes it."""
    y, cb, cr = 100, 110, 150
    encoded = saved(Image.fromarray(np.full((16, 16, 3), (y, cb, cr), np.uint8), "YCbCr"), quality=100)
    u, v = cb - 128, cr - 128
    expected = {
        "ffmpeg-planes": (y + 1.402 * v, y - 0.344136 * u - 0.714136 * v, y + 1.772 * u),
        "ffmpeg-bt709": (y + 1.5748 * v, y - 0.187324 * u - 0.468124 * v, y + 1.8556 * u),
        "ffmpeg-limited": (
            1.164383 * (y - 16) + 1.596027 * v,
            1.164383 * (y - 16) - 0.391762 * u - 0.812968 * v,
            1.164383 * (y - 16) + 2.017232 * u,
        ),
    }
    for decoder, colour in expected.items():
        assert np.abs(decode(encoded, decoder, channels=3) - np.array(colour)).max() <= 0.51


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_it_is_what_pyav_gives_a_user(kind):
    encoded = saved(Image.fromarray(smooth()), kind)
    with av.open(io.BytesIO(encoded)) as container:
        expected = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert np.array_equal(decode(encoded, "ffmpeg", channels=3), expected)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_it_shows_the_picture_that_pillow_shows(kind, mode):
    channels = len(mode)
    encoded = saved(Image.fromarray(smooth()).convert(mode), kind)
    found = decode(encoded, "ffmpeg", channels=channels).astype(int)
    delta = np.abs(found - decode(encoded, "pillow", channels=channels))
    assert delta.mean() < 2.5
    if kind in ("PNG", "BMP"):
        assert delta.max() <= (kind == "BMP" and mode == "L")  # its palette is turned grey by libswscale


def test_on_photographs_each_pair_of_decoders_is_as_documented(photographs):
    """Grey levels at the file's own size. Fancy chroma at full range by BT.601 is what libjpeg computes, too."""
    worst, mean = {}, {}
    for encoded in photographs:
        pictures = {name: decode(encoded, name, channels=3).astype(int) for name in DECODERS}
        for name, picture in pictures.items():
            if picture.shape == pictures["pillow"].shape:
                delta = np.abs(picture - pictures["pillow"])
                worst[name] = max(worst.get(name, 0), delta.max())
                mean[name] = mean.get(name, 0) + delta.mean() / COUNT
    assert worst["opencv"] == 0
    assert worst["ffmpeg-planes"] <= 4 and mean["ffmpeg-planes"] < 0.15
    assert 0 < mean["ffmpeg-planes"] < mean["ffmpeg-accurate"] < mean["ffmpeg"] < 0.6
    assert mean["ffmpeg-planes"] < mean["ffmpeg-nearest-chroma"] < 0.3
    assert 0.5 < mean["pillow-fast"] < 2 and 1 < mean["ffmpeg-bt709"] < 3 and 5 < mean["ffmpeg-limited"] < 10
    assert set(DECODERS) - set(mean) == {"pillow-half", "ffmpeg-half"}  # another size


def test_swscale_differs_only_where_chroma_is_subsampled(photographs):
    layouts = [ffmpeg._frame(encoded).format.name for encoded in photographs]
    deltas = {layout: [] for layout in layouts}
    for encoded, layout in zip(photographs, layouts, strict=True):
        own, theirs = (decode(encoded, name, channels=3).astype(int) for name in ("ffmpeg-planes", "ffmpeg-accurate"))
        deltas[layout].append(np.abs(own - theirs))
    assert max(delta.max() for delta in deltas["yuvj444p"]) <= 1  # rounding alone
    assert np.mean([delta.mean() for delta in deltas["yuvj420p"]]) > 0.1


def test_half_sized_decoding_is_libjpegs_for_pillow_and_opencv(photographs):
    for encoded in photographs[:8]:
        half = decode(encoded, "pillow-half", channels=3)
        opencv = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_REDUCED_COLOR_2)[:, :, ::-1]
        assert np.array_equal(half, opencv)
        full, found = (decode(encoded, name, channels=3) for name in ("ffmpeg", "ffmpeg-half"))
        assert found.shape == half.shape == (-(-full.shape[0] // 2), -(-full.shape[1] // 2), 3)
        assert 0 < np.abs(found.astype(int) - half).mean() < 5


def test_grey_is_luma(photographs):
    encoded = photographs[0]
    luma = ffmpeg._samples(ffmpeg._frame(encoded).planes[0])
    for name in ("ffmpeg", "ffmpeg-planes", "ffmpeg-bt709", "ffmpeg-nearest-chroma"):
        assert np.array_equal(decode(encoded, name, channels=1)[:, :, 0], luma)
    assert decode(encoded, "ffmpeg-limited", channels=1).std() > luma.std()


@pytest.mark.parametrize("decoder", [name for name in DECODERS if name not in ("pillow", "opencv", "ffmpeg")])
def test_variants_of_jpeg_decoding_leave_other_files_alone(decoder):
    encoded = encode_png(smooth())
    assert np.array_equal(decode(encoded, decoder, channels=3), smooth())


@pytest.mark.parametrize("decoder", [name for name in DECODERS if name.startswith("ffmpeg")])
def test_damaged_files_are_refused(decoder):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    encoded = saved(Image.fromarray(noise), quality=95)
    for damaged in (encoded[: len(encoded) // 2], b"#EXTM3U\nhttp://example.org/a.ts\n", b"RIFF", b""):
        with pytest.raises(InputError, match=f"cannot be decoded by {decoder}"):
            decode(damaged, decoder, channels=3)


def test_without_pyav_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for attempt in (lambda: decode(b"", "ffmpeg", channels=3), lambda: Pipeline(decoder="ffmpeg-bt709")):
        with pytest.raises(InputError, match=r"PyAV is not installed.*pip install 'bitproof\[video\]'"):
            attempt()
    Pipeline(decoder="opencv")
