"""What other packages add, through the entry points of their distributions.

    [project.entry-points."bitproof.attacks"]
    darker = "tiny.attacks:Darker"

Names are known from the metadata of what is installed; nothing is imported before it is used. A name that is taken,
by bitproof or by another package, is refused where it is used: nothing is ever put in the place of something else.
"""

import functools
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from bitproof.errors import InputError
from bitproof.settings.importing import failed

T = TypeVar("T")

GROUPS = ("bitproof.attacks", "bitproof.schemes", "bitproof.shifts", "bitproof.models", "bitproof.executors")
"""The groups of entry points."""


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """Something that another package adds.

    Attributes:
        group, name: under which it is found.
        target: `module:name` of it.
        distribution, version: whose it is.
    """

    group: str
    name: str
    target: str
    distribution: str
    version: str

    def load(self) -> Any:
        """It, imported now.

        Raises:
            InputError: what the package raises.
        """
        from importlib.metadata import EntryPoint

        try:
            return EntryPoint(self.name, self.target, self.group).load()
        except (Exception, SystemExit) as error:
            raise failed(error, f"{self.name!r} of {self.distribution} {self.version} cannot be loaded") from error


def plugins(group: str | None = None) -> tuple[Plugin, ...]:
    """What there is in a group, or in all, by distribution and name."""
    return tuple(plugin for plugin in _installed(tuple(sys.path)) if group in (None, plugin.group))


@functools.lru_cache(maxsize=8)
def _installed(_: tuple[str, ...]) -> tuple[Plugin, ...]:
    """All that is found on this path of modules."""
    from importlib.metadata import entry_points  # here: it reads the metadata of everything that is installed

    found = {
        Plugin(
            group=group,
            name=entry.name,
            target=entry.value,
            distribution=entry.dist.name if entry.dist else "?",
            version=entry.dist.version if entry.dist else "?",
        )
        for group in GROUPS
        for entry in entry_points(group=group)
    }
    return tuple(sorted(found, key=lambda p: (p.distribution, p.group, p.name)))


def distributions() -> dict[str, str]:
    """The version of each distribution that adds something."""
    return {plugin.distribution: plugin.version for plugin in plugins()}


def provided_by(module: str) -> str:
    """Distribution and version where a module belongs to one that adds something, else ""."""
    top = module.partition(".")[0]
    found = {f"{p.distribution} {p.version}" for p in plugins() if p.target.partition(":")[0].partition(".")[0] == top}
    return ", ".join(sorted(found))


class Table(Mapping[str, T]):
    """What bitproof has, by name, and behind it what other packages add to some groups, loaded when it is looked up.

    Args:
        own: bitproof's.
        groups: of entry points.
    """

    def __init__(self, own: Mapping[str, T], *groups: str) -> None:
        self.own = own
        self.groups = groups

    def others(self) -> list[Plugin]:
        """What other packages add."""
        return [plugin for group in self.groups for plugin in plugins(group)]

    def __getitem__(self, name: str) -> T:
        """What has the name.

        Raises:
            KeyError: nothing.
            InputError: several things, or one that cannot be loaded.
        """
        others = [plugin for plugin in self.others() if plugin.name == name]
        if not others:
            return self.own[name]
        if len(others) > 1 or name in self.own:
            owners = [*["bitproof"][: name in self.own], *(f"{p.distribution} {p.version}" for p in others)]
            raise InputError(
                f"several things are called {name!r}: of {' and of '.join(owners)}",
                rule="a name stands for one thing",
                remedy=f"Uninstall {others[-1].distribution}, or write {others[-1].target} for what it has",
            )
        return others[0].load()

    def __contains__(self, name: object) -> bool:
        return name in self.own or any(plugin.name == name for plugin in self.others())

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self.own, *(plugin.name for plugin in self.others())]))

    def __len__(self) -> int:
        return len(list(iter(self)))
