"""From the Y, Cb and Cr planes of a picture to RGB: the step of JPEG decoding in which deployments differ most.

ITU-R BT.601 and BT.709 say how luma is weighted; JFIF (ISO/IEC 10918-5) says that JPEG uses BT.601 at full range, with
the samples of smaller chroma planes in the middle of the pixels that share them.
"""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from bitproof.errors import lookup

MATRICES = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}
"""Weights of red and blue in luma."""

RANGES = {"full": (0, 255, 255), "limited": (16, 219, 224)}
"""Luma's black, and the codes from black to white and from the least to the most of a colour difference."""

CHROMA = {"bilinear": cv2.INTER_LINEAR, "nearest": cv2.INTER_NEAREST}
"""How smaller chroma planes are enlarged: weighted 3:1 along each halved axis ("fancy" in libjpeg), or repeated."""

Plane = UInt8[np.ndarray, "h w"]


def to_rgb(
    luma: Plane,
    cb: UInt8[np.ndarray, "h2 w2"],
    cr: UInt8[np.ndarray, "h2 w2"],
    *,
    matrix: str = "bt601",
    levels: str = "full",
    chroma: str = "bilinear",
) -> UInt8[np.ndarray, "h w 3"]:
    """RGB from planes, in float32, rounded once at the end.

    Args:
        luma: of the picture's size.
        cb, cr: the colour differences, of that size or 2 or 4 times smaller, rounded up.
        matrix: one of MATRICES.
        levels: one of RANGES, what the codes are taken for.
        chroma: one of CHROMA.

    Raises:
        InputError: an unknown matrix, range or way to enlarge chroma.

    Example:
        >>> grey = np.full((2, 2), 128, np.uint8)
        >>> to_rgb(np.full((2, 2), 235, np.uint8), grey, grey, levels="limited")[0, 0].tolist()
        [255, 255, 255]
    """
    red, blue = lookup(MATRICES, matrix, "YUV matrix")
    black, luma_codes, chroma_codes = lookup(RANGES, levels, "YUV range")
    interpolation = lookup(CHROMA, chroma, "way to enlarge chroma")
    height, width = luma.shape
    y = (luma.astype(np.float32) - black) / luma_codes
    u, v = (_enlarged(plane, height, width, interpolation) for plane in (cb, cr))
    r = y + 2 * (1 - red) / chroma_codes * v
    b = y + 2 * (1 - blue) / chroma_codes * u
    g = (y - red * r - blue * b) / (1 - red - blue)
    return np.rint(255 * np.stack([r, g, b], axis=2).clip(0, 1)).astype(np.uint8)


def through_nv12(picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """What is left of RGB after a camera or video stage that hands on NV12: limited range, a quarter of the chroma.

    OpenCV converts, by BT.601, there and back; a picture of odd sides is continued by a row or column meanwhile.
    """
    height, width = picture.shape[:2]
    even = cv2.copyMakeBorder(picture, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    planes = cv2.cvtColor(even, cv2.COLOR_RGB2YUV_I420)  # NV12 with the chroma planes one after the other
    return np.ascontiguousarray(cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420)[:height, :width])


def _enlarged(
    plane: UInt8[np.ndarray, "h2 w2"], height: int, width: int, interpolation: int
) -> Float[np.ndarray, "h w"]:
    """The plane's signed values at the size of luma."""
    down, right = (
        next(factor for factor in (1, 2, 4) if part * factor >= full)
        for full, part in zip((height, width), plane.shape, strict=True)
    )
    size = (plane.shape[1] * right, plane.shape[0] * down)
    return cv2.resize(plane.astype(np.float32) - 128, size, interpolation=interpolation)[:height, :width]
