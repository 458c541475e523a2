"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="resnet20, timm:NAME, FILE.onnx, or module:callable of your own.",
    ),
]
Weights = Annotated[Path | None, typer.Option(help="Safetensors file, PyTorch state dict, or quantized checkpoint.")]
DataOption = Annotated[
    str,
    typer.Option(
        "--data", help="digits, cifar10:ROOT, imagenet:ROOT, folder:ROOT, hf:ROOT, npz:FILE, csv:FILE, module:callable."
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Use the first so many examples only.")]
Sample = Annotated[
    int | None, typer.Option(min=1, help="Use a random part of so many, of each class its share (by --seed).")
]
CalibrationData = Annotated[str | None, typer.Option(help="Calibration images, as --data; default: its train split.")]
CalibrationCount = Annotated[int, typer.Option(min=1, help="Number of calibration images.")]
Classes = Annotated[int | None, typer.Option(min=2, help="Number of outputs, where it is not the architecture's own.")]
Trust = Annotated[
    bool, typer.Option("--trust", help="Open .pt2 files, which can run code, where you trust who wrote them.")
]
Mean = Annotated[
    str | None, typer.Option(help="Normalisation where it is not the network's own, e.g. 0.49,0.48,0.45 of [0, 1].")
]
Std = Annotated[str | None, typer.Option(help="As --mean.")]
InputSize = Annotated[
    int | None, typer.Option(min=1, help="Side in pixels of what the network gets, for folders of pictures.")
]
Tag = Annotated[
    list[str] | None, typer.Option("--tag", help="Said of the models in tables and exports, e.g. train_seed=1.")
]
MetricOption = Annotated[list[str] | None, typer.Option("--metric", help="A metric of your own, as module:NAME.")]
ClassList = Annotated[
    Path | None,
    typer.Option(help="Text file with a line a class, in the order of the outputs, for folders of some of them."),
]
Seed = Annotated[int, typer.Option(min=-(2**63), max=2**63 - 1, help="Of all randomness.")]
Device = Annotated[
    str,
    typer.Option(envvar="BITPROOF_DEVICE", help="Where to compute: auto (CUDA if it is there), cpu, cuda:1, mps."),
]
PTQ = Annotated[
    str | None,
    typer.Option(
        help="Post-training pipeline for the schemes: nearest, adaround, brecq or efrap, e.g. brecq:iterations=2000."
    ),
]
StoreOption = Annotated[
    Path | None, typer.Option("--store", help="SQLite file that keeps results; only what is missing is computed.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print no progress and no tables.")]
Json = Annotated[bool, typer.Option("--json", help="Print the results as JSON, for other programs.")]
ReportOption = Annotated[Path | None, typer.Option("--report", help="Write an HTML report here.")]
