"""Quantizers, and the conversion of a model to a quantized copy."""

from bitproof.quant.convert import compute_layers, freeze, prepare, quantize
from bitproof.quant.scheme import METHODS, Scheme

__all__ = ["METHODS", "Scheme", "compute_layers", "freeze", "prepare", "quantize"]
