"""Systematic noise: the same picture through another deployment pipeline (ImageNet-S; Xiao et al. 2023).

These shifts start from the encoded file, because what varies is how it becomes the model's input.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from bitproof.core.rng import Rng
from bitproof.data.examples import Examples
from bitproof.errors import InputError, lookup
from bitproof.pictures import ffmpeg
from bitproof.pictures.pixels import (
    DECODERS,
    REFERENCE_DECODER,
    REFERENCE_RESIZE,
    RESIZES,
    Framing,
    decode,
    framed,
    resize,
)
from bitproof.pictures.yuv import through_nv12
from bitproof.records import ConditionRecord
from bitproof.settings import describe
from bitproof.shifts.base import Made, Shift, made_one_by_one

PROTOCOLS = ("shorter-side", "squash")
"""What is resized to what: the shorter side to the data set's length, or both sides to it, as the public ImageNet-S
code does. Data sets whose pictures are not cropped are resized whole either way."""


def _nv12(picture: np.ndarray) -> np.ndarray:
    return through_nv12(picture) if picture.shape[2] == 3 else through_nv12(picture.repeat(3, axis=2))[:, :, :1]


COLOURS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "rgb": lambda picture: picture,
    "bgr": lambda picture: picture[:, :, ::-1],
    "nv12": _nv12,
}
"""What lies between decoder and resize: nothing, the channels in the wrong order, or a stage that hands on NV12."""

AXES = ("decoder", "resize", "protocol", "colour")


@dataclass(frozen=True, kw_only=True)
class Pipeline(Shift):
    """Which library decodes the file, and which one resizes it how.

    Attributes:
        decoder: library, and where it is not by its defaults, what differs; a name in `DECODERS`, e.g. "ffmpeg".
        resize: library and interpolation, a name in `RESIZES`, e.g. "opencv-area". Data that are framed by another
            mode than the reference keep theirs where something else is varied.
        enlarge: for data sets whose files have the model's input size already, so that a deployed resize
            would do nothing: the picture is first enlarged so many times (Pillow Lanczos), standing in
            for the camera's picture, and then brought to the input size by `resize`. 1 takes the file as it is.
        protocol: what is resized to what, one of `PROTOCOLS`.
        colour: what happens to the colours after decoding, a name in `COLOURS`. "bgr" is a canary: a model whose
            accuracy it hardly changes does not look at colours.
        axis: which of the fields above the condition stands for; None: the first that is off the reference. It
            changes no pixel, but the reference is a point of every axis, and Xiao et al. count it once on each.

    Raises:
        InputError: an unknown decoder, mode, protocol, colour or axis, a decoder that is not installed, or an
            `enlarge` below 1.

    Example:
        >>> Pipeline(resize="opencv-area").label
        'resize opencv-area'
    """

    decoder: str = REFERENCE_DECODER
    resize: str = REFERENCE_RESIZE
    enlarge: int = 1
    protocol: str = PROTOCOLS[0]
    colour: str = "rgb"
    axis: str | None = None

    def __post_init__(self) -> None:
        lookup(DECODERS, self.decoder, "decoder")
        lookup(RESIZES, self.resize, "resize mode")
        lookup(dict.fromkeys(PROTOCOLS), self.protocol, "protocol")
        lookup(COLOURS, self.colour, "colour")
        if self.axis is not None:
            lookup(dict.fromkeys(AXES), self.axis, "axis")
        if self.decoder.startswith("ffmpeg"):
            ffmpeg.need_av()
        if self.enlarge < 1:
            raise InputError(
                f"enlarge is {self.enlarge}", rule="it is how many times a picture is enlarged", remedy="Use 1 or more"
            )

    @property
    def _off(self) -> list[str]:
        reference = (REFERENCE_DECODER, REFERENCE_RESIZE, PROTOCOLS[0], "rgb")
        return [axis for axis, usual in zip(AXES, reference, strict=True) if getattr(self, axis) != usual]

    @property
    def name(self) -> str:
        """The axis: "decoder", "resize", "protocol" or "colour"."""
        return self.axis or next(iter(self._off), "resize")

    @property
    def label(self) -> str:
        """What varies and its value, e.g. "resize opencv-area" or "decoder opencv"."""
        return f"{self.name} {self._variant}"

    @property
    def _variant(self) -> str:
        return " ".join(getattr(self, axis) for axis in dict.fromkeys((self.name, *self._off)))

    def record(self) -> ConditionRecord:
        return ConditionRecord(
            kind="systematic",
            label=self.label,
            group=self.name,
            variant=self._variant,
            setting=describe(self, sources=True),
        )

    def make(self, examples: Examples, *, rng: Rng) -> Made:
        return made_one_by_one(examples, lambda i: self(examples.encoded(i), framing=examples.framing))

    def __call__(self, encoded: bytes, *, framing: Framing) -> UInt8[np.ndarray, "h w c"]:
        """The model's input, uint8 [h, w, c], from an image file's bytes."""
        picture = COLOURS[self.colour](decode(encoded, self.decoder, channels=framing.channels))
        if self.enlarge > 1:
            height, width = (self.enlarge * side for side in picture.shape[:2])
            picture = resize(picture, height, width, "pillow-lanczos")
        theirs = self.resize == REFERENCE_RESIZE and self.name != "resize"  # then it is not what is varied
        return framed(picture, framing, framing.resize if theirs else self.resize, squash=self.protocol == "squash")
