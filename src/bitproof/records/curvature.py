"""The curvature of the loss over the weights: trace and largest eigenvalue of its Hessian. Needs no torch."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bitproof.records.explained import Explained

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class LayerTrace:
    """The part of the trace that belongs to the parameters of one module.

    Attributes:
        name: of the module.
        parameters: how many.
        trace: sum of the second derivatives of the loss by them.
        error: standard error over the random vectors.
    """

    name: str
    parameters: int
    trace: float
    error: float


@dataclass(frozen=True, kw_only=True)
class Curvature(Explained):
    """Trace and largest eigenvalue of the Hessian of the mean cross-entropy by all parameters, BatchNorm's included.

    Of a quantized model it is that of the float loss at the quantized weights, activations not rounded.

    Attributes:
        loss: there, in nats.
        trace: of the Hessian.
        trace_error: its standard error over the random vectors.
        trace_image_error: its standard error over the images.
        top: the eigenvalue of largest size.
        top_error: its standard error over the images.
        steps: of the power iteration.
        converged: whether its last step changed the eigenvalue by less than a thousandth.
        layers: the trace, module by module.
        count: images.
    """

    KIND: ClassVar[str] = "curvature"

    loss: float
    trace: float
    trace_error: float
    trace_image_error: float
    top: float
    top_error: float
    steps: int
    converged: bool
    layers: tuple[LayerTrace, ...]
    count: int

    @property
    def title(self) -> str:
        return f"{self.model.name}: Hessian of the loss by the weights"

    @property
    def findings(self) -> list[str]:
        steep = max(self.layers, key=lambda layer: layer.trace / layer.parameters)
        return [
            f"The trace is {self.trace:.4g} (standard error {_words(self.trace_error)} over vectors, "
            f"{_words(self.trace_image_error)} over images), the largest eigenvalue {self.top:.4g} "
            f"({_words(self.top_error)} over images{'' if self.converged else '; not converged'}), n = {self.count:,}.",
            f"Steepest for each parameter is {steep.name} ({steep.trace / steep.parameters:.3g}).",
        ]

    def table(self) -> "pd.DataFrame":
        import pandas as pd

        rows = [
            {
                "layer": layer.name,
                "parameters": layer.parameters,
                "trace": layer.trace,
                "standard error": layer.error,
                "for each parameter": layer.trace / layer.parameters,
            }
            for layer in self.layers
        ]
        return pd.DataFrame(rows)


def _words(error: float) -> str:
    return f"{error:.2g}" if math.isfinite(error) else "unknown"
