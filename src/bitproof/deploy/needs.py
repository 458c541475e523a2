"""What every runtime of deployed files shares: the packages that it needs, and how a file is read."""

import importlib.util
from pathlib import Path

from bitproof.errors import InputError

SMALLEST = 1e-12
"""The smallest probability of which a logarithm is taken."""

LARGEST_FILE = 2**31
"""What a protobuf message, or a flatbuffer, can hold."""

MOST_IMAGES = 2**16
"""The largest batch that a file may ask for."""

_EXTRAS = {"deploy": "ONNX", "tflite": "TFLite", "openvino": "OpenVINO"}
"""Whose files each extra opens."""


def need(*packages: str, extra: str = "deploy") -> None:
    """Raise an `InputError` for the first of the packages that is not installed."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise InputError(
                f"{package} is not installed",
                rule=f"{_EXTRAS[extra]} files need the extra `{extra}`",
                remedy=f"Run pip install 'bitproof[{extra}]'",
            )


def content_of(path: str | Path, kind: str, *, limit: int = LARGEST_FILE) -> bytes:
    """The bytes of a deployed file.

    Raises:
        InputError: it is missing, empty or too large.
    """
    path = Path(path)
    if not path.is_file() or not 0 < path.stat().st_size < limit:
        raise InputError(
            f"{kind} file {str(path)!r}",
            rule=f"it must not be empty, and be below {limit / 2**30:g} GB"
            if path.is_file()
            else "the file does not exist",
            remedy="Check the path",
        )
    return path.read_bytes()
