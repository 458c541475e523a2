"""The type checker that tests put on every annotated function of bitproof.

`jaxtyping` binds the arguments of each call in Python, so that one size stands for the same number in all of them.
Where no annotation names a shape there is nothing to bind: such functions, five of six calls, get the checker alone.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import get_args
from unittest.mock import patch

import jaxtyping
from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray, jaxtyped

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as everywhere in Python


def _names_shape(annotation: object) -> bool:
    if isinstance(annotation, str):
        return True  # a name that only type checkers import, say, which beartype alone cannot resolve
    shaped = inspect.isclass(annotation) and issubclass(annotation, AbstractArray)
    return shaped or any(map(_names_shape, get_args(annotation)))


def _jaxtyped(*, typechecker):
    """In place of `jaxtyping.jaxtyped`, which the import hook puts on functions and classes."""

    def decorate(found):
        plain = inspect.isfunction(found) and not any(map(_names_shape, found.__annotations__.values()))
        return typechecker(found) if plain else jaxtyped(typechecker=typechecker)(found)

    return decorate


@contextmanager
def installed() -> Iterator[None]:
    """Check whatever of bitproof is imported."""
    with patch("jaxtyping.jaxtyped", _jaxtyped), jaxtyping.install_import_hook("bitproof", "shape_checks.check"):
        yield
