"""Which tensors flow where, found by running the model: nothing has to be traceable, and every branch is real.

Each tensor that a torch function returns gets a number, a new one also when it was changed in place. Recorded are
the functions that use it, what the named modules receive and return, and which of them it comes from.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bitproof.core.calling import answer
from bitproof.core.copying import copied

IMAGE = "<images>"
"""What stands for the images among the names of modules that something comes from."""


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
        reads: for each of them, in that order too, the named modules that what it receives comes from, through no
            other named one; `IMAGE` for the images.
        ends: the same of what the model returns.
    """

    uses: dict[int, list[Use]] = field(default_factory=lambda: defaultdict(list))
    calls: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    reads: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    ends: set[str] = field(default_factory=set)

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
    recorder = _Recorder(watched)

    def note(name: str, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor):
            recorder.flow.calls[name].append((entered[module], recorder.made_by(name, output)))

    def enter(name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        received = [recorder.number(tensor) for tensor in _tensors((args, kwargs))]
        entered[module] = received[0] if received else -1
        recorder.flow.reads[name].update(*(recorder.sources[number] for number in received))

    def start(module: nn.Module, args: tuple[Any, ...]) -> None:
        for tensor in _tensors(args):
            recorder.sources[recorder.number(tensor)] = frozenset([IMAGE])

    entered: dict[nn.Module, int] = {}
    watched.register_forward_pre_hook(start)
    for name in names:
        module = watched.get_submodule(name)
        module.register_forward_pre_hook(partial(enter, name), with_kwargs=True)
        module.register_forward_hook(partial(note, name))
    with recorder:
        returned = answer(watched, images)
        recorder.flow.ends.update(*(recorder.sources[recorder.number(tensor)] for tensor in _tensors(returned)))
    return recorder.flow


class _Recorder(TorchFunctionMode):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.flow = Flow()
        self.sources: dict[int, frozenset[str]] = {}
        self._numbers: dict[int, int] = {}
        self._alive: list[Tensor] = []  # or a new tensor might get the identity of one that is gone
        self._latest = IMAGE
        for tensor in (*model.parameters(), *model.buffers()):
            self._new(tensor, frozenset())

    def number(self, tensor: Tensor) -> int:
        """The tensor's number. One that no function was seen to make may come from all that ran before."""
        known = self._numbers.get(id(tensor))
        return self._new(tensor, frozenset([self._latest])) if known is None else known

    def made_by(self, name: str, tensor: Tensor) -> int:
        """The number of a tensor that a named module returned."""
        self._latest = name
        self.sources[self.number(tensor)] = frozenset([name])
        return self.number(tensor)

    def _new(self, tensor: Tensor, sources: frozenset[str]) -> int:
        self._alive.append(tensor)
        self._numbers[id(tensor)] = len(self._alive)
        self.sources[len(self._alive)] = sources
        return len(self._alive)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        outputs = list(_tensors(args[0] if name == "__setitem__" else result))
        if outputs:
            taken = {self.number(tensor) for tensor in _tensors((args, kwargs))}
            sources = frozenset().union(*(self.sources[tensor] for tensor in taken))
            first, *_ = [self._new(tensor, sources) for tensor in outputs]
            for tensor in taken:
                self.flow.uses[tensor].append(Use(function=name, output=first))
        return result


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
