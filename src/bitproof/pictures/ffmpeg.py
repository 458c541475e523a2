"""FFmpeg's picture decoders through PyAV (extra `video`).

`decode` gives what `frame.to_ndarray(format="rgb24")` gives in PyAV: libswscale turns the decoder's planes into RGB, by
the matrix and range that the decoder names (for JPEG BT.601 and full), with its bilinear flag alone. That rounds
coarsely and repeats chroma along rows. libswscale has code of its own for each processor family, so pixels may differ
between them.
"""

import importlib.util
from typing import Any

import numpy as np

from bitproof.errors import InputError
from bitproof.pictures import yuv

CODECS = {b"\xff\xd8": "mjpeg", b"\x89PNG": "png", b"RIFF": "webp", b"BM": "bmp"}
"""FFmpeg's decoder by the first bytes of the file. No container is probed, so no bytes can name a playlist."""


MOST = 2**26
"""Pixels of a picture, whatever decodes it: those of large cameras fit, and take a gigabyte at 16 bits a channel."""


def need_av() -> None:
    """Raise an `InputError` if PyAV is not installed."""
    if importlib.util.find_spec("av") is None:
        raise InputError(
            "PyAV is not installed",
            rule="FFmpeg's decoders need the extra `video`",
            remedy="Run pip install 'bitproof[video]'",
        )


def decode(encoded: bytes, channels: int, *, flags: str = "BILINEAR", halved: bool = False) -> np.ndarray:
    """The picture as RGB or grey, uint8.

    Args:
        encoded: a JPEG, PNG, WebP or BMP file.
        channels: 3 for RGB, 1 for grey.
        flags: of libswscale, joined by |.
        halved: FFmpeg's JPEG decoder gives half the sides; other files keep theirs.
    """
    frame, layout = _frame(encoded, halved), "rgb24" if channels == 3 else "gray"
    from av.video.reformatter import Interpolation, VideoReformatter

    chosen = Interpolation(0)
    for flag in flags.split("|"):
        chosen |= Interpolation[flag]
    return VideoReformatter().reformat(frame, format=layout, interpolation=chosen, threads=1).to_ndarray()


def decode_planes(
    encoded: bytes, channels: int, *, matrix: str = "bt601", levels: str = "full", chroma: str = "bilinear"
) -> np.ndarray:
    """The planes of FFmpeg's JPEG decoder, turned into RGB by `yuv.to_rgb`; grey is luma. Other files as `decode`."""
    if not is_jpeg(encoded):
        return decode(encoded, channels)
    frame = _frame(encoded)
    if not frame.format.name.startswith(("yuvj", "gray")):
        return decode(encoded, channels)
    luma, *differences = (_samples(plane) for plane in frame.planes)
    if channels == 3:
        cb, cr = differences or [np.full_like(luma, 128)] * 2
        return yuv.to_rgb(luma, cb, cr, matrix=matrix, levels=levels, chroma=chroma)
    neutral = np.full_like(luma, 128)
    return yuv.to_rgb(luma, neutral, neutral, levels=levels)[:, :, 0]


def is_jpeg(encoded: bytes) -> bool:
    """Whether the file starts as JPEG files do."""
    return encoded.startswith(b"\xff\xd8")


def _frame(encoded: bytes, halved: bool = False) -> Any:
    need_av()
    import av

    codec = next((name for start, name in CODECS.items() if encoded.startswith(start)), None)
    if codec is None:
        raise ValueError("no picture in it, or cut off")
    context: Any = av.CodecContext.create(codec, "r")
    context.thread_count = 1
    lowres = int(halved and codec == "mjpeg")
    context.options = {"err_detect": "explode", "lowres": str(lowres), "max_pixels": str(MOST)}
    frames = context.decode(av.Packet(encoded)) + context.decode(None)
    return frames[0]


def _samples(plane: Any) -> np.ndarray:
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
