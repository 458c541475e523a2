"""What every runtime of deployed files shares: the packages that it needs, and how a file is read."""

import importlib.util
from pathlib import Path

from bitproof.errors import InputError

SMALLEST = 1e-12
"""The smallest probability of which a logarithm is taken."""

LARGEST_FILE = 2**31
"""What a protobuf message, or a flatbuffer, can hold."""


def need(*packages: str, extra: str = "deploy") -> None:
    """Raise an `InputError` for the first of the packages that is not installed."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise InputError(
                f"{package} is not installed",
                rule=f"{'ONNX' if extra == 'deploy' else 'TFLite'} files need the extra `{extra}`",
                remedy=f"Run pip install 'bitproof[{extra}]'",
            )


def content_of(path: str | Path, kind: str) -> bytes:
    """The bytes of a deployed file.

    Raises:
        InputError: it is missing, empty or too large.
    """
    path = Path(path)
    if not path.is_file() or not 0 < path.stat().st_size < LARGEST_FILE:
        raise InputError(
            f"{kind} file {str(path)!r}",
            rule="it must not be empty, and be below 2 GB" if path.is_file() else "the file does not exist",
            remedy="Check the path",
        )
    return path.read_bytes()
