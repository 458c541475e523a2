"""Pictures as a deployed pipeline handles them: encoded bytes -> uint8 pixels -> the model's input.

A picture is uint8 [height, width, channels], RGB or grey (one channel). Which library decodes and
which one resizes is part of the condition a model is tested under (systematic noise, Liu et al. 2021,
RobustART), so both are chosen by name from the tables here.
"""

import hashlib
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8, UInt64
from PIL import Image, ImageFile, UnidentifiedImageError
from torch import Tensor

from bitproof.errors import InputError, UnreadableError, lookup
from bitproof.pictures import ffmpeg
from bitproof.reading import refusing

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
"""What Pillow may read. Some of its other readers start programs (EPS starts Ghostscript)."""

REFERENCE_DECODER = "pillow"
REFERENCE_RESIZE = "pillow-bilinear"

MOST_SCANNED = 2**30
"""Pixels times scans of a progressive JPEG."""

LONGEST = 2**15
"""Pixels of a side above which nothing is resized: a file of one row of pixels would become gigabytes."""


@dataclass(frozen=True, kw_only=True)
class Framing:
    """How a picture of any size becomes what the model sees.

    Attributes:
        channels, height, width: the model's input.
        shorter: pixels to which the shorter side is resized before the centre crop. None resizes the
            whole picture to height x width, whatever its proportions.
        resize: how, a name in RESIZES.
    """

    channels: int
    height: int
    width: int
    shorter: int | None = None
    resize: str = REFERENCE_RESIZE

    def __post_init__(self) -> None:
        lookup(RESIZES, self.resize, "resize mode")


