"""What an executor knows of a task: a value with what it needs and what it yields."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from bitproof.records import Record


@runtime_checkable
class Task(Protocol):
    """Work that yields records together, e.g. one corruption for all models. It holds neither models nor a store.

    Attributes:
        label: what is being done, for people.
        needs: keys of records that have to be there first, by the part that they play. The order of a plan says
            nothing.
        yields: cost of each record in passes, by its key.
    """

    @property
    def label(self) -> str: ...

    @property
    def needs(self) -> Mapping[str, str]: ...

    @property
    def yields(self) -> Mapping[str, int]: ...

    def __call__(
        self, bench: Any, needed: Mapping[str, Any], missing: frozenset[str], advance: Callable[[int], None]
    ) -> Iterable[Record]:
        """The records whose keys are in `missing`.

        Args:
            bench: models and data, which live where the task is done.
            needed: the records that it needs, by part.
            missing: keys among `yields`.
            advance: told of the passes done.
        """
        ...

    def parts(self, count: int) -> Sequence["Task"]:
        """The same work as up to `count` tasks, for as many workers; itself alone where it cannot be parted."""
        ...

    def joined(self, parts: Sequence[Sequence[Any]]) -> Sequence[Record]:
        """The records, of which each of its parts made a piece, in their order."""
        ...
