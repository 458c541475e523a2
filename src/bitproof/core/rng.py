"""Randomness that is keyed, not streamed.

A draw depends on (seed, example id, path) alone, where the path says what the draw is for. So results
do not depend on batch size, order, active set, worker or machine: example 17 gets the same noise
wherever it is processed. Like a JAX key, an `Rng` is a value: drawing twice from the same one gives the
same numbers, so give every purpose its own path with `fold`.

The bits come from NumPy's Philox (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
"""

import hashlib
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from bitproof.errors import InputError, kind_of


@dataclass(frozen=True, eq=False)
class Rng:
    """Keyed randomness for a batch of examples: one independent stream an example.

    Example:
        >>> rng = Rng(seed=0, ids=np.arange(4))
        >>> whole = rng.fold("noise").normal((3, 8, 8))
        >>> half = rng.select(np.array([2, 3])).fold("noise").normal((3, 8, 8))
        >>> bool((whole[2:] == half).all())
        True
    """

    seed: int
    ids: NDArray[np.int64]
    path: tuple[str | int, ...] = ()

    @staticmethod
    def of(seed: int = 0) -> "Rng":
        """The randomness of a whole run, such as a training: keyed by one id.

        Raises:
            InputError: a seed that is no whole number of 64 bits.

        Example:
            >>> Rng.of(3).seed, Rng.of(3).ids.tolist()
            (3, [0])
        """
        try:
            number = operator.index(seed)
        except TypeError as error:
            raise InputError(
                f"seed is {kind_of(seed)}", rule="a seed is a whole number", remedy="Use 0, 1, 2, ..."
            ) from error
        if not -(2**63) <= number < 2**63:
            raise InputError(f"seed is {number}", rule="a seed has 64 bits", remedy="Use 0, 1, 2, ...")
        return Rng(number, np.zeros(1, np.int64))

    @staticmethod
    def of_run(seed: int, rng: "Rng | None") -> "Rng":
        """That of `seed`, or `rng` where a caller has one already.

        Raises:
            InputError: both, or a seed that is no whole number of 64 bits.
        """
        if rng is not None and seed != 0:
            raise InputError(
                f"seed is {seed} beside an rng", rule="an rng has its seed", remedy="Leave one of them out"
            )
        return Rng.of(seed) if rng is None else rng

    def fold(self, *tags: str | int) -> "Rng":
        """The same examples, for another purpose: a path that goes `tags` further."""
        return Rng(self.seed, self.ids, self.path + tags)

    def select(self, rows: NDArray[np.int64] | NDArray[np.bool_] | Sequence[int]) -> "Rng":
        """The same purpose, for the examples at `rows` (indices or a mask)."""
        return Rng(self.seed, self.ids[np.asarray(rows)], self.path)

    def __len__(self) -> int:
        return len(self.ids)

    def generators(self) -> list[np.random.Generator]:
        """One NumPy generator an example, in the order of `ids`."""
        prefix = hashlib.blake2b(repr((self.seed, self.path)).encode(), digest_size=16)
        generators = []
        for example in self.ids.tolist():
            key = prefix.copy()
            key.update(example.to_bytes(8, "little", signed=True))
            generators.append(np.random.Generator(np.random.Philox(key=int.from_bytes(key.digest(), "little"))))
        return generators

    def normal(self, shape: tuple[int, ...]) -> Float[Tensor, "n ..."]:
        """Standard normal draws, float32 [n, *shape], on the CPU."""
        return self._draw(shape, np.random.Generator.standard_normal)

    def uniform(self, shape: tuple[int, ...]) -> Float[Tensor, "n ..."]:
        """Uniform draws from [0, 1), float32 [n, *shape], on the CPU."""
        return self._draw(shape, np.random.Generator.random)

    def exponential(self, shape: tuple[int, ...]) -> Float[Tensor, "n ..."]:
        """Standard exponential draws, float32 [n, *shape], on the CPU."""
        return self._draw(shape, np.random.Generator.standard_exponential)

    def _draw(self, shape: tuple[int, ...], fill: Callable[..., object]) -> Tensor:
        draws = np.empty((len(self), math.prod(shape)), np.float32)
        for row, generator in zip(draws, self.generators(), strict=True):
            fill(generator, out=row, dtype=np.float32)
        return torch.from_numpy(draws.reshape(len(self), *shape))

    def permutation(self, count: int) -> Int[Tensor, "n count"]:
        """A random order of 0..count-1 for every example, int64 [n, count], on the CPU."""
        return torch.from_numpy(np.stack([g.permutation(count) for g in self.generators()]))


def global_generators() -> tuple[object, ...]:
    """Where the global generators of torch and NumPy stand: equal as long as nobody draws from them or seeds them.

    Python's own is left out, as type checkers (beartype) draw from it whenever a function is called.
    """
    numbers = np.random.get_state()
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    of_torch = (torch.get_rng_state(), *on_gpus)
    return (*(state.numpy().tobytes() for state in of_torch), numbers[1].tobytes(), *numbers[2:])  # pyright: ignore
