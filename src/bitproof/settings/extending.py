"""What other packages add, through the entry points of their distributions.

    [project.entry-points."bitproof.attacks"]
    darker = "tiny.attacks:Darker"

Names are known from the metadata of what is installed; nothing is imported before it is used. A name that is taken,
by bitproof or by another package, is refused where it is used: nothing is ever put in the place of something else.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from bitproof.errors import InputError
from bitproof.settings.importing import failed
from bitproof.settings.installed import Plugin, plugins

T = TypeVar("T")


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
        return _loaded(others[0])

    def __contains__(self, name: object) -> bool:
        return name in self.own or any(plugin.name == name for plugin in self.others())

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self.own, *(plugin.name for plugin in self.others())]))

    def __len__(self) -> int:
        return len(list(iter(self)))


def _loaded(plugin: Plugin) -> Any:
    """It, imported now.

    Raises:
        InputError: what the package raises.
    """
    from importlib.metadata import EntryPoint

    try:
        return EntryPoint(plugin.name, plugin.target, plugin.group).load()
    except (Exception, SystemExit) as error:
        raise failed(error, f"{plugin.name!r} of {plugin.distribution} {plugin.version} cannot be loaded") from error
