"""`bitproof list`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from bitproof.cli.options import StoreOption
from bitproof.errors import lookup


def list_names(
    what: Annotated[
        str | None, typer.Argument(help="models, schemes, recipes, data, attacks, shifts or suites; made with --store.")
    ] = None,
    store: StoreOption = None,
) -> None:
    """What there is, by name; with a store, the models that were made for it."""
    families = _families() | ({"made": _made(store)} if store else {})
    chosen = families if what is None else {what: lookup(families, what, "family")}
    for family, table in chosen.items():
        print(family)
        width = max(map(len, table), default=0)
        for name, text in table.items():
            print(f"  {name:<{width}}  {text}")


def _families() -> dict[str, dict[str, str]]:
    from bitproof.attacks import ATTACKS
    from bitproof.data import DATA
    from bitproof.experiment import SUITES
    from bitproof.models import MODELS
    from bitproof.quant import METHODS
    from bitproof.shifts import CORRUPTIONS, RELEASED, SEQUENCES, SYSTEMATIC
    from bitproof.train import RECIPES

    return {
        "models": {name: _first_line(spec.build) for name, spec in MODELS.items()}
        | {"timm:NAME": "Any timm model (extra: zoo).", "torchvision:NAME": "Any torchvision model (extra: zoo)."},
        "schemes": {f"{name}:wXaY": _scheme_line(method) for name, method in METHODS.items()},
        "recipes": {name: _first_line(build) for name, build in RECIPES.items()},
        "data": {name: _first_line(build) for name, build in DATA.items()},
        "attacks": {name: _first_line(build) for name, build in ATTACKS.items()},
        "shifts": {
            name: _first_line(build) for name, build in {**CORRUPTIONS, **SEQUENCES, **SYSTEMATIC, **RELEASED}.items()
        },
        "suites": {name: _first_line(build) for name, build in SUITES.items()}
        | {"released:ROOT": "All released files of CIFAR-C, ImageNet-C or ImageNet-P in a folder."},
    }


def _made(store: Path) -> dict[str, str]:
    """The models made for a store: what each was trained by and on, and how far it is."""
    from bitproof.experiment import made_beside, made_in

    found = {}
    for made in made_in(made_beside(store)):
        accuracy = made.holdout_accuracy if made.holdout_accuracy is not None else made.accuracy
        right = "" if accuracy is None else f", {accuracy:.1%} right"
        state = "" if made.finished else f", unfinished ({made.done} of {made.epochs} epochs)"
        on = f"{made.data} {made.split}, n = {made.examples:,}, seed {made.seed}"
        found[made.key[:12]] = f"{made.architecture}: {made.recipe} on {on}{right}{state}"
    return found


def _scheme_line(method: Any) -> str:
    weights, acts = (
        f"{'-'.join(str(b) for b in sorted({bits[0], bits[-1]}))} or 32 bits" if bits else "float"
        for bits in (method.weight_bits, method.act_bits)
    )
    own = ", ".join(field.name for field in dataclasses.fields(method))
    about = _first_line(method) + (f" Fields: {own}." if own else "")
    return f"{about} Weights {weights}, activations {acts}."


def _first_line(documented: Any) -> str:
    return getattr(documented, "func", documented).__doc__.strip().splitlines()[0]  # .func: what a partial wraps
