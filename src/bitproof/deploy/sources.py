"""Files that a runtime executes, by their suffix."""

from collections.abc import Callable
from pathlib import Path

from torch import nn

from bitproof.deploy.litert import load_litert
from bitproof.deploy.runtime import load_onnx
from bitproof.errors import lookup

SOURCES: dict[str, Callable[[str | Path], nn.Module]] = {".onnx": load_onnx, ".tflite": load_litert}
"""How each is opened."""


def is_deployed(name: str) -> bool:
    """Whether a model's name is that of a file that a runtime executes."""
    return Path(name).suffix in SOURCES


def load_deployed(path: str | Path) -> nn.Module:
    """Open a file of any runtime as a model under test.

    Raises:
        InputError: an unknown suffix, or what the runtime's own way to open it raises.
    """
    return lookup(SOURCES, Path(path).suffix, "kind of deployed file")(path)
