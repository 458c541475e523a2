"""The state of a model: what must be as before when somebody's code has had it in its hands."""

import zlib
from collections.abc import Iterator

from torch import nn
from torch.nn.parameter import is_lazy

from bitproof.subjects.fingerprint import bytes_of
from bitproof.subjects.reach import parts

State = dict[str, object]
"""A value for each parameter, buffer and mode by its name, equal for equal ones."""


def state_of(model: nn.Module) -> State:
    """A checksum of each parameter and buffer, and of each part its mode and the number of its hooks; of what the model
    works with and has not registered too. Copies have the same."""
    return {name: value for path, part in parts(model) for name, value in _of_part(path, part)}


def changed_in(before: State, after: State) -> set[str]:
    """The names of what is another, is new or is gone."""
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def _of_part(path: str, part: nn.Module) -> Iterator[tuple[str, object]]:
    yield f"the mode of {path or 'the whole'}", part.training
    yield (
        f"the hooks of {path or 'the whole'}",
        tuple(len(getattr(part, table, ())) for table in ("_forward_hooks", "_forward_pre_hooks")),
    )
    for tensors in (part.named_parameters(recurse=False), part.named_buffers(recurse=False)):
        for name, tensor in tensors:
            if not is_lazy(tensor):
                content = (str(tensor.dtype), tuple(tensor.shape), zlib.crc32(bytes_of(tensor)))
                yield f"{path}.{name}".removeprefix("."), content
