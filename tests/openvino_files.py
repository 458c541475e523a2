"""OpenVINO models of the digits, by OpenVINO's own Python API."""

import numpy as np

from bitproof.deploy.openvino import runtime

WEIGHT = np.random.default_rng(0).integers(-127, 128, (10, 400)).astype(np.int8)
SCALE = np.float32(0.002)


def files(model, folder, name="q"):
    """The .xml of a saved model."""
    path = folder / f"{name}.xml"
    runtime().save_model(model, str(path), compress_to_fp16=False)
    return path


def converted(content: bytes, folder, name="q"):
    """The .xml of an ONNX file's content."""
    return files(runtime().Core().read_model(content, b""), folder, name)


def linear(*, weight=WEIGHT, shape=(-1, 1, 20, 20), kind="f32", layout=None, grid=None, quantized=True, softmax=False):
    """Grid of images, Reshape and MatMul: codes times codes where it is quantized, else floats of the same values.

    Args:
        weight: codes int8 [10, 400].
        shape: of its images, -1 = any.
        kind: of their numbers.
        layout: OpenVINO's word for it, written into the file.
        grid: (scale, zero point) by which codes of images are dequantized.
    """
    ov = runtime()
    op = ov.opset13
    images = op.parameter(list(shape), getattr(ov.Type, kind), name="images")
    if layout:
        images.set_layout(ov.Layout(layout))
    x = images if kind == "f32" else op.convert(images, "f32")
    if grid is not None:
        zero = op.convert(op.constant(np.array(grid[1], np.dtype({"u8": "uint8", "i8": "int8"}[kind]))), "f32")
        x = op.multiply(op.subtract(x, zero), op.constant(np.float32(grid[0])))
    if quantized:
        x = op.fake_quantize(x, *(np.float32(end) for end in (0, 1, 0, 1)), 256)
        w = op.multiply(op.convert(op.constant(weight), "f32"), op.constant(SCALE))
    else:
        w = op.constant(weight.astype(np.float32) * SCALE)
    logits = op.matmul(op.reshape(x, op.constant([0, -1]), True), w, False, True)
    return ov.Model([op.softmax(logits, 1) if softmax else logits], [images], "digits")
