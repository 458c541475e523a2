"""Quantizers, and the conversion of a model to a quantized copy."""

from bitproof.quant.affine import Affine
from bitproof.quant.attached import (
    after_step,
    compute_layers,
    limited_weights,
    penalty,
    quantizer_parameters,
    unquantized,
)
from bitproof.quant.binaryconnect import BinaryConnect
from bitproof.quant.binarynet import BinaryNet
from bitproof.quant.bounded import ReLU1, ReLU6, Tanh
from bitproof.quant.calibration import UnderNoise
from bitproof.quant.convert import freeze, prepare, quantize
from bitproof.quant.coverage import coverage, reasons
from bitproof.quant.dorefa import DoReFa
from bitproof.quant.layer import LayerScheme
from bitproof.quant.lsq import LSQ
from bitproof.quant.lsq_plus import LSQPlus
from bitproof.quant.method import Method
from bitproof.quant.methods import METHODS
from bitproof.quant.ocs import split_outliers
from bitproof.quant.pact import PACT
from bitproof.quant.pwlq import PWLQ
from bitproof.quant.scheme import LayerRule, Scheme, as_scheme, as_schemes
from bitproof.quant.ternary import TTQ, TWN
from bitproof.quant.xnor import XNOR

__all__ = [
    "LSQ",
    "METHODS",
    "PACT",
    "PWLQ",
    "TTQ",
    "TWN",
    "XNOR",
    "Affine",
    "BinaryConnect",
    "BinaryNet",
    "DoReFa",
    "LSQPlus",
    "LayerRule",
    "LayerScheme",
    "Method",
    "ReLU1",
    "ReLU6",
    "Scheme",
    "Tanh",
    "UnderNoise",
    "after_step",
    "as_scheme",
    "as_schemes",
    "compute_layers",
    "coverage",
    "freeze",
    "limited_weights",
    "penalty",
    "prepare",
    "quantize",
    "quantizer_parameters",
    "reasons",
    "split_outliers",
    "unquantized",
]
