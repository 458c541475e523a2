"""The parts that compute layers play in a run of their model: which are first, which last, which are never called.

The order in which layers are registered says none of this. A checkpoint has no images to run, so what a run has shown
is noted among the model's structural steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from bitproof.core.copying import copied
from bitproof.core.flow import IMAGE, record_flow
from bitproof.quant.attached import compute_layers
from bitproof.quant.structure import note_step, steps_of


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Structural step that changes no layer: it notes what a run of the model has shown.

    Attributes:
        first: names of the layers that read the images, through no other compute layer.
        last: of those that make the logits, through no other.
        uncalled: of those that are never called, such as auxiliary heads, and attention whose weights a function takes.
    """

    first: tuple[str, ...]
    last: tuple[str, ...]
    uncalled: tuple[str, ...] = ()

    def __call__(self, model: nn.Module) -> nn.Module:
        return note_step(copied(model), self)


def registered_roles(names: Sequence[str]) -> Roles:
    """What the order of registration suggests: all that is known without a run."""
    return Roles(first=tuple(names[:1]), last=tuple(names[-1:]))


def noted_roles(model: nn.Module) -> Roles | None:
    """What was noted last of a model; None where nothing was."""
    return next((step for step in reversed(steps_of(model)) if isinstance(step, Roles)), None)


def roles_of(model: nn.Module) -> Roles:
    """What was noted last, or else what the order of registration suggests."""
    return noted_roles(model) or registered_roles([name for name, _ in compute_layers(model)])


def seen_roles(model: nn.Module, images: Tensor) -> Roles:
    """What a run on a few images shows."""
    names = [name for name, _ in compute_layers(model)]
    flow = record_flow(model, images, names)
    called = list(flow.calls)
    first = tuple(name for name in called if flow.reads[name] == {IMAGE})
    feeding = {source for name in called for source in flow.reads[name] - {name}}
    last = tuple(name for name in called if name in flow.ends - feeding)
    return Roles(
        first=first or tuple(called[:1]),
        last=last or tuple(called[-1:]),
        uncalled=tuple(name for name in names if name not in flow.calls),
    )
