"""Lipschitz estimates: how much each layer, and the whole, can amplify a change of its input under l2.

A layer is a linear map; its norm is found by power iteration on it and its transpose, at the size that it really
works on. That is not the norm of the weight reshaped to a matrix, which the regularisers of Cisse et al. 2017
(arXiv 1704.08847) and Lin et al. 2019 (arXiv 1904.08444) look at: a convolution's may be larger by up to the side of
its kernel. A BatchNorm behind the layer scales its outputs, and is folded into it.

The bound of the whole multiplies norms along each path and adds paths that meet, as in x + F(x). Beside it stands what
is seen: the norm of the gradient of the margin at images, which is below sqrt(2) times the bound.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.analysis.base import Case, Explanation, each
from bitproof.analysis.forms import without_steps
from bitproof.analysis.watching import layer_inputs
from bitproof.attacks.goal import input_gradient
from bitproof.core import losses
from bitproof.core.copying import copied
from bitproof.core.flow import IMAGE, Flow, record_flow
from bitproof.core.passes import Counted
from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.models.convex import ConvexSum, PlainSum
from bitproof.models.normalize import Normalize
from bitproof.ptq.folding import BATCH_NORMS, fold_batch_norm
from bitproof.quant.attached import compute_layers
from bitproof.records import LayerNorm, Lipschitz, ModelRecord

_HARMLESS = frozenset(
    [
        "relu",
        "relu_",
        "relu6",
        "hardtanh",
        "hardtanh_",
        "tanh",
        "tanh_",
        "sigmoid",
        "leaky_relu",
        "dropout",
        "mean",
        "avg_pool2d",
        "adaptive_avg_pool2d",
        "add",
        "add_",
        "__add__",
        "__iadd__",
        "__radd__",
        "cat",
        "pad",
        "constant_pad_nd",
        "__getitem__",
        "flatten",
        "view",
        "reshape",
        "permute",
        "transpose",
        "contiguous",
        "to",
        "float",
        "clone",
        "detach",
        "unsqueeze",
        "squeeze",
        "size",
        "dim",
        "numel",
        "__get__",
        "conv1d",
        "conv2d",
        "linear",
        "batch_norm",
    ]
)
"""Functions that amplify nothing, those that move or add numbers, and those of the layers whose norms are known."""


@dataclass(frozen=True, kw_only=True)
class LipschitzEstimate(Explanation):
    """Norms of the layers, a bound of the whole, and how fast the margin changes at images.

    Attributes:
        iterations: of each power iteration.
    """

    record: ClassVar = Lipschitz

    iterations: int = 100

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise InputError(
                f"iterations is {self.iterations}", rule="a power iteration takes at least one", remedy="Use 100"
            )

    def groups(self, models: Sequence[ModelRecord]) -> list[tuple[ModelRecord, ...]]:
        return each(models)

    def passes(self, models: Sequence[ModelRecord]) -> int:
        return 2

    def look(self, case: Case) -> dict[str, Any]:
        (model,) = case.models

        def slopes(inputs: Tensor, labels: Tensor, rng: Rng) -> dict[str, Tensor]:
            x = inputs.clone().requires_grad_()
            gradient = input_gradient(losses.margin(model(x), labels).sum(), x)
            return {"slopes": gradient.double().flatten(1).norm(dim=1)}

        found = case.over(slopes)["slopes"]
        first = next(case.data.inputs(1)).to(case.device)
        skeleton = without_steps(case.subjects[0].model)
        layers, bound, unknown = layer_norms(skeleton, first, iterations=self.iterations, rng=case.rng)
        return {
            "layers": layers,
            "bound": bound,
            "unknown": unknown,
            "local": float(found.mean()),
            "largest": float(found.max()),
            "count": len(found),
        }


def layer_norms(
    model: nn.Module, image: Float[Tensor, "1 c h w"], *, iterations: int, rng: Rng
) -> tuple[tuple[LayerNorm, ...], float | None, tuple[str, ...]]:
    """The norms of all layers, the bound of the whole where there is one, and what stands in its way.

    Args:
        model: frozen, without steps.
        image: to see what flows where, and at which size.
        iterations: of each power iteration.
        rng: of its starts; whose examples it is of does not matter.

    Raises:
        InputError: no layer with weights is called.
    """
    folded = fold_batch_norm(model, image)
    alone, behind = dict(compute_layers(model)), dict(compute_layers(folded))
    given = layer_inputs(Counted(folded), image)
    found, factors = [], dict[str, float]()
    for name in (name for name in given if name in alone):
        shape, keyed = tuple(given[name].shape), rng.fold("start", name)
        operator = operator_norm(alone[name], shape, iterations=iterations, rng=keyed)
        factors[name] = operator_norm(behind[name], shape, iterations=iterations, rng=keyed)
        matrix = float(torch.linalg.matrix_norm(alone[name].weight.detach().double().flatten(1), 2))
        found.append(LayerNorm(name=name, matrix=matrix, operator=operator, folded=factors[name]))
    if not found:
        raise InputError(
            "no layer with a weight is called",
            rule="norms are those of Conv1d, Conv2d and Linear layers",
            remedy="Pass the network itself",
        )
    for name, part in folded.named_modules():
        if type(part) in BATCH_NORMS and part.running_var is not None:
            factors[name] = _gain(part)
        elif isinstance(part, Normalize):
            factors[name] = float(1 / part.std.min())
    flow = record_flow(_marked(folded), image, list(factors))
    functions = {use.function for uses in flow.uses.values() for use in uses}
    unknown = [*sorted(functions - _HARMLESS), *(f"{n} called again" for n, calls in flow.calls.items() if calls[1:])]
    return tuple(found), None if unknown else _bound(flow, factors), tuple(unknown)


def operator_norm(layer: nn.Module, shape: tuple[int, ...], *, iterations: int, rng: Rng) -> float:
    """The largest singular value of a layer without its bias, for one input of this shape.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> _ = layer.weight.data.copy_(torch.tensor([[3.0, 0.0], [0.0, -4.0]]))
        >>> round(operator_norm(layer, (1, 2), iterations=50, rng=Rng(0, np.arange(1))), 6)
        4.0
    """
    linear: Any = copied(layer).double()
    linear.bias = None
    x = Rng(rng.seed, np.zeros(1, np.int64), rng.path).normal(shape)[0].to(linear.weight)
    size = x.new_zeros(())
    for _ in range(iterations):
        x = (x / x.norm()).requires_grad_()
        y = linear(x)
        (x,) = torch.autograd.grad(y, x, y.detach())
        size = x.norm()
        if not size:
            return 0.0
    return float(size.sqrt())


def _gain(norm: Any) -> float:
    """The largest factor of a BatchNorm that is folded into no layer."""
    gains = (norm.running_var + norm.eps).rsqrt() * (1 if norm.weight is None else norm.weight.abs())
    return float(gains.max())


def _marked(model: nn.Module) -> nn.Module:
    """A copy in which what is known to amplify a certain amount runs no function of its own."""
    marked = copied(model)
    for name, part in list(marked.named_modules()):
        if isinstance(part, Normalize):
            marked.set_submodule(name, nn.Identity())
        elif isinstance(part, ConvexSum):  # whose coefficients are between 0 and 1
            marked.set_submodule(name, PlainSum())
        elif isinstance(part, nn.MaxPool2d) and not _overlaps(part):
            marked.set_submodule(name, nn.AvgPool2d(part.kernel_size, part.stride, part.padding, part.ceil_mode))
    return marked


def _overlaps(pool: nn.MaxPool2d) -> bool:
    """Whether a pixel may be the largest of several windows, which would count it as often."""
    kernel, stride = (size if isinstance(size, tuple) else (size, size) for size in (pool.kernel_size, pool.stride))
    return any(k > s for k, s in zip(kernel, stride, strict=True)) or pool.dilation not in (1, (1, 1))


def _bound(flow: Flow, factors: dict[str, float]) -> float:
    """Products along paths, summed where they meet. `reads` are in the order of execution.

    What a layer answers counts once, if it takes two ways to the next layer: networks add what layers have changed.
    """
    after = {IMAGE: 1.0}
    for name in flow.calls:
        after[name] = factors[name] * sum(after[source] for source in flow.reads[name])
    return sum(after[source] for source in flow.ends)
