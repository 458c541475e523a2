"""What every defence at inference is: a setting that makes, of a model or of several, one that is harder to fool."""

import abc
from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.core.calling import check_range, device_of, logits_of
from bitproof.core.copying import copied
from bitproof.core.defended import Defended, defended
from bitproof.data import Data
from bitproof.errors import InputError, kind_of
from bitproof.subjects import Subject

BATCH = 128
"""Clean images a pass, where thresholds are chosen on them."""

Clean = Data | Tensor | None
"""Clean images to choose thresholds on, which are never those that are tested."""


class Defence(abc.ABC):
    """A setting that is called with a model, or with several where it is `joint`, and returns one that stands behind
    it (`core.defended.Defended`). The models are copied and left as they are.

    A frozen dataclass with `label`, `needs_clean` and `__call__`.

    Attributes:
        joint: it makes one model of several.
    """

    joint: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """Short form for people, e.g. "smoothing 0.25"."""

    @property
    @abc.abstractmethod
    def needs_clean(self) -> bool:
        """Whether it chooses a threshold on clean images."""

    @abc.abstractmethod
    def __call__(self, *models: nn.Module, clean: Clean = None) -> Defended:
        """The model behind the defence, in eval mode.

        Args:
            models: map images in [0, 1] to logits of the same classes.
            clean: images that thresholds are chosen on, where there are any to choose.

        Raises:
            InputError: too few or too many models, models of different classes, or no clean images where they are
                needed.
        """


def members(defence: Defence, models: Sequence[nn.Module], *, least: int = 1) -> nn.ModuleList:
    """Copies of the models, after a look at them.

    Raises:
        InputError: too few, or several where there may be one; one behind a defence whose logits are not all that it
            says; checkpoints that name different classes.
    """
    if len(models) < least or (len(models) > 1 and not defence.joint):
        asked = f"at least {least} models" if defence.joint else "one model"
        raise InputError(
            f"{defence.label} of {len(models)} models",
            rule=f"it is made of {asked}",
            remedy="Pass each as an argument of its own",
        )
    inside = [behind for behind in map(defended, models) if behind is not None and not behind.plain]
    if inside:
        raise InputError(
            f"{defence.label} of a {type(inside[0]).__name__} model",
            rule="a defence sees the logits of what is behind it, and not what that takes back, draws or counts",
            remedy="Put each defence on the model itself, and test them beside each other",
        )
    names = [Subject.of(model).class_names for model in models]
    known = [name for name in names if name is not None]
    if any(name != known[0] for name in known):
        raise different_classes([str(list(name)[:3]) for name in known])
    return nn.ModuleList([copied(model).eval() for model in models])


def answers(models: nn.ModuleList, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "m n k"]:
    """The logits of all models.

    Raises:
        InputError: models of different classes.
    """
    found = [logits_of(model, images) for model in models]
    if len({logits.shape[1] for logits in found}) > 1:
        raise different_classes([f"{logits.shape[1]}" for logits in found])
    return torch.stack(found)


def names_of(models: Sequence[nn.Module]) -> list[str]:
    """What the models are called in results: their schemes, with a number where several have one."""
    subjects = [Subject.of(model) for model in models]
    labels = [getattr(subject.scheme, "label", "float") for subject in subjects]
    alike = {label for label in labels if labels.count(label) > 1}
    return [f"{name} {labels[: i + 1].count(name)}" if name in alike else name for i, name in enumerate(labels)]


def clean_images(defence: Defence, clean: Clean) -> Float[Tensor, "n c h w"]:
    """The clean images in memory, all that can be read.

    Raises:
        InputError: there are none, something else, or they do not lie in [0, 1].
    """
    images = torch.cat(list(clean.inputs())) if isinstance(clean, Data) else clean
    if images is not None and not isinstance(images, Tensor):
        raise InputError(
            f"{kind_of(images)} as clean images",
            rule="they are data, or a tensor [n, c, h, w] in [0, 1]",
            remedy="Pass clean=bp.load_data(..., split='train', limit=512)",
        )
    if images is None or not len(images):
        raise InputError(
            f"{defence.label} without clean images",
            rule="its threshold is chosen on clean images, others than those that it is tested on",
            remedy="Pass clean=bp.load_data(..., split='train', limit=512), or name the threshold",
        )
    check_range(images, "clean images")
    return images


@torch.no_grad()
def in_batches(module: nn.Module, method: str, images: Float[Tensor, "n c h w"]) -> Tensor:
    """What a method of a module gives for many images."""
    device = device_of(module)
    return torch.cat([getattr(module, method)(part.to(device)) for part in images.split(BATCH)]).cpu()


def different_classes(said: Sequence[str]) -> InputError:
    return InputError(
        f"models of the classes {', '.join(dict.fromkeys(said))}",
        rule="models that answer together have the same classes in the same order",
        remedy="Use models that were made for the same data",
    )
