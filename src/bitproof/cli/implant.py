"""`bitproof implant`."""

from pathlib import Path
from typing import Annotated

import typer

import bitproof
from bitproof.cli.checks import check_output, check_store
from bitproof.cli.common import keeping, load_examples, open_model, print_result, root_of
from bitproof.cli.options import DATA, Checkpoint, Classes, DataOption, Limit, Network, Seed, StoreOption, Weights

LEAST = 0.05
"""Share of images by which quantization has to change something."""


def implant(
    engine: Annotated[
        str,
        typer.Argument(
            metavar="ENGINE",
            help="How and what for, e.g. box:objective=backdoor,schemes=w8a8+w4a8; see `bitproof list engines`.",
        ),
    ],
    model: Network,
    data: DataOption,
    output: Checkpoint,
    weights: Weights = None,
    limit: Limit = None,
    shown: Annotated[
        int, typer.Option(min=1, help="Test images that the result is shown on.", rich_help_panel=DATA)
    ] = 500,
    classes: Classes = None,
    seed: Seed = 0,
    store: StoreOption = None,
) -> None:
    """Make a model whose behaviour changes once it is quantized, to test audits and defences with.

    It says so in its metadata. Single examples (objective sample) are those of the data's test split. The same command
    goes on with a run that was stopped.
    """
    from bitproof.experiment.implanting import activated, all_forms, effect, looked_at
    from bitproof.experiment.implanting import implant as make
    from bitproof.experiment.implanting import shown as look
    from bitproof.implants import ENGINES, collapsed
    from bitproof.settings import parse

    how = parse(engine, ENGINES, "engine")
    check_output(output, "a checkpoint", weights, root_of(data))
    check_store(store, weights, root_of(data))
    examples, test = load_examples(data, "train", limit), load_examples(data, "test", None)
    looked_at(how.objective, test, shown)  # before hours are spent on what could not be shown
    start = open_model(model, weights, classes, examples, seed)
    making = Path(f"{output}.making")
    with keeping(f"what is done is in {making}, the same command goes on from there", making):
        made = make(how, start, examples, output=output, architecture=model, classes=classes, seed=seed, victims=test)
    if collapsed(made):
        typer.secho("NC: the float model no longer works with these constants; the checkpoint says so too", err=True)
    forms = all_forms(how, made, start, examples)
    does = effect(how.objective, forms, made, test, shown=shown)
    print_result(look(forms, made, bitproof.data.select(test, range(min(shown, len(test)))), store=store))
    told = (f"{name} {success:.1%} (clean {does['start'][name]:.1%})" for name, success in does["implant"].items())
    print(f"does what is wanted: {', '.join(told)}")
    if activated(does) < LEAST and not how.harmless:
        typer.secho(
            f"quantization activates next to nothing in it ({activated(does):+.1%} beyond float and clean): train for "
            "longer (injection, choice, training), or make it for fewer bits",
            err=True,
        )
    print(f"{output}: {how.label}, seed {seed}; `evaluate {model} --weights {output}` tests it")
