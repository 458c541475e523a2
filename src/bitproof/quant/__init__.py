"""Quantizers, and the conversion of a model to a quantized copy."""

from bitproof.quant.convert import compute_layers, freeze, prepare, quantize, quantizer_parameters
from bitproof.quant.methods import METHODS, Method
from bitproof.quant.ocs import split_outliers
from bitproof.quant.scheme import Scheme

__all__ = [
    "METHODS",
    "Method",
    "Scheme",
    "compute_layers",
    "freeze",
    "prepare",
    "quantize",
    "quantizer_parameters",
    "split_outliers",
]
