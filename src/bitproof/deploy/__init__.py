"""Models on real integers."""

from bitproof.deploy.export import export_onnx
from bitproof.deploy.integer import IntegerForm, integer_form
from bitproof.deploy.runtime import Agreement, OnnxModel, agreement, load_onnx
from bitproof.deploy.sizes import Sizes, sizes

__all__ = [
    "Agreement",
    "IntegerForm",
    "OnnxModel",
    "Sizes",
    "agreement",
    "export_onnx",
    "integer_form",
    "load_onnx",
    "sizes",
]
