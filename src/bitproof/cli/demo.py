"""`bitproof demo`."""

from pathlib import Path
from typing import Annotated

import typer

from bitproof.cli.checks import check_output, check_store
from bitproof.cli.common import chosen_device, keeping, kept_in, print_result
from bitproof.cli.options import OUTPUT, Device, StoreOption


def demo(
    report: Annotated[Path, typer.Option(help="Where to write the HTML report.", rich_help_panel=OUTPUT)] = Path(
        "report.html"
    ),
    store: StoreOption = None,
    device: Device = "auto",
) -> None:
    """Show the main job on embedded data: train a small network, quantize it, test it, write a report."""
    check_output(report, "the report", store)
    check_store(store)
    device = chosen_device(device)
    from bitproof.experiment.demo import run_demo

    with keeping(kept_in(store), store):
        result = run_demo(store=store, device=device)
    print_result(result)
    print(f"\nreport: {result.report(report)}")
