"""Systematic noise: the same picture through another deployment pipeline (ImageNet-S; Xiao et al. 2023).

These shifts start from the encoded file, because what varies is how it becomes the model's input.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from bitproof.core.pixels import DECODERS, REFERENCE_DECODER, REFERENCE_RESIZE, RESIZES, Framing, decode, framed, resize
from bitproof.errors import InputError, lookup


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Which library decodes the file, and which one resizes it how.

    Attributes:
        decoder: "pillow" or "opencv".
        resize: library and interpolation, one of the eleven modes of Pillow and OpenCV, e.g. "opencv-area".
        enlarge: for data sets whose files have the model's input size already, so that a deployed resize
            would do nothing: the picture is first enlarged so many times (Pillow Lanczos), standing in
            for the camera's picture, and then brought to the input size by `resize`. 1 takes the file as it is.

    Raises:
        InputError: an unknown decoder or mode, or an `enlarge` below 1.

    Example:
        >>> Pipeline(resize="opencv-area").label
        'resize opencv-area'
    """

    decoder: str = REFERENCE_DECODER
    resize: str = REFERENCE_RESIZE
    enlarge: int = 1

    def __post_init__(self) -> None:
        lookup(DECODERS, self.decoder, "decoder")
        lookup(RESIZES, self.resize, "resize mode")
        if self.enlarge < 1:
            raise InputError(
                f"enlarge is {self.enlarge}", rule="it is how many times a picture is enlarged", remedy="Use 1 or more"
            )

    @property
    def name(self) -> str:
        """What varies: "resize", or "decoder" where that is not Pillow's."""
        return "resize" if self.decoder == REFERENCE_DECODER else "decoder"

    @property
    def label(self) -> str:
        """What varies and its value, e.g. "resize opencv-area" or "decoder opencv"."""
        if self.decoder == REFERENCE_DECODER:
            return f"resize {self.resize}"
        return f"decoder {self.decoder}" + (f" {self.resize}" if self.resize != REFERENCE_RESIZE else "")

    def __call__(self, encoded: bytes, *, framing: Framing) -> UInt8[np.ndarray, "h w c"]:
        """The model's input, uint8 [h, w, c], from an image file's bytes."""
        picture = decode(encoded, self.decoder, channels=framing.channels)
        if self.enlarge > 1:
            height, width = (self.enlarge * side for side in picture.shape[:2])
            picture = resize(picture, height, width, "pillow-lanczos")
        return framed(picture, framing, self.resize)