def framed(
    picture: UInt8[np.ndarray, "h w c"], framing: Framing, method: str, *, squash: bool = False
) -> UInt8[np.ndarray, "h2 w2 c"]:
    """The picture resized by `method` (a name in RESIZES) and cropped as `framing` says.

    Rounding follows torchvision's Resize (longer side rounded down) and CenterCrop. With `squash`, both sides become
    as long as the shorter one would, whatever the proportions.

    Raises:
        UnreadableError: a picture so narrow that its longer side would be resized to more than LONGEST pixels.
    """
    if framing.shorter is None:
        return resize(picture, framing.height, framing.width, method)
    height, width = (1, 1) if squash else picture.shape[:2]
    short = min(height, width)
    if framing.shorter * max(height, width) > LONGEST * short:
        raise UnreadableError(
            "a picture",
            f"is too narrow ({width}x{height} pixels)",
            rule=f"with its shorter side at {framing.shorter} pixels, the longer one may have {LONGEST:,}",
            remedy="Take it out of the data set",
        )
    picture = resize(picture, framing.shorter * height // short, framing.shorter * width // short, method)
    top = round((picture.shape[0] - framing.height) / 2)
    left = round((picture.shape[1] - framing.width) / 2)
    return picture[top : top + framing.height, left : left + framing.width]


def decode(
    encoded: bytes, decoder: str, *, channels: int, source: str = "the encoded picture"
) -> UInt8[np.ndarray, "h w c"]:
    """The pixels of an image file's bytes, as `decoder` (a name in DECODERS) reads them.

    Each library keeps its defaults: OpenCV turns a picture by its EXIF orientation, Pillow and FFmpeg do not.
    Pillow and OpenCV keep the upper 8 of 16 bits, drop transparency, and make RGB of CMYK within one level of each
    other.

    Args:
        encoded: a whole JPEG, PNG, WebP or BMP file.
        channels: 3 for RGB, 1 for grey; other pictures are converted.
        source: what an error calls the picture, for example its path.

    Raises:
        InputError: an unknown decoder, or one whose library is not installed.
        UnreadableError: bytes that are cut off, damaged or no image.
    """
    read = lookup(DECODERS, decoder, "decoder")
    if decoder.startswith("ffmpeg"):
        ffmpeg.need_av()
    with refusing(
        source,
        rule=f"it must be a complete {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file of at most {ffmpeg.MOST:,} pixels",
        remedy="Replace the file or take it out of the data set",
        how=f"cannot be decoded by {decoder}",
        picture=True,
    ):
        _check_size(encoded)
        picture = read(encoded, channels)
    return picture.reshape(*picture.shape[:2], channels)


def size_of(encoded: bytes, source: str = "the encoded picture") -> tuple[int, int]:
    """Height and width that the header of an image file says.

    Raises:
        UnreadableError: no image, or one of too many pixels.
    """
    with refusing(
        source,
        rule="it is an image file",
        remedy="Replace the file or take it out of the data set",
        how="cannot be opened",
        picture=True,
    ):
        _check_size(encoded)
        with _opened(encoded) as image:
            return image.height, image.width


def _check_size(encoded: bytes) -> None:
    """Raise a `ValueError` for a file whose header asks for too much, before any library sets memory aside.

    A file of 20 kB may hold 170 million white pixels, and one of 60 kB the same JPEG picture in 10,000 scans, each of
    which costs a pass over all of it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the bound is ours
        with _opened(encoded) as image:
            width, height = image.size
    scans = encoded.count(b"\xff\xda") if ffmpeg.is_jpeg(encoded) else 1
    if width * height > ffmpeg.MOST or width * height * scans > MOST_SCANNED:
        raise ValueError(f"it has {width}x{height} pixels" + (f" in {scans} scans" if scans > 1 else ""))


def resize(picture: UInt8[np.ndarray, "h w c"], height: int, width: int, method: str) -> UInt8[np.ndarray, "h2 w2 c"]:
    """The picture at height x width pixels, by `method` (a name in RESIZES)."""
    apply = lookup(RESIZES, method, "resize method")
    grey = picture.shape[2] == 1
    resized = apply(picture[:, :, 0] if grey else picture, height, width)  # Pillow knows no one-channel axis
    return resized.reshape(height, width, picture.shape[2])


def encode_png(picture: UInt8[np.ndarray, "h w c"]) -> bytes:
    """The picture, RGB or grey, as a lossless PNG file.

    Raises:
        InputError: another number of channels.
    """
    if picture.shape[2] not in (1, 3):
        raise InputError(
            f"a picture with {picture.shape[2]} channels as a file",
            rule="what decoders and resizes are tested with is grey or RGB",
            remedy="Leave out the conditions that start from files (decoders, resizes, colours)",
        )
    buffer = io.BytesIO()
    Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture).save(buffer, "PNG")
    return buffer.getvalue()


def to_tensor(pictures: UInt8[np.ndarray, "n h w c"]) -> Float[Tensor, "n c h w"]:
    """Pictures as a model takes them: float32 in [0, 1], x / 255."""
    planes = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))
    return torch.from_numpy(planes).float().div_(255)


def digests(images: Float[Tensor, "n ..."]) -> UInt64[np.ndarray, " n"]:
    """A 64-bit BLAKE2b hash of each entry's values: equal for equal pixels, and else only by a chance of 2^-64."""
    entries = (images.detach().cpu() + 0.0).contiguous().numpy()  # adding turns -0 into 0
    hashes = [hashlib.blake2b(entry, digest_size=8).digest() for entry in entries]
    return np.frombuffer(b"".join(hashes), "<u8").astype(np.uint64)


def ids(images: Float[Tensor, "n ..."]) -> Int64[np.ndarray, " n"]:
    """`digests` as numbers with a sign, which tensors hold and random draws are keyed by."""
    return digests(images.float()).view(np.int64)


def _opened(encoded: bytes) -> ImageFile.ImageFile:
    try:
        return Image.open(io.BytesIO(encoded), formats=FORMATS)
    except UnidentifiedImageError:  # whose words name an address in memory
        raise ValueError("no picture in it, or cut off") from None


def _decode_pillow(encoded: bytes, channels: int, *, halved: bool = False, fast: bool = False) -> np.ndarray:
    with _opened(encoded) as image:
        if halved and ffmpeg.is_jpeg(encoded):
            image.draft(None, (image.width // 2 or 1, image.height // 2 or 1))
        if fast and ffmpeg.is_jpeg(encoded):
            image.decoderconfig = (1, 1)  # libjpeg's scale, and whether it takes its short cuts
        if image.mode.startswith("I;16"):  # 16-bit grey, whose upper levels `convert` would make white
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        mode = "RGB" if channels == 3 else "L"
        return np.asarray(image if image.mode == mode else image.convert(mode))  # which would copy it all the same


def _decode_opencv(encoded: bytes, channels: int) -> np.ndarray:
    flag = cv2.IMREAD_COLOR_RGB if channels == 3 else cv2.IMREAD_GRAYSCALE
    picture = cv2.imdecode(np.frombuffer(encoded, np.uint8), flag) if encoded else None
    if picture is None:
        raise ValueError("no picture in it, or cut off")
    return picture


def _resize_pillow(picture: np.ndarray, height: int, width: int, *, resample: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((width, height), resample))


def _resize_opencv(picture: np.ndarray, height: int, width: int, *, interpolation: int) -> np.ndarray:
    return cv2.resize(picture, (width, height), interpolation=interpolation)


def _resize_torch(picture: np.ndarray, height: int, width: int, *, mode: str, antialias: bool) -> np.ndarray:
    planes = torch.from_numpy(np.atleast_3d(picture).transpose(2, 0, 1).copy())[None]
    resized = F.interpolate(planes, (height, width), mode=mode, align_corners=False, antialias=antialias)
    return resized[0].permute(1, 2, 0).numpy()


DECODERS: dict[str, Callable[[bytes, int], np.ndarray]] = {
    "pillow": _decode_pillow,
    "pillow-fast": partial(_decode_pillow, fast=True),
    "pillow-half": partial(_decode_pillow, halved=True),
    "opencv": _decode_opencv,
    "ffmpeg": ffmpeg.decode,
    "ffmpeg-accurate": partial(ffmpeg.decode, flags="BILINEAR|ACCURATE_RND|FULL_CHR_H_INT"),
    "ffmpeg-half": partial(ffmpeg.decode, halved=True),
    "ffmpeg-planes": ffmpeg.decode_planes,
    "ffmpeg-nearest-chroma": partial(ffmpeg.decode_planes, chroma="nearest"),
    "ffmpeg-bt709": partial(ffmpeg.decode_planes, matrix="bt709"),
    "ffmpeg-limited": partial(ffmpeg.decode_planes, levels="limited"),
}
"""A library with its defaults, or with one setting of JPEG decoding changed (other files are decoded as by default).

"fast" is libjpeg's fast inverse transform with plain chroma upsampling, "half" decodes at half the sides. From
"ffmpeg-planes" on, FFmpeg gives the planes and `yuv.to_rgb` the colours; the three after it each differ from it in one
thing: the way to enlarge chroma, the YUV matrix, and full-range codes taken for limited ones.
"""

RESIZES: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
    "pillow-nearest": partial(_resize_pillow, resample=Image.Resampling.NEAREST),
    "pillow-bilinear": partial(_resize_pillow, resample=Image.Resampling.BILINEAR),
    "pillow-box": partial(_resize_pillow, resample=Image.Resampling.BOX),
    "pillow-hamming": partial(_resize_pillow, resample=Image.Resampling.HAMMING),
    "pillow-cubic": partial(_resize_pillow, resample=Image.Resampling.BICUBIC),
    "pillow-lanczos": partial(_resize_pillow, resample=Image.Resampling.LANCZOS),
    "opencv-nearest": partial(_resize_opencv, interpolation=cv2.INTER_NEAREST),
    "opencv-bilinear": partial(_resize_opencv, interpolation=cv2.INTER_LINEAR),
    "opencv-area": partial(_resize_opencv, interpolation=cv2.INTER_AREA),
    "opencv-cubic": partial(_resize_opencv, interpolation=cv2.INTER_CUBIC),
    "opencv-lanczos4": partial(_resize_opencv, interpolation=cv2.INTER_LANCZOS4),
    "torch-bilinear": partial(_resize_torch, mode="bilinear", antialias=False),
    "torch-bilinear-antialias": partial(_resize_torch, mode="bilinear", antialias=True),
    "torch-cubic": partial(_resize_torch, mode="bicubic", antialias=False),
    "torch-cubic-antialias": partial(_resize_torch, mode="bicubic", antialias=True),
}
