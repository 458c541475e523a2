"""ONNX files of the digits as other people's exporters write them, and as ONNX Runtime quantizes them."""

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper

CLASSES = 10


def convolutional(
    *, batch="n", layout="nchw", kind="float32", softmax=False, extra=False, weights=None, opset=18
) -> bytes:
    """Conv, ReLU, MaxPool, residual sum, Conv, GlobalAveragePool, Gemm, with what a file may have around it."""
    rng = np.random.default_rng(0)
    tensors = {
        "w1": rng.normal(size=(8, 1, 3, 3)) / 3,
        "b1": rng.normal(size=8) / 9,
        "w2": rng.normal(size=(8, 8, 3, 3)) / 8,
        "b2": rng.normal(size=8) / 9,
        "w3": 2 * rng.normal(size=(CLASSES, 8)),
        "b3": rng.normal(size=CLASSES) / 9,
    } | (weights or {})
    constants = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in tensors.items()]
    nodes, x = [], "images"
    if kind == "uint8":
        nodes += [helper.make_node("Cast", [x], ["float"], to=1), helper.make_node("Mul", ["float", "level"], ["unit"])]
        constants.append(numpy_helper.from_array(np.float32(1 / 255), "level"))
        x = "unit"
    if layout == "nhwc":
        nodes.append(helper.make_node("Transpose", [x], ["nchw"], perm=[0, 3, 1, 2]))
        x = "nchw"
    nodes += [
        helper.make_node("Conv", [x, "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p1", "w2", "b2"], ["c2"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c2", "p1"], ["s2"]),
        helper.make_node("Relu", ["s2"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["g"]),
        helper.make_node("Flatten", ["g"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w3", "b3"], ["logits" if not softmax else "raw"], transB=1),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["raw"], ["probabilities"], axis=-1))
    result = "probabilities" if softmax else "logits"
    size = [batch, 20, 20, 1] if layout == "nhwc" else [batch, 1, 20, 20]
    outputs = [helper.make_tensor_value_info(result, TensorProto.FLOAT, [batch, CLASSES])]
    if extra:
        outputs.insert(0, helper.make_tensor_value_info("r2", TensorProto.FLOAT, [batch, 8, 10, 10]))
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("images", getattr(TensorProto, kind.upper().replace("FLOAT32", "FLOAT")), size)],
        outputs,
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return model.SerializeToString()


def quantized(content: bytes, images: torch.Tensor, folder, **options) -> bytes:
    """The file, quantized by `onnxruntime.quantization.quantize_static` on these images."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.batches = iter([{"images": images.numpy()}])

        def get_next(self):
            return next(self.batches, None)

    before, after = folder / "before.onnx", folder / "after.onnx"
    before.write_bytes(content)
    quantize_static(str(before), str(after), Reader(), **options)
    return after.read_bytes()
