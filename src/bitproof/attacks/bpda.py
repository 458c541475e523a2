"""Backward pass differentiable approximation: attacks through the parts of a model whose gradient is of no use.

Forward the model is itself, bit for bit. Backward, a part that rounds or casts is taken for a smooth one.

Source: Athalye, Carlini & Wagner 2018 (arXiv 1802.00420), Section 4.1; the straight-through estimator (Bengio et al.
2013, arXiv 1308.3432) is its special case with the identity.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bitproof.attacks.base import Attack, Classes, Images, same_as
from bitproof.core.calling import Model, module_of
from bitproof.core.rng import Rng
from bitproof.core.ste import straight_through
from bitproof.errors import InputError, lookup

STAND_INS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,
    "hardtanh": lambda x: x.clamp(-1, 1),
    "tanh": torch.tanh,
    "softsign": nn.functional.softsign,
    "relu": torch.relu,
}
"""What a part may be taken for, by name. Softsign is tanh's slow sister: its slope falls as 1 / x^2, not as e^-2x."""

ROUNDINGS = {
    function
    for name in ("round", "floor", "ceil", "trunc", "fix", "sign")
    for function in (getattr(torch, name), getattr(Tensor, name))
}
"""Steps that any part may take in its own code."""


@dataclass(frozen=True, kw_only=True)
class BPDA(Attack):
    """Attacks a model as if its steps were smooth.

    Gradients pass `torch.round`, `floor`, `ceil`, `trunc` and `sign` unchanged wherever the model calls them (not in
    their in-place forms), and the named parts as the gradient of `stand_in`. bitproof's own quantizers pass gradients
    as they are: name them to attack through clipping or a saturated tanh.

    Attributes:
        attack: follows the gradients.
        parts: modules by name ("layer1.0.quant"), by the end of it ("quant") or by class ("TanhActivations"), with
            * for any text. Their outputs have the shape of their input.
        stand_in: what the parts are taken for, a name in `STAND_INS`.

    Example:
        >>> from bitproof.attacks import PGD
        >>> BPDA(attack=PGD(), parts=("TanhActivations",)).label
        'pgd-20 linf 8/255 bpda'
    """

    attack: Attack
    parts: tuple[str, ...] = ()
    stand_in: str = "identity"

    norm = same_as("attack.norm")
    eps = same_as("attack.eps")
    takes_targets = same_as("attack.takes_targets")

    def __post_init__(self) -> None:
        lookup(STAND_INS, self.stand_in, "stand-in")
        if isinstance(self.parts, str):
            raise InputError(
                f"parts is {self.parts!r}", rule="it is a tuple of names", remedy=f"Write parts=({self.parts!r},)"
            )
        if self.attack.asks_only:
            raise InputError(
                f"{type(self.attack).__name__} only asks for answers",
                rule="BPDA replaces gradients, and answers stay what they are",
                remedy="Use it as it is, or wrap an attack that follows gradients",
            )

    @property
    def averaged(self) -> int:
        return self.attack.averaged

    @property
    def label(self) -> str:
        return f"{self.attack.label} bpda"

    @property
    def passes(self) -> int:
        return self.attack.passes

    def __call__(
        self, model: Model, inputs: Images, labels: Classes, *, targets: Classes | None = None, rng: Rng
    ) -> Images:
        """As `Attack.__call__`.

        Raises:
            InputError: also for parts that the model does not have or whose outputs have another shape than their
                input, and for a callable without modules.
        """
        with _stood_in(self._found(model), STAND_INS[self.stand_in]):
            return self.attack(_Smooth(model), inputs, labels, targets=targets, rng=rng)

    def _found(self, model: Model) -> dict[str, nn.Module]:
        """The named parts of the model, by their full names."""
        module = module_of(model)
        if module is None:
            if not self.parts:
                return {}
            raise InputError(
                f"the parts {', '.join(self.parts)} of a {type(model).__name__}",
                rule="only the parts of a torch module have names",
                remedy="Give the module, with EOT inside BPDA: BPDA(attack=EOT(attack=PGD()))",
            )
        named = {name: part for name, part in module.named_modules() if name}
        found: dict[str, nn.Module] = {}
        for pattern in self.parts:
            here = {name: part for name, part in named.items() if _matches(pattern, name, part)}
            if not here:
                kinds = sorted({type(part).__name__ for part in named.values()})
                raise InputError(
                    f"no part of the model is called {pattern!r}",
                    rule=f"its parts are of the classes {', '.join(kinds)}",
                    remedy="Use one of these, or a name in model.named_modules()",
                )
            found |= here
        return found


def _matches(pattern: str, name: str, part: nn.Module) -> bool:
    return any(fnmatchcase(text, pattern) for text in (name, type(part).__name__)) or fnmatchcase(name, f"*.{pattern}")


def _look(value: Any) -> str:
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


@contextlib.contextmanager
def _stood_in(parts: dict[str, nn.Module], stand_in: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """While it lasts, gradients pass the parts as they pass `stand_in`."""

    def hook(name: str) -> Callable[..., Tensor | None]:
        def replace(part: nn.Module, args: tuple[Any, ...], named: dict[str, Any], output: Any) -> Tensor | None:
            x, *more = arguments = (*args, *named.values())
            if more or (x.shape, x.dtype) != (output.shape, output.dtype):
                raise InputError(
                    f"part {name!r} makes {_look(output)} of {', '.join(map(_look, arguments))}",
                    rule="a part that BPDA replaces takes one tensor and keeps its shape and type",
                    remedy="Name a part within it, or a larger one",
                )
            return straight_through(stand_in(x), output) if x.requires_grad else None

        return replace

    with contextlib.ExitStack() as stack:
        for name, part in parts.items():
            stack.callback(part.register_forward_hook(hook(name), with_kwargs=True).remove)
        yield


@dataclass
class _Smooth:
    """The model, whose rounding passes gradients unchanged."""

    model: Model

    def __call__(self, images: Tensor) -> Tensor:
        with _Unrounded():
            return self.model(images)


class _Unrounded(TorchFunctionMode):
    """Rounds as ever; the gradient passes."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        smooth = func in ROUNDINGS and output.requires_grad
        return straight_through(args[0], output) if smooth else output
