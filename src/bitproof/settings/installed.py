"""Which packages add something to bitproof, from the metadata of what is installed; none of it is imported."""

import functools
import sys
from dataclasses import dataclass

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
