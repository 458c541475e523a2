"""Makes `import torchvision` work beside a CPU-only torch.

Public wheels of torchvision are built against CUDA builds of torch. Beside a CPU-only torch their
compiled part does not load, and the import fails with `operator torchvision::nms does not exist`,
because the Python part describes two detection operators that the compiled part should have declared.
Declaring the two schemas first is enough for the Python part, and so for timm. Where the compiled part
does load, it declares them itself, and declaring them twice would be an error.

torchvision may be imported anywhere: by a zoo, or by somebody's own network, data or corruption. So it is waited for.
"""

import importlib.util
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

import torch

SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}

_library = torch.library.Library("torchvision", "FRAGMENT")  # what it declares lives as long as this object


class BeforeTorchvision(MetaPathFinder):
    """Stands first among the finders of modules, finds nothing, and leaves when torchvision is looked for."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            declare_missing_operators()


def await_torchvision() -> None:
    """Have the operators declared before torchvision is imported, unless it is already."""
    if "torchvision" not in sys.modules:
        sys.meta_path.insert(0, BeforeTorchvision())


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
