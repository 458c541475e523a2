"""What a result was computed on: versions, hardware, commit, command."""

import functools
import importlib.metadata
import platform
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

import bitproof
from bitproof.core.cpu import integer_instructions
from bitproof.core.devices import about
from bitproof.settings import distributions

_PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "pillow",
    "opencv-python-headless",
    "av",
    "timm",
    "torchvision",
    "onnx",
    "onnxruntime",
    "ai-edge-litert",
    "openvino",
)

_OURS = Path(bitproof.__file__).parents[2]
"""The checkout, where bitproof is run from one."""


def environment(devices: Iterable[torch.device] = (torch.device("cpu"),)) -> dict[str, Any]:
    """Plain data that says what this process runs on; stored once a run, beside its cells.

    Args:
        devices: where models compute.
    """
    return {
        "bitproof": bitproof.__version__,
        "commit": _git(_OURS, "rev-parse", "HEAD"),
        "dirty": bool(_git(_OURS, "status", "--porcelain")),
        "repository": _repository(),
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))} | distributions(),
        "platform": platform.platform(),
        "processor": _processor(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "integer_instructions": integer_instructions(),
        "threads": torch.get_num_threads(),
        "devices": {str(device): about(device) for device in sorted(devices, key=str)},
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


@functools.cache  # what has been imported stays what it is
def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _repository() -> dict[str, Any] | None:
    """The user's own repository, which the working directory lies in: its commit, and whether files differ from it."""
    top = _git(Path.cwd(), "rev-parse", "--show-toplevel")
    if top is None or Path(top) == _OURS:
        return None
    commit, changed = _git(Path(top), "rev-parse", "HEAD"), _git(Path(top), "status", "--porcelain", "-uno")
    return {"name": Path(top).name, "commit": commit, "dirty": bool(changed)}


def _git(place: Path, *command: str) -> str | None:
    """Git's answer about a folder, or None where it is no checkout."""
    if place == _OURS and not (place / ".git").exists():  # installed, perhaps inside somebody's checkout
        return None
    try:
        answer = subprocess.run(["git", "-C", str(place), *command], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
