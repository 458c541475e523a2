"""A network of somebody's own, by name: `package.module:callable`, a class or function that returns an `nn.Module`."""

import inspect
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from bitproof.errors import InputError
from bitproof.models.normalize import normalized
from bitproof.models.spec import check_classes
from bitproof.models.weights import fill
from bitproof.settings import failed, imported

CLASSES = ("classes", "num_classes", "n_classes")
"""What people call the argument for the number of outputs."""

_MEAN, _STD = "normalize.mean", "normalize.std"


def own_network(
    name: str,
    *,
    weights: Mapping[str, Tensor] | None = None,
    source: str = "",
    classes: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    seed: int = 0,
) -> nn.Module:
    """The network in eval mode, behind a normalisation where one is given or the weights bring one.

    Args:
        name: `module:callable`; called without arguments, but for the number of classes where that is given.
        weights: its state dict, or that of a model which this function made, read from `source`.
        classes: handed over as one of `CLASSES`.
        mean, std: by channel in [0, 1] units; None leaves normalisation to the network.
        seed: of random weights.

    Raises:
        InputError: nothing of this name, code that fails, something that is no module, weights that do not fit, only
            one of mean and std, or both beside weights that bring theirs.
    """
    module, _, called = name.partition(":")
    make = imported(module, called, "network")
    if (mean is None) != (std is None):
        raise InputError(
            f"{'mean' if std is None else 'std'} without {'std' if std is None else 'mean'}",
            rule="a normalisation has both, a number a channel",
            remedy="Give both, or none where the network normalises by itself",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _made(make, name, classes)
    model = network if mean is None or std is None else normalized(network, mean, std)
    if weights is not None:
        if (behind := as_brought(network, weights)) is not network:
            check_brought(mean, std, source)
            model = behind
        fill(model if behind is not network else network, weights, source)
    return model.eval()


def as_brought(network: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """The network, behind the normalisation that weights bring if they are those of a model which has one of ours."""
    if not {_MEAN, _STD} <= weights.keys() or _MEAN in network.state_dict():
        return network
    return normalized(network, weights[_MEAN].flatten().tolist(), weights[_STD].flatten().tolist())


def check_brought(mean: Sequence[float] | None, std: Sequence[float] | None, source: str) -> None:
    """Refuse a normalisation beside weights that bring theirs.

    Raises:
        InputError: there is one.
    """
    if mean is not None or std is not None:
        raise InputError(
            f"mean and std with {source!r}",
            rule="the file brings the normalisation that its network was trained with",
            remedy="Leave mean and std out",
        )


def _made(make: object, name: str, classes: int | None) -> nn.Module:
    if isinstance(make, nn.Module):
        made: object = make
        given: dict[str, int] = {}
    else:
        if not callable(make):
            raise _no_module(name, make)
        given = _arguments(make, name, classes)
        try:
            made = make(**given)
        except Exception as error:
            raise failed(error, f"{name} fails when it is called with {given or 'no argument'}") from error
    if not isinstance(made, nn.Module):
        raise _no_module(name, made)
    if classes is not None and not given:
        raise InputError(
            f"--classes {classes} with {name}, which takes no number of classes",
            rule=f"it is handed over as an argument called {', '.join(CLASSES[:-1])} or {CLASSES[-1]}",
            remedy="Leave it out, or give the function such an argument",
        )
    return made


def _arguments(make: object, name: str, classes: int | None) -> dict[str, int]:
    """What a class or function is called with."""
    try:
        parameters = inspect.signature(make).parameters  # pyright: ignore - checked to be callable
    except (TypeError, ValueError):  # builtins may have none
        return {}
    takes = next((word for word in CLASSES if word in parameters), None)
    given = {} if classes is None or takes is None else {takes: check_classes(classes)}
    lacking = [
        parameter.name
        for parameter in parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and parameter.name not in given
    ]
    if lacking:
        only_classes = lacking == [takes]
        raise InputError(
            f"{name} takes the argument{'s' * (len(lacking) > 1)} {', '.join(lacking)}",
            rule="a network of your own is made by a class or function without arguments",
            remedy="Pass --classes (classes= in Python)"
            if only_classes
            else "Write a function of a line that returns the network",
        )
    return given


def _no_module(name: str, found: object) -> InputError:
    return InputError(
        f"{name} gave a {type(found).__name__}",
        rule="a network of your own is an nn.Module, or a class or function that returns one",
        remedy="Return the network itself; a plain function of images is passed to bp.evaluate in Python",
    )
