"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="resnet20, timm:NAME, FILE.onnx; see `bitproof list models`.")
]
Weights = Annotated[Path | None, typer.Option(help="Safetensors file, PyTorch state dict, or quantized checkpoint.")]
DataOption = Annotated[
    str, typer.Option("--data", help="digits, cifar10:ROOT, imagenet:ROOT[,size=224] or folder:ROOT[,size=224].")
]
Limit = Annotated[int | None, typer.Option(min=1, help="Use the first so many examples only.")]
CalibrationData = Annotated[str | None, typer.Option(help="Calibration images, as --data; default: its train split.")]
CalibrationCount = Annotated[int, typer.Option(min=1, help="Number of calibration images.")]
Classes = Annotated[int | None, typer.Option(min=2, help="Number of outputs, where it is not the architecture's own.")]
Trust = Annotated[
    bool, typer.Option("--trust", help="Open .pt2 files, which can run code, where you trust who wrote them.")
]
Seed = Annotated[int, typer.Option(min=-(2**63), max=2**63 - 1, help="Of all randomness.")]
PTQ = Annotated[
    str | None,
    typer.Option(
        help="Post-training pipeline for the schemes: nearest, adaround or brecq, e.g. brecq:iterations=2000."
    ),
]
StoreOption = Annotated[
    Path | None, typer.Option("--store", help="SQLite file that keeps results; only what is missing is computed.")
]
ReportOption = Annotated[Path | None, typer.Option("--report", help="Write an HTML report here.")]
