"""The table of range rules. Adding one: a file with its two forms, and a line here."""

from bitproof.quant.aciq import gauss_stream, gauss_tensor, laplace_stream, laplace_tensor
from bitproof.quant.omse import omse_stream, omse_tensor
from bitproof.quant.ranges import (
    StreamRule,
    TensorRule,
    minmax_stream,
    minmax_tensor,
    percentile_stream,
    percentile_tensor,
)

RANGES: dict[str, tuple[TensorRule, StreamRule]] = {
    "minmax": (minmax_tensor, minmax_stream),
    "percentile": (percentile_tensor, percentile_stream),
    "aciq-gauss": (gauss_tensor, gauss_stream),
    "aciq-laplace": (laplace_tensor, laplace_stream),
    "omse": (omse_tensor, omse_stream),
}
"""For each rule its form for weights (rows = channels) and for the stream of activations."""
