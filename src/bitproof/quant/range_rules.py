"""The tables of range rules. Adding one: a file with its two forms, and a line in each."""

from bitproof.errors import InputError, lookup
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


DEFAULT_PERCENTILE = 99.9


def check_ranges(*, weight_range: str = "minmax", act_range: str = "minmax", percentile: float) -> None:
    """Check what a method sets of its range rules.

    Raises:
        InputError: an unknown rule, a percentile out of range, or one that no rule looks at.
    """
    lookup(WEIGHT_RANGES, weight_range, "weight_range")
    lookup(ACT_RANGES, act_range, "act_range")
    if not 50 < percentile <= 100:
        raise InputError(
            f"percentile is {percentile}",
            rule="it says how many percent of the values the grid spans",
            remedy="Use a number above 50 and up to 100, such as 99.9",
        )
    if percentile != DEFAULT_PERCENTILE and "percentile" not in (weight_range, act_range):
        raise InputError(
            f"percentile is {percentile}, and no range is 'percentile'",
            rule="it is what range rules of that name keep",
            remedy="Leave it out, or use such a range too",
        )
