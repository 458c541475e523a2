"""OpenVINO's intermediate representation (IR), read without running it: is it safe to open, how does it take images,
and which grids does it hold?

OpenVINO's reader multiplies the sizes of a constant in 64 bits, and believes what wraps around to the bytes that it
has; a document may also nest networks in networks. So a description is looked through before it is handed over.
"""

import math
import re
from typing import Any
from xml.parsers import expat

import numpy as np
import torch

from bitproof.deploy.bits import FileScheme, fewest
from bitproof.deploy.codes import Stored
from bitproof.deploy.formats import CODES, ImageFormat, is_channels_last
from bitproof.deploy.needs import LARGEST_FILE
from bitproof.reading import refusing

LARGEST_XML = 2**26
"""Bytes of a description; those of large language models have some 10 million."""

KINDS = {"f32": "float32", "u8": "uint8", "i8": "int8"}
"""The inputs that a file may have."""

_DEEPEST = 64
"""Elements inside elements; a network takes 6, and each branch or loop in it some 3 more."""

_LAYERS = ("Convolution", "GroupConvolution", "MatMul")
"""Operators with a weight, which is their second input."""

_MOVING = ("Convert", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "MaxPool", "Multiply", "Subtract")
"""What may stand between a grid of activations and the layer that reads it."""

_PASSING = ("Convert", "Reshape", "Squeeze", "FakeQuantize", "Multiply", "Subtract")
"""What may stand behind a softmax that is the last thing a file does."""

_INTEGERS = {"i8": 8, "u8": 8, "i4": 4, "u4": 4, "i16": 16, "u16": 16, "u2": 2}
"""Bits of codes, by OpenVINO's names of kinds."""


