"""What somebody's own code is believed: images of the right kind, made with `rng` alone, by models left as they were.

What is built in passes here too. An attack with own code is given a few examples twice; nothing else costs a pass.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.core.calling import device_of, logits_of
from bitproof.core.rng import Rng, global_generators
from bitproof.data import Examples
from bitproof.errors import InputError, kind_of
from bitproof.judging.checks import check_images
from bitproof.settings.source import is_own
from bitproof.shifts.base import Made, Rerun, Shift
from bitproof.subjects import Subject, changed_in, state_of

ROUNDING = 0.5 / 255
"""By how much an image made alone may differ from the same one made among others, as arithmetic may round otherwise."""


def believed_images(given: object, clean: Float[Tensor, "n c h w"], source: str) -> Float[Tensor, "n c h w"]:
    """The images that `source` returned for the clean ones, without their gradient history.

    Raises:
        InputError: something else than one image of floats in [0, 1] an example.
    """
    shape = tuple(clean.shape)
    if not isinstance(given, Tensor) or not given.is_floating_point() or given.dim() != 4:
        raise InputError(
            f"{source} returned {_described(given)}",
            rule=f"it returns images as a tensor of floats in [0, 1], here of shape {shape}",
            remedy="Return the images, and nothing else, as such a tensor",
        )
    images = check_images(given.detach().to(clean), (shape[1], shape[2], shape[3]), source)
    if len(images) != len(clean):
        raise InputError(
            f"{source} returned {len(images)} images for {len(clean)}",
            rule="each example has its own, in the same order",
            remedy="Return an example that nothing is done to as it came",
        )
    return images


def believed_frames(shift: Shift, examples: Examples, rng: Rng) -> Made:
    """What a shift made of some examples.

    A shift of one's own makes the first example of the data once more, alone: its images may follow from nothing else.

    Raises:
        InputError: something else than `Made`, with frames of floats in [0, 1] for the examples that it names; random
            numbers from elsewhere than `rng`; images that depend on those beside them.
    """
    made = _made(shift, examples, rng)
    if not is_own(type(shift)) and len(examples) > 1 and examples.rows[0] == 0:
        alone = _made(shift, replace(examples, rows=examples.rows[:1], images=examples.images[:1]), rng.select([0]))
        same = made.frames[: len(alone.frames)]
        if alone.made[0] != made.made[0] or not torch.allclose(alone.frames, same, rtol=0, atol=ROUNDING):
            raise InputError(
                f"shift {shift.label!r} makes another image of an example alone than beside others",
                rule="an example's images follow from the example, the setting and `rng`, whatever the batch",
                remedy="Draw from `rng` alone (rng.uniform(shape), rng.generators()), and use nothing "
                "of the other examples",
            )
    return made


def believed_rerun(rerun: Rerun, model: nn.Module) -> nn.Module:
    """The model as a rerun returns it.

    Raises:
        InputError: it is none, or another one when asked again.
    """
    before = global_generators()
    other = rerun(model)
    if not callable(other):
        raise InputError(
            f"rerun {rerun.label!r} returned {kind_of(other)}",
            rule="it returns the model that is run this way",
            remedy="Return a module; copy.deepcopy(model) is one to change",
        )
    drew = global_generators() != before
    if drew and Subject.of(rerun(model)).fingerprint != Subject.of(other).fingerprint:
        raise InputError(
            f"rerun {rerun.label!r} returns another model each time",
            rule="one setting is one model",
            remedy="Draw from torch.Generator().manual_seed(self.seed), and make the seed a field",
        )
    return other


@contextmanager
def keyed_draws(source: str) -> Iterator[None]:
    """Let `source` draw no random numbers but keyed ones.

    Raises:
        InputError: a global generator was drawn from, or seeded.
    """
    before = global_generators()
    yield
    if global_generators() != before:
        raise _unkeyed(source)


@contextmanager
def left_as_found(
    source: str, models: Sequence[tuple[str, nn.Module]], image: Float[Tensor, "1 c h w"], *, keyed: bool = True
) -> Iterator[None]:
    """Let `source` work with models that it may not change, and draw no random numbers but keyed ones.

    Args:
        source: what it is, in messages.
        models: with their names.
        image: that each is asked about where something has changed: what a model does to itself when it answers (a
            counter, a draw) is not held against `source`.
        keyed: whether global generators are watched.

    Raises:
        InputError: parameters, buffers, modes or hooks of a model are others than before; a global generator was drawn
            from, or seeded.
    """
    states, generators = [state_of(model) for _, model in models], global_generators()

    def check() -> None:
        for (name, model), before in zip(models, states, strict=True):
            changed = changed_in(before, state_of(model))
            if changed and (changed := changed - _by_itself(model, image)[0]):
                raise InputError(
                    f"{source} changed {min(changed)!r} of model {name!r}",
                    rule="what is given a model leaves it as it is: everything after would be said of another model",
                    remedy="Work on copy.deepcopy(model), and take hooks and modes back",
                )

    try:
        yield
    except Exception:
        check()
        raise
    check()
    if keyed and global_generators() != generators and not any(_by_itself(model, image)[1] for _, model in models):
        raise _unkeyed(source)


def check_repeated(
    source: str,
    ask: Callable[[], Tensor],
    models: Sequence[tuple[str, nn.Module]],
    image: Float[Tensor, "1 c h w"],
) -> None:
    """Ask for the same images twice: what draws from a generator of its own, without a seed, gives others.

    Args:
        source: what makes them, in messages.
        ask: makes them.
        models, image: as for `left_as_found`.

    Raises:
        InputError: the images differ, or what `left_as_found` raises.
    """
    made = []
    for _ in range(2):
        with left_as_found(source, models, image):
            made.append(ask())
    if not torch.allclose(*made, rtol=0, atol=ROUNDING):
        raise InputError(
            f"{source} returned other images when it was given the same examples again",
            rule="a result depends on the seed and the example, and on nothing else",
            remedy="Draw from the `rng` that it is given: rng.uniform(shape), rng.normal(shape), or rng.generators(), "
            "and keep nothing from call to call",
        )


def _by_itself(model: nn.Module, image: Float[Tensor, "1 c h w"]) -> tuple[set[str], bool]:
    """What a model changes of itself when it answers and gives a gradient, and whether it draws random numbers."""
    before, generators = state_of(model), global_generators()
    with suppress(Exception), torch.enable_grad():  # a model that was spoilt may raise anything
        given = image.to(device_of(model), copy=True).requires_grad_()
        torch.autograd.grad(logits_of(model, given).sum(), given)
    return changed_in(before, state_of(model)), global_generators() != generators


def _made(shift: Shift, examples: Examples, rng: Rng) -> Made:
    """What a shift made, checked but for what it follows from."""
    source = f"shift {shift.label!r}"
    given = examples if is_own(type(shift)) else replace(examples, images=examples.images.clone())
    with keyed_draws(source):
        made = shift.make(given, rng=rng)
    if not isinstance(made, Made):
        raise InputError(
            f"{source} returned {_described(made)}",
            rule="`make` returns `Made`: of which examples it could be made, and their frames",
            remedy="Return bitproof.shifts.base.all_made(images), with one image an example",
        )
    which, frames = made.made, made.frames
    if not isinstance(which, np.ndarray) or which.dtype != bool or which.shape != (len(examples),):
        raise InputError(
            f"{source} was given {len(examples)} examples, and says of which it was made by {_described(which)}",
            rule="that is an array of bool with one an example",
            remedy="Return all_made(images) where it is made of all of them, one image each",
        )
    if not isinstance(frames, Tensor) or not frames.is_floating_point() or frames.dim() != 5:
        raise InputError(
            f"{source} returned {_described(frames)} as frames",
            rule="they are a tensor of floats in [0, 1], of shape [examples, frames, c, h, w]",
            remedy="Return all_made(images) with images [n, c, h, w] in a torch.Tensor",
        )
    if len(frames) != which.sum():
        raise InputError(
            f"{source} returned images of {len(frames)} examples and says that it was made of {which.sum()}",
            rule="those that it was made of have one or more, in their order",
            remedy="Return one an example, or mark in `Made.made` those that have none",
        )
    shown = check_images(frames.detach().float().flatten(0, 1), examples.data.shape, source)
    return replace(made, frames=shown.unflatten(0, frames.shape[:2]))


def _described(value: object) -> str:
    """What a value is, with its shape."""
    if isinstance(value, (Tensor, np.ndarray)):
        kind = f"a tensor of {str(value.dtype).removeprefix('torch.')}" if isinstance(value, Tensor) else kind_of(value)
        return f"{kind} of shape {tuple(value.shape)}"
    return kind_of(value)


def _unkeyed(source: str) -> InputError:
    return InputError(
        f"{source} drew from, or seeded, the global random numbers of torch or NumPy",
        rule="a result depends on the seed and the example, not on batches and what ran before",
        remedy="Draw from the `rng` that it is given: rng.uniform(shape), rng.normal(shape), or rng.generators(), one "
        "NumPy generator an example",
    )
