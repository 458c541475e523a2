"""Analyses: `(model or models, data) -> record`."""

from collections.abc import Callable

from bitproof.analysis.agreement import MemberAgreement
from bitproof.analysis.alignment import GradientAlignment
from bitproof.analysis.amplification import ErrorAmplification
from bitproof.analysis.base import Explanation
from bitproof.analysis.clusters import ActivationClusters
from bitproof.analysis.curvature import LossCurvature
from bitproof.analysis.layers import WhichLayer
from bitproof.analysis.lipschitz import LipschitzEstimate
from bitproof.analysis.masking import diagnose_masking
from bitproof.analysis.sharpness import AlongError, sharpness_along
from bitproof.analysis.shift import QuantizationShift
from bitproof.analysis.slices import InputSlice
from bitproof.settings import name_family

EXPLANATIONS: dict[str, Callable[..., Explanation]] = {
    "layers": WhichLayer,
    "alignment": GradientAlignment,
    "agreement": MemberAgreement,
    "amplification": ErrorAmplification,
    "shift": QuantizationShift,
    "lipschitz": LipschitzEstimate,
    "curvature": LossCurvature,
    "sharpness": AlongError,
    "slice": InputSlice,
    "clusters": ActivationClusters,
}
"""By the names of their records."""

name_family(Explanation, "explanation", EXPLANATIONS)

__all__ = [
    "EXPLANATIONS",
    "ActivationClusters",
    "AlongError",
    "ErrorAmplification",
    "Explanation",
    "GradientAlignment",
    "InputSlice",
    "LipschitzEstimate",
    "LossCurvature",
    "MemberAgreement",
    "QuantizationShift",
    "WhichLayer",
    "diagnose_masking",
    "sharpness_along",
]
