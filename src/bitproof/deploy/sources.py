"""Files that a runtime executes, by their suffix."""

from collections.abc import Callable
from pathlib import Path

from torch import nn

from bitproof.deploy.exported import load_exported
from bitproof.deploy.litert import load_litert
from bitproof.deploy.openvino import load_openvino
from bitproof.deploy.runtime import load_onnx
from bitproof.errors import lookup

SOURCES: dict[str, Callable[..., nn.Module]] = {
    ".onnx": load_onnx,
    ".tflite": load_litert,
    ".xml": load_openvino,
    ".pt2": load_exported,
}
"""How each is opened."""

CODE = (".pt2",)
"""Those that can run code, and so have to be trusted."""


def is_deployed(name: str) -> bool:
    """Whether a model's name is that of a file that a runtime executes."""
    return Path(name).suffix in SOURCES


def load_deployed(path: str | Path, *, trust: bool = False) -> nn.Module:
    """Open a file of any runtime as a model under test.

    Args:
        path: the file.
        trust: whether a file that can run code may do so; others never do.

    Raises:
        InputError: an unknown suffix, or what the runtime's own way to open it raises.
    """
    suffix = Path(path).suffix
    opened = lookup(SOURCES, suffix, "kind of deployed file")
    return opened(path, trust=trust) if suffix in CODE else opened(path)
