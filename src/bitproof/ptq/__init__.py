"""Post-training quantization: the best quantized model from a float model and a few unlabelled images."""

from bitproof.ptq.bias import AddBiases, correct_bias
from bitproof.ptq.equalization import equalize
from bitproof.ptq.folding import FoldBatchNorm, fold_batch_norm
from bitproof.ptq.mixed import COSTS, Mixed, MixedSearch
from bitproof.ptq.pipeline import PostTraining
from bitproof.ptq.reconstruction import Reconstruction
from bitproof.ptq.reestimation import reestimate_batch_norm

__all__ = [
    "COSTS",
    "AddBiases",
    "FoldBatchNorm",
    "Mixed",
    "MixedSearch",
    "PostTraining",
    "Reconstruction",
    "correct_bias",
    "equalize",
    "fold_batch_norm",
    "reestimate_batch_norm",
]
