"""The tables of range rules. Adding one: a file with its two forms, and a line in each."""

from bitproof.quant.aciq import gauss_stream, gauss_tensor, laplace_stream, laplace_tensor
from bitproof.quant.omse import omse_stream, omse_tensor
from bitproof.quant.ranges import (
    StreamRule,
    TensorRule,
    minmax_stream,
    minmax_tensor,
    moving_average_stream,
    percentile_stream,
    percentile_tensor,
)

WEIGHT_RANGES: dict[str, TensorRule] = {
    "minmax": minmax_tensor,
    "percentile": percentile_tensor,
    "aciq-gauss": gauss_tensor,
    "aciq-laplace": laplace_tensor,
    "omse": omse_tensor,
}
"""For weights: from rows that share a grid to their ranges."""

ACT_RANGES: dict[str, StreamRule] = {
    "minmax": minmax_stream,
    "moving-average": moving_average_stream,
    "percentile": percentile_stream,
    "aciq-gauss": gauss_stream,
    "aciq-laplace": laplace_stream,
    "omse": omse_stream,
}
"""For activations: from the stream of all calibration images to its range."""
