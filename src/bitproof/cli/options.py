"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

MODEL, DATA, METHOD = "The model", "The data", "The method"
DEPLOYED, OUTPUT, MACHINE = "Deployed files", "The output", "The machine"
GROUPS = (MODEL, DATA, METHOD, DEPLOYED, OUTPUT, MACHINE)
"""Groups of options in a command's help, in their order."""


def _whole(seed: int) -> int:
    """A seed of 64 bits; refused here, so that the help does not show the bounds."""
    if not -(2**63) <= seed < 2**63:
        raise typer.BadParameter("it is a whole number of 64 bits")
    return seed


Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="resnet20, timm:NAME, FILE.onnx, or module:callable of your own.",
    ),
]
Network = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="resnet20, timm:NAME, torchvision:NAME, or module:callable of your own."),
]
Weights = Annotated[
    Path | None,
    typer.Option(help="Safetensors file, PyTorch state dict, or quantized checkpoint.", rich_help_panel=MODEL),
]
DataOption = Annotated[
    str,
    typer.Option(
        "--data",
        help="digits, cifar10:ROOT, imagenet:ROOT, folder:ROOT, hf:ROOT, wds:PATTERN, npz:FILE, csv:FILE, "
        "module:callable.",
        rich_help_panel=DATA,
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Use the first so many examples only.", rich_help_panel=DATA)]
Sample = Annotated[
    int | None,
    typer.Option(
        min=1, help="Use a random part of so many, of each class its share (by --seed).", rich_help_panel=DATA
    ),
]
CalibrationData = Annotated[
    str | None, typer.Option(help="Calibration images, as --data; default: its train split.", rich_help_panel=DATA)
]
CalibrationNoise = Annotated[
    float | None,
    typer.Option(
        help="Show them under Gaussian noise of this sigma, for models that answer under it.", rich_help_panel=DATA
    ),
]
CalibrationCount = Annotated[int, typer.Option(min=1, help="Number of calibration images.", rich_help_panel=DATA)]
Classes = Annotated[
    int | None,
    typer.Option(min=2, help="Number of outputs, where it is not the architecture's own.", rich_help_panel=MODEL),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust", help="Open .pt2 files, which can run code, where you trust who wrote them.", rich_help_panel=DEPLOYED
    ),
]
Mean = Annotated[
    str | None,
    typer.Option(
        help="Normalisation where it is not the network's own, e.g. 0.49,0.48,0.45 of [0, 1].", rich_help_panel=MODEL
    ),
]
Std = Annotated[str | None, typer.Option(help="As --mean.", rich_help_panel=MODEL)]
Unlabelled = Annotated[
    bool,
    typer.Option(
        "--unlabelled",
        help="The labels are not the true ones: compare with the float model's answers.",
        rich_help_panel=DATA,
    ),
]
Claimed = Annotated[
    Path | None,
    typer.Option(
        "--deployed",
        help="What claims to be made of it: .onnx, .tflite, .xml, or a quantized checkpoint.",
        rich_help_panel=DEPLOYED,
    ),
]
DeployedMean = Annotated[
    str | None,
    typer.Option(help="Normalisation of the images that deployed files expect, as --mean.", rich_help_panel=DEPLOYED),
]
DeployedStd = Annotated[str | None, typer.Option(help="As --deployed-mean.", rich_help_panel=DEPLOYED)]
InputSize = Annotated[
    int | None,
    typer.Option(min=1, help="Side in pixels of what the network gets, for folders of pictures.", rich_help_panel=DATA),
]
Tag = Annotated[
    list[str] | None,
    typer.Option("--tag", help="Said of the models in tables and exports, e.g. train_seed=1.", rich_help_panel=OUTPUT),
]
MetricOption = Annotated[
    list[str] | None, typer.Option("--metric", help="A metric of your own, as module:NAME.", rich_help_panel=OUTPUT)
]
ClassList = Annotated[
    Path | None,
    typer.Option(
        help="Text file with a line a class, in the order of the outputs, for folders of some of them.",
        rich_help_panel=DATA,
    ),
]
Split = Annotated[str, typer.Option(help="Which part of the data to look at.", rich_help_panel=DATA)]
BatchSize = Annotated[
    int, typer.Option(min=1, help="Images a pass; results do not depend on it.", rich_help_panel=MACHINE)
]
Seed = Annotated[int, typer.Option(callback=_whole, help="The seed of all randomness.", rich_help_panel=METHOD)]
Device = Annotated[
    str,
    typer.Option(
        envvar="BITPROOF_DEVICE",
        help="Where to compute: auto (CUDA if it is there), cpu, cuda:1, mps.",
        rich_help_panel=MACHINE,
    ),
]
PTQ = Annotated[
    str | None,
    typer.Option(
        help="Post-training pipeline for the schemes: nearest, adaround, brecq or efrap, e.g. brecq:iterations=2000.",
        rich_help_panel=METHOD,
    ),
]
Checkpoint = Annotated[
    Path, typer.Option("-o", "--output", help="Checkpoint to write (.safetensors).", rich_help_panel=OUTPUT)
]
StoreOption = Annotated[
    Path | None,
    typer.Option(
        "--store", help="SQLite file that keeps results; only what is missing is computed.", rich_help_panel=OUTPUT
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print no progress and no tables.", rich_help_panel=OUTPUT)]
Json = Annotated[
    bool, typer.Option("--json", help="Print the results as JSON, for other programs.", rich_help_panel=OUTPUT)
]
ReportOption = Annotated[
    Path | None, typer.Option("--report", help="Write an HTML report here.", rich_help_panel=OUTPUT)
]
