"""What becomes a part of the integer operator before it: the folding of batch norm, and clipping."""

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from bitproof.deploy.integer_layer import LINEAR
from bitproof.quant.codes import Codes
from bitproof.quant.grid import AffineQuantizer

aten = torch.ops.aten
SUM = aten.add.Tensor
MEANS = (aten.mean.dim, aten.adaptive_avg_pool2d.default, aten.avg_pool2d.default)
NORM = aten._native_batch_norm_legit_no_training.default
CLIPS: dict[Any, tuple[float | None, float | None]] = {
    aten.relu.default: (0.0, None),
    aten.relu6.default: (0.0, 6.0),
    aten.hardtanh.default: (-1.0, 1.0),
    aten.clamp.default: (None, None),
}
"""What clips, with the bounds where a call leaves them out."""


@dataclass(frozen=True, kw_only=True)
class Tail:
    """What follows a layer, a sum or a mean and becomes part of it: batch norm (of layers), and clipping.

    Attributes:
        norm: the batch norm, if any.
        normalized: the node with its result, or the node itself that the tail follows.
        clipped: the last of the clipping nodes behind it, or `normalized`.
        low, high: the interval that they leave.
    """

    norm: Any
    normalized: Any
    clipped: Any
    low: float
    high: float

    @staticmethod
    def of(node: fx.Node) -> "Tail":
        norm, channels_last = None, node.target is LINEAR and node.meta["val"].dim() > 2
        follower = _only_user(node)
        if follower is not None and follower.target is NORM and node.target not in (SUM, *MEANS) and not channels_last:
            norm, node = follower, next(iter(follower.users))
        normalized, low, high = node, -math.inf, math.inf
        while (follower := _only_user(node)) is not None and (bounds := _bounds(follower)) is not None:
            node, low, high = follower, *(min(max(v, bounds[0]), bounds[1]) for v in (low, high))
        return Tail(norm=norm, normalized=normalized, clipped=node, low=low, high=high)

    def narrowed(self, grid: AffineQuantizer) -> AffineQuantizer:
        """The grid without the codes that the clipping leaves unused: rounding and clipping may change places."""

        def code(value: float) -> int:
            return int((value / grid.scale + grid.zero_point).round().clamp(grid.codes.qmin, grid.codes.qmax))

        narrowed = copy.deepcopy(grid)
        narrowed.codes = Codes(qmin=code(self.low), qmax=code(self.high))
        return narrowed


def _only_user(node: Any) -> Any:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _bounds(node: Any) -> tuple[float, float] | None:
    """The interval to which a node clips its input; None for any other node."""
    if node.target not in CLIPS:
        return None
    low, high = (*node.args[1:], *CLIPS[node.target][len(node.args) - 1 :])
    if isinstance(low, fx.Node) or isinstance(high, fx.Node):
        return None
    return (-math.inf if low is None else low), (math.inf if high is None else high)
