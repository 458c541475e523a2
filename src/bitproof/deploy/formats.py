"""How a file takes images and gives logits, read from the file itself: layout, kind of numbers, scale, softmax."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from bitproof.core.ste import round_ste
from bitproof.errors import InputError

CODES = {"uint8": (0, 255), "int8": (-128, 127)}
"""The codes of integer inputs."""

_CLOSE = 0.02
"""Part of a range by which its ends may miss those of pixels: calibration sees few images with both extremes."""

_PASSING = ("Identity", "QuantizeLinear", "DequantizeLinear", "Cast", "Reshape", "Flatten", "Squeeze")
"""What may stand behind a softmax that is the last thing a file does."""


@dataclass(frozen=True, kw_only=True)
class ImageFormat:
    """How images in [0, 1] become what a file takes: code = round((gain * pixel + shift) / scale) + zero point.

    Attributes:
        channels_last: whether it takes [n, h, w, c].
        kind: of its numbers: "float32", "uint8" or "int8". Floats are taken as they are.
        gain, shift: from pixels in [0, 1] to the values that the codes stand for.
        scale, zero_point: of the codes.
        of_pixels: whether the codes are those of pixels, so that images which somebody normalised do not fit.
    """

    channels_last: bool = False
    kind: str = "float32"
    gain: float = 1.0
    shift: float = 0.0
    scale: float = 1.0
    zero_point: int = 0
    of_pixels: bool = False

    @staticmethod
    def of(kind: str, scale: float | None, zero_point: int, *, channels_last: bool) -> "ImageFormat":
        """The format of an input of codes, of which the file says what they stand for, or (scale None) does not.

        Codes that span [0, 1], [0, 255] or [-1, 1] are those of pixels; without a word they are pixels in 256 levels.
        Any other span is that of normalised images, which somebody else has to make.
        """
        low, high = CODES.get(kind, (0, 0))
        if kind not in CODES:
            return ImageFormat(channels_last=channels_last)
        if scale is None:
            return ImageFormat(channels_last=channels_last, kind=kind, scale=1 / 255, zero_point=low, of_pixels=True)
        ends = ((low - zero_point) * scale, (high - zero_point) * scale)
        gain, shift = next((g, s) for g, s in ((1, 0), (255, 0), (2, -1), (0, 0)) if not g or _spans(ends, (s, s + g)))
        return ImageFormat(
            channels_last=channels_last,
            kind=kind,
            gain=gain or 1.0,
            shift=shift,
            scale=scale,
            zero_point=zero_point,
            of_pixels=gain != 0,
        )

    def __call__(self, images: Float[Tensor, "n c h w"]) -> Tensor:
        """What the file takes, as floats: codes where it takes codes, with a straight-through gradient."""
        x = images
        if self.kind in CODES:
            x = round_ste((self.gain * x + self.shift) / self.scale) + self.zero_point
            x = x + (x.detach().clamp(*CODES[self.kind]) - x.detach())
        return x.permute(0, 2, 3, 1) if self.channels_last else x

    @property
    def dtype(self) -> torch.dtype:
        """Of what it takes."""
        return getattr(torch, self.kind)


def _spans(ends: tuple[float, float], wanted: tuple[float, float]) -> bool:
    slack = _CLOSE * (wanted[1] - wanted[0])
    return all(abs(one - other) <= slack for one, other in zip(ends, wanted, strict=True))


def filled(images: Float[Tensor, "n c h w"], size: int) -> Iterator[tuple[Float[Tensor, "size c h w"], int]]:
    """The images in batches of exactly `size`, the last one filled up with black ones, and how many of each count."""
    for part in images.split(size):
        missing = size - len(part)
        yield (torch.cat([part, part.new_zeros(missing, *part.shape[1:])]) if missing else part), len(part)


def is_channels_last(shape: tuple[int | None, ...]) -> bool:
    """Whether the three axes of an image look like h, w, c: few channels at the end, and not at the front."""
    front, back = shape[0], shape[-1]
    return back in (1, 3) and (front is None or front not in (1, 3))


def input_format(graph: Any, name: str, kind: str, shape: tuple[int | None, ...]) -> ImageFormat:
    """How an ONNX graph takes images through its input `name`."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    scale, zero_point = None, 0
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] == name and node.input[1] in constants:
            scale = float(_scalar(constants[node.input[1]]))
            if len(node.input) > 2 and node.input[2] in constants:
                zero_point = int(_scalar(constants[node.input[2]]))
    return ImageFormat.of(kind, scale, zero_point, channels_last=is_channels_last(shape))


def _scalar(tensor: Any) -> Any:
    from onnx import numpy_helper

    return numpy_helper.to_array(tensor).reshape(-1)[0]


def chosen_output(outputs: Any, *, floats: str = "tensor(float)", of: str = "ONNX") -> int:
    """The number of the output that holds the logits: called so, or the only float [n, k], or the first.

    Args:
        outputs: with `name`, `type` and `shape`.
        floats: the runtime's word for the type of float32.
        of: the runtime, for messages.

    Raises:
        InputError: none of them is float.
    """
    usable = [i for i, o in enumerate(outputs) if o.type == floats]
    named = [i for i in usable if outputs[i].name == "logits"]
    flat = [i for i in usable if len(outputs[i].shape) == 2]
    if not usable:
        raise InputError(
            f"the {of} model returns {', '.join(f'{o.type} {o.shape}' for o in outputs) or 'nothing'}",
            rule="a model under test maps images to float32 logits [n, k]",
            remedy="Export it with the logits as the first output",
        )
    return next(iter([*named, *(flat if len(flat) == 1 else []), *usable]))


def ends_in_softmax(graph: Any, output: str) -> bool:
    """Whether an output of an ONNX graph is what a softmax gives."""
    makers: Mapping[str, Any] = {name: node for node in graph.node for name in node.output}
    for _ in range(len(makers)):
        node = makers.get(output)
        if node is None or node.op_type not in _PASSING:
            return node is not None and node.op_type in ("Softmax", "QLinearSoftmax")
        output = node.input[0]
    return False
