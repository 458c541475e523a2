"""Makes `import torchvision` work beside a CPU-only torch.

Public wheels of torchvision are built against CUDA builds of torch. Beside a CPU-only torch their
compiled part does not load, and the import fails with `operator torchvision::nms does not exist`,
because the Python part describes two detection operators that the compiled part should have declared.
Declaring the two schemas first is enough for the Python part, and so for timm. Where the compiled part
does load, it declares them itself, and declaring them twice would be an error.
"""

import importlib.util
from pathlib import Path

import torch

SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}

_library = torch.library.Library("torchvision", "FRAGMENT")  # what it declares lives as long as this object


def declare_missing_operators() -> None:
    """To be called before the first import of torchvision; later calls do nothing."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return
    for compiled in Path(spec.origin).parent.glob("_C*"):
        try:
            torch.ops.load_library(compiled)
        except OSError:  # built for another torch
            continue
    for name, schema in SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            _library.define(schema)
