"""Models on real integers."""

from bitproof.deploy.agreement import Agreement, agreement
from bitproof.deploy.comparison import Comparison, compare
from bitproof.deploy.export import export_onnx
from bitproof.deploy.integer import IntegerForm, integer_form
from bitproof.deploy.kinship import Kinship, check_twin, kinship
from bitproof.deploy.litert import LiteRtModel, load_litert
from bitproof.deploy.openvino import OpenVinoModel, load_openvino
from bitproof.deploy.runtime import OnnxModel, load_onnx
from bitproof.deploy.sizes import Sizes, sizes
from bitproof.deploy.sources import is_deployed, load_deployed
from bitproof.deploy.twin import Twin, differentiable

__all__ = [
    "Agreement",
    "Comparison",
    "IntegerForm",
    "Kinship",
    "LiteRtModel",
    "OnnxModel",
    "OpenVinoModel",
    "Sizes",
    "Twin",
    "agreement",
    "check_twin",
    "compare",
    "differentiable",
    "export_onnx",
    "integer_form",
    "is_deployed",
    "kinship",
    "load_deployed",
    "load_litert",
    "load_onnx",
    "load_openvino",
    "sizes",
]