def check_xml(content: bytes) -> None:
    """Refuse a description that is no IR, or that could harm its reader.

    Raises:
        InputError: damaged XML, a document type (and so entities), another root than `net`, elements nested too deep,
            or sizes of more than 2 GB.
    """
    parser = expat.ParserCreate()
    depth = 0

    def opens(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth == 1 and tag != "net":
            raise ValueError(f"its root is {tag[:40]!r}")
        if depth > _DEEPEST:
            raise ValueError(f"more than {_DEEPEST} elements inside one another")
        sizes = [int(size) for size in re.findall(r"\d+", attributes.get("shape", ""))]
        if math.prod(size for size in sizes if size) > 4 * LARGEST_FILE:
            raise ValueError(f"a tensor of shape {attributes['shape'][:40]!r}")

    def closes(_: str) -> None:
        nonlocal depth
        depth -= 1

    def document_type(*_: Any) -> None:
        raise ValueError("it has a document type")

    parser.StartElementHandler, parser.EndElementHandler = opens, closes
    parser.StartDoctypeDeclHandler = document_type
    with refusing(
        "the OpenVINO file",
        rule="it must be one complete description of a network, without entities",
        remedy="Convert the model again",
        how="cannot be read",
    ):
        parser.Parse(content, True)


def image_format(source: Any, kind: str, sizes: tuple[int | None, ...]) -> ImageFormat:
    """How a network takes images.

    Args:
        source: the output of its `Parameter`.
        kind: of its numbers, as in `ImageFormat`.
        sizes: of the axes behind the batch; None = any.
    """
    scale, zero_point = _grid(source) if kind in CODES else (None, 0)
    layout = str(source.get_node().get_layout()).strip("[]").split(",")
    last = layout.index("C") == 3 if len(layout) == 4 and "C" in layout else is_channels_last(sizes)
    return ImageFormat.of(kind, scale, zero_point, channels_last=last)


def _grid(source: Any) -> tuple[float | None, int]:
    """Scale and zero point of codes, where they are dequantized: less an integer, times a number. What has a mean of
    its own taken off, or a number a channel, is pixels."""
    zero_point, node = 0, source
    while len(readers := node.get_target_inputs()) == 1:
        reader = next(iter(readers)).get_node()
        kind = reader.get_type_name()
        if kind in ("Subtract", "Multiply"):
            number, is_code = _number(reader.input_value(1))
            if number is None or (kind == "Subtract" and not is_code):
                return None, 0
            if kind == "Multiply":
                return number, zero_point
            zero_point = int(number)
        elif kind not in ("Convert", "Transpose"):
            break
        node = reader.output(0)
    return None, 0


def _number(output: Any) -> tuple[float | None, bool]:
    """A constant of one element, and whether it is stored as an integer; None for anything else."""
    node = output.get_node()
    while node.get_type_name() in ("Convert", "Reshape"):
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Constant" or math.prod(node.get_output_shape(0)) != 1:
        return None, False
    return float(np.array(node.get_data()).reshape(-1)[0]), kind_of(node.output(0)) in _INTEGERS


def ends_in_softmax(output: Any) -> bool:
    """Whether an output of a model is what a softmax gives."""
    node = output.get_node()
    while node.get_type_name() in ("Result", *_PASSING):
        node = node.input_value(0).get_node()
    return node.get_type_name() == "Softmax"


def kind_of(output: Any) -> str:
    """The kind of its numbers, in OpenVINO's words: "f32"."""
    return output.get_element_type().get_type_name()


def ir_scheme(model: Any) -> FileScheme | None:
    """The bits of an OpenVINO model; None where all is float."""
    bits = _bits(model)
    return fewest([(bits[_giver(node, 1)], bits[_giver(node, 0)]) for node in _layers(model)])


def ir_codes(openvino: Any, model: Any) -> list[Stored]:
    """The weights of an OpenVINO model that lie on grids, in the order of its operators, with torch's order of axes."""
    bits, wanted = _bits(model), []
    for node in _layers(model):
        step = _step(openvino.opset13, node.input_value(1)) if bits[_giver(node, 1)] < 32 else None
        if step is not None:
            wanted += [node.input_value(1), step]
    if not wanted:
        return []
    floats = openvino.Model([openvino.opset13.convert(output, "f32") for output in wanted], [])
    exact = {"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY"}
    found = openvino.Core().compile_model(floats, "CPU", exact)({})
    values = [torch.from_numpy(np.array(found[number])) for number in range(len(wanted))]
    stored = []
    for level, step in zip(values[::2], values[1::2], strict=True):
        level, step = (x.flatten(0, 1) if x.dim() == 5 else x for x in (level, step))  # groups of channels
        if step.numel() == len(level) and step.dim() != level.dim():
            step = step.view(-1, *[1] * (level.dim() - 1))
        stored.append(Stored(level=level, step=step.squeeze() if step.numel() == 1 else step))
    return stored


def _giver(node: Any, number: int) -> str:
    return node.input_value(number).get_node().get_name()


def _layers(model: Any) -> list[Any]:
    """The operators with a weight, in the order in which they compute."""
    constant, found = set(), []
    for node in model.get_ordered_ops():
        given = [_giver(node, number) for number in range(node.get_input_size())]
        if node.get_type_name() == "Constant" or (given and constant.issuperset(given)):
            constant.add(node.get_name())
        elif node.get_type_name() in _LAYERS and given[1] in constant:
            found.append(node)
    return found


def _bits(model: Any) -> dict[str, int]:
    """The bits of the grid that each operator's result lies on, by its name; of parts that are joined, the most."""
    bits: dict[str, int] = {}
    for node in model.get_ordered_ops():
        kind, found = node.get_type_name(), 32
        if kind == "Constant":
            found = _INTEGERS.get(kind_of(node.output(0)), 32)
        elif kind == "FakeQuantize":
            found = min(math.ceil(math.log2(node.get_levels())), 32)
        elif kind in _MOVING:
            found = bits[_giver(node, 0)]
        elif kind == "Concat":
            found = max(bits[_giver(node, number)] for number in range(node.get_input_size()))
        bits[node.get_name()] = found
    return bits


def _step(opset: Any, weight: Any) -> Any:
    """The output that holds the scale of a weight on a grid, or None where its form is another one."""
    node = weight.get_node()
    while node.get_type_name() in ("Convert", "Reshape"):
        node = node.input_value(0).get_node()
    if node.get_type_name() == "Multiply":
        return node.input_value(1)
    if node.get_type_name() == "FakeQuantize":
        width = opset.subtract(node.input_value(4), node.input_value(3))
        return opset.divide(width, np.float32(node.get_levels() - 1)).output(0)
    return None
