"""`bitproof list`."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from bitproof.cli.options import MODEL
from bitproof.errors import InputError, lookup
from bitproof.settings import plugins


def list_names(
    what: Annotated[
        str | None,
        typer.Argument(metavar="FAMILY", help="A family, such as models, schemes or attacks; made with --store."),
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="A store, for the models that were made beside it.", rich_help_panel=MODEL)
    ] = None,
) -> None:
    """What there is, by name; with a store, the models that were made for it."""
    from bitproof.catalogue import FAMILIES

    families = {name: partial(_names, family) for name, family in FAMILIES.items()}
    families |= {"made": partial(_made, store)} if store or what == "made" else {}
    chosen = families if what is None else {what: lookup(families, what, "family")}
    for family, names in chosen.items():
        table = names()
        print(family)
        width = max(map(len, table), default=0)
        for name, text in table.items():
            print(f"  {name:<{width}}  {text}")


def _names(family: Any) -> dict[str, str]:
    own = {name + family.suffix: family.line(entry) for name, entry in family.table.items()}
    added = {}
    for plugin in plugins(family.group) if family.group else ():
        name, taken = plugin.name + family.suffix, " (refused: the name is taken)"
        said = f"{plugin.target} of {plugin.distribution} {plugin.version}"
        clash = name in own or name in added
        added[f"{name} ({plugin.distribution})" if clash else name] = said + taken * clash
    return own | added | dict(family.others)


def _made(store: Path | None) -> dict[str, str]:
    """The models made for a store: what each was trained by and on, and how far it is."""
    from bitproof.experiment import made_beside, made_in

    if store is None:
        raise InputError(
            "made without --store",
            rule="models that were made lie beside the store that they were made for",
            remedy="Add it, such as --store runs.db, or --store reproduced.db after `bitproof reproduce`",
        )
    if not store.is_file() and not made_beside(store).is_dir():
        raise InputError(
            f"there is no store at {str(store)!r}",
            rule="models that were made lie beside a store",
            remedy="Check the path, or leave --store out",
        )
    found = {}
    for made in made_in(made_beside(store)):
        accuracy = made.holdout_accuracy if made.holdout_accuracy is not None else made.accuracy
        right = "" if accuracy is None else f", {accuracy:.1%} right"
        state = "" if made.finished else f", unfinished ({made.done} of {made.epochs} epochs)"
        on = f"{made.data} {made.split}, n = {made.examples:,}, seed {made.seed}"
        found[made.key[:12]] = f"{made.architecture}: {made.recipe} on {on}{right}{state}"
    return found
