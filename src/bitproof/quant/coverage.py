"""How much of a model is quantized: its weights, and where there are images to run it on, its multiply-accumulates."""

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from bitproof.core.calling import answer, plain_context
from bitproof.quant.convert import quantized_layers, quantized_parts
from bitproof.quant.roles import roles_of
from bitproof.records import Coverage, Part
from bitproof.subjects.reach import parts


def coverage(model: nn.Module, images: Tensor | None = None) -> Coverage | None:
    """What of each part of a frozen model is quantized; None for a model without weights, such as a session.

    Args:
        model: what `freeze` returned, whatever it is wrapped in.
        images: a few; multiply-accumulates are counted while they pass. None = not counted.
    """
    bits = {name: (here.weight_bits, here.act_bits) for name, _, here in quantized_layers(model, hidden=True)}
    products = _products(model, images) if images is not None else Counter[str]()
    silent = [
        f"{name}.{part}".lstrip(".")
        for name, module in parts(model)
        for part in getattr(module, "gradients_only", ())  # of a twin, which answers with something else
    ]
    weights: Counter[str] = Counter()
    seen: set[int] = set()
    for name, module in parts(model):
        if any(f"{name}.".startswith(f"{part}.") for part in silent):
            continue
        own = [p for p in module.parameters(recurse=False) if p.dim() > 1 and id(p) not in seen]
        seen |= {id(p) for p in own}
        layer = name.partition(".parametrizations.")[0]  # that of a model which no copy holds is not frozen
        weights[layer] += sum(p.numel() for p in own)
    found = []
    for name in (name for name in weights if weights[name] or products[name]):
        weight_bits, act_bits = bits.get(name, (32, 32))
        found.append(
            Part(name=name, weights=weights[name], products=products[name], weight_bits=weight_bits, act_bits=act_bits)
        )
    return Coverage(parts=tuple(found)) if found else None


@plain_context()  # in which operators come here as the simple ones that they consist of
@torch.no_grad()
def _products(model: nn.Module, images: Tensor) -> Counter[str]:
    """Multiply-accumulates an image, by the name of the module in whose own code they happen."""
    watched = copy.deepcopy(model)
    counting = _Counting()
    hooks = []
    try:
        for name, module in list(parts(watched)):
            hooks.append(module.register_forward_pre_hook(partial(counting.enter, name)))
            hooks.append(module.register_forward_hook(counting.leave, always_call=True))
        with _plain_operators(), counting:
            answer(watched, images)
    finally:
        for hook in hooks:
            hook.remove()  # what a function works with is not copied
    return Counter({name: count // len(images) for name, count in counting.found.items()})


def _recurrent(x: Tensor, of_input: Tensor, of_state: Tensor, *args: Any, out_val: Any, **kwargs: Any) -> int:
    """Operations of a recurrent layer, a multiplication and an addition a weight and position."""
    return 2 * (x.numel() // x.shape[-1]) * (of_input.numel() + of_state.numel())


_COUNTS: dict[Any, Callable[..., int]] = {**flop_registry, torch.ops.aten.mkldnn_rnn_layer: _recurrent}


class _Counting(TorchDispatchMode):
    """Counts products, and knows in which module it is."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or torch imports its compiler for two seconds, to keep it away from here

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()
        self._inside = [""]

    def enter(self, name: str, module: nn.Module, args: Any) -> None:
        self._inside.append(name)

    def leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self._inside.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if (count := _COUNTS.get(func._overloadpacket)) is not None:
            self.found[self._inside[-1]] += count(*args, **kwargs, out_val=result) // 2
        return result


@contextmanager
def _plain_operators() -> Iterator[None]:
    """Attention as the products that it consists of, not as one operator."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def reasons(model: nn.Module, found: Coverage) -> dict[str, str]:
    """Why each part of a frozen model that computes in float does so, by its name."""
    layers = {name: here for name, _, here in quantized_layers(model, hidden=True)}
    uncalled = {
        ".".join(filter(None, (prefix, name)))
        for prefix, part, _ in quantized_parts(model, hidden=True)
        for name in roles_of(part).uncalled
    }
    said, inside = dict[str, str](), dict(parts(model))
    for part in found.parts:
        if part.name in uncalled:
            said[part.name] = "never called as a layer: something else takes its weights, or nothing does"
        elif part.name in layers and (part.weight_bits == 32 or part.act_bits == 32):
            said[part.name] = f"the scheme leaves its {_left(part)} float"
        elif part.weight_bits == 32 and part.weights:
            kind = type(inside[part.name]).__name__
            said[part.name] = f"weights of a {kind}, which is no Conv1d, Conv2d or Linear"
        elif part.weight_bits == 32:
            said[part.name] = "products of computed tensors, as in attention, or by functions instead of layers"
    return said


def _left(part: Part) -> str:
    kinds = {"weights": part.weight_bits, "inputs": part.act_bits}
    return " and ".join(kind for kind, bits in kinds.items() if bits == 32)
