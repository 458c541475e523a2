"""Which tensors flow where, found by running the model: nothing has to be traceable, and every branch is real.

Each tensor that a torch function returns gets a number, a new one also when it was changed in place. Recorded are
the functions that use it, and what the named modules receive and return.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bitproof.core.calling import device_of, forward
from bitproof.core.copying import copied


@dataclass(frozen=True, kw_only=True)
class Use:
    """One torch function that took a tensor, and the number of the (first) tensor it returned."""

    function: str
    output: int


@dataclass(frozen=True, kw_only=True)
class Flow:
    """What happened in one run.

    Attributes:
        uses: for each tensor's number, the functions that took it.
        calls: for each named module, in order of execution, the numbers of its input and output, a pair a call.
    """

    uses: dict[int, list[Use]] = field(default_factory=lambda: defaultdict(list))
    calls: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))

    def only_call(self, name: str) -> tuple[int, int] | None:
        """Input and output of a module that was called exactly once, else None."""
        calls = self.calls.get(name, [])
        return calls[0] if len(calls) == 1 else None

    def only_use(self, tensor: int) -> Use | None:
        """The function that alone uses the tensor; None where there are several or none."""
        uses = self.uses.get(tensor, [])
        return uses[0] if len(uses) == 1 else None


@torch.no_grad()
def record_flow(model: nn.Module, images: Tensor, names: list[str]) -> Flow:
    """Run a copy of the model on a few images and record what the named modules receive and return."""
    watched = copied(model).eval()
    recorder = _Recorder()

    def note(name: str, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor):
            recorder.flow.calls[name].append((entered[module], recorder.number(output)))

    def enter(module: nn.Module, args: tuple[Any, ...]) -> None:
        entered[module] = recorder.number(args[0]) if args and isinstance(args[0], Tensor) else -1

    entered: dict[nn.Module, int] = {}
    for name in names:
        module = watched.get_submodule(name)
        module.register_forward_pre_hook(enter)
        module.register_forward_hook(partial(note, name))
    with recorder:
        forward(watched, images.to(device_of(model)), type(model).__name__)
    return recorder.flow


class _Recorder(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.flow = Flow()
        self._numbers: dict[int, int] = {}
        self._alive: list[Tensor] = []  # or a new tensor might get the identity of one that is gone

    def number(self, tensor: Tensor) -> int:
        return self._numbers[id(tensor)] if id(tensor) in self._numbers else self._new(tensor)

    def _new(self, tensor: Tensor) -> int:
        self._alive.append(tensor)
        self._numbers[id(tensor)] = len(self._alive)
        return len(self._alive)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        outputs = list(_tensors(result))
        if outputs:
            taken = {self.number(tensor) for tensor in _tensors((args, kwargs))}
            first, *_ = [self._new(tensor) for tensor in outputs]
            for tensor in taken:
                self.flow.uses[tensor].append(Use(function=getattr(func, "__name__", ""), output=first))
        return result


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
