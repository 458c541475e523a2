"""A subject: a model under test, and what is known of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from bitproof.core.calling import device_of
from bitproof.core.copying import moved
from bitproof.errors import InputError, kind_of
from bitproof.records import ModelRecord
from bitproof.settings import describe
from bitproof.subjects.fingerprint import fingerprint, is_known
from bitproof.subjects.reach import parts


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A model under test: images [n, c, h, w] in [0, 1] to logits [n, k], and what is known of it.

    What a model is wrapped in (a container, `torch.compile`, a defence, a function that calls it) knows what its parts
    know: bits and scheme of a wrapped quantized model are those of the model inside.

    Attributes:
        model: a module, left as it is.
        scheme: how it is quantized, a setting with `weight_bits` and `act_bits`; None = not by bitproof. Parts of
            several schemes, as in an ensemble, have none together.
        weight_bits, act_bits: the fewest of its parts; 32 = float.
        architecture: the name that `load_model` knows it by.
        origin: what made it, plain data: parent, recipe, data, seed, and marks of what was done to it.
        gradients: whether attacks can follow its gradients.
        tags: whatever its user says of it (see `tagged`).
        class_names: of its outputs, in their order, where its checkpoint names them.

    Example:
        >>> import bitproof as bp
        >>> model = bp.quantize(bp.load_model("digits_cnn"), bp.Scheme("affine", weight_bits=4, act_bits=32))
        >>> Subject.of(nn.Sequential(nn.Identity(), model)).weight_bits
        4
    """

    model: nn.Module
    scheme: Any = None
    weight_bits: int = 32
    act_bits: int = 32
    architecture: str | None = None
    origin: Mapping[str, Any] | None = None
    gradients: bool = True
    tags: Mapping[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] | None = None

    @staticmethod
    def of(model: "nn.Module | Subject | Callable[[Tensor], Tensor]") -> "Subject":
        """What a module, a session or a plain function says of itself and of what it wraps.

        Raises:
            InputError: something that cannot be called.
        """
        if isinstance(model, Subject):
            return model
        if not isinstance(model, nn.Module):
            if not callable(model):
                raise InputError(
                    f"{kind_of(model)} as a model",
                    rule="a model maps images [n, c, h, w] in [0, 1] to logits",
                    remedy="Pass a module, a session, or a function of images",
                )
            model = Function(model)
        schemes = _found(model, "scheme")
        architectures, origins = _found(model, "architecture"), _found(model, "origin")
        names = _found(model, "class_names")
        return Subject(
            model=model,
            scheme=schemes[0] if len(schemes) == 1 else None,
            weight_bits=min((s.weight_bits for s in schemes), default=32),
            act_bits=min((s.act_bits for s in schemes), default=32),
            architecture=architectures[0] if len(architectures) == 1 else None,
            origin=origins[0] if len(origins) == 1 else None,
            gradients=_has_gradients(model),
            class_names=names[0] if len(names) == 1 else None,
        )

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return device_of(self.model)

    def on(self, device: str | torch.device | None) -> "Subject":
        """The same on a device, see `core.copying.moved`."""
        return self.with_model(moved(self.model, device))

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything in the model that can change what it computes."""
        return fingerprint(self.model)

    def record(self, name: str) -> ModelRecord:
        """What a stored result says of its model."""
        return ModelRecord(
            name=name,
            fingerprint=self.fingerprint,
            scheme=describe(self.scheme) if self.scheme is not None else None,
            weight_bits=self.weight_bits,
            act_bits=self.act_bits,
            architecture=self.architecture,
            origin=dict(self.origin) if self.origin is not None else None,
            gradients=self.gradients,
            notes=_notes(self.model),
            tags=dict(self.tags),
        )

    def with_model(self, model: nn.Module) -> "Subject":
        """The same knowledge of another module, such as its frozen copy."""
        return replace(self, model=model)


def tagged(model: "nn.Module | Subject | Callable[[Tensor], Tensor]", /, **tags: Any) -> Subject:
    """A model with what its user says of it, for tables and exports: `tagged(net, name="lsq", train_seed=1)`.

    Models of one `name` are taken together by `Result.table(over="train_seed")`. Tags change no result.

    Raises:
        InputError: a tag that is no text, number or truth.
    """
    for key, value in tags.items():
        if not isinstance(value, (str, int, float, bool)):
            raise InputError(
                f"the tag {key} is a {type(value).__name__}",
                rule="tags are text, numbers or truths, which go into tables and files",
                remedy="Write it as text",
            )
    subject = Subject.of(model)
    return replace(subject, tags={**subject.tags, **tags})


class Function(nn.Module):
    """A plain function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, images: Tensor) -> Any:
        return self.function(images)


def _has_gradients(model: nn.Module) -> bool:
    """Whether attacks can follow the gradients of a model: what it says of itself, or what all of its parts say."""
    own = getattr(model, "differentiable", None)
    return all(map(_has_gradients, model.children())) if own is None else bool(own)


def _notes(model: nn.Module) -> tuple[str, ...]:
    """What the parts of a model say of how they compute (`result_notes`), once each."""
    said = (getattr(part, "result_notes", ()) for _, part in parts(model))
    return tuple(dict.fromkeys(note for notes in said if isinstance(notes, tuple) for note in notes))


def _found(model: nn.Module, name: str) -> list[Any]:
    """What the modules inside say of themselves under `name`, outermost first, equal things once.

    A part inside one that has spoken is not asked: the whole knows better.
    """

    def silent(part: nn.Module) -> bool:
        own = vars(part).get(name)
        return own is None or not is_known(name, own)

    found: list[Any] = []
    for _, part in parts(model, within=silent):
        if not silent(part) and vars(part)[name] not in found:
            found.append(vars(part)[name])
    return found
