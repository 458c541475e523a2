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
)


def environment(devices: Iterable[torch.device] = (torch.device("cpu"),)) -> dict[str, Any]:
    """Plain data that says what this process runs on; stored once a run, beside its cells.

    Args:
        devices: where models compute.
    """
    return {
        "bitproof": bitproof.__version__,
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain")),
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
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


def _git(*command: str) -> str | None:
    """Git's answer about bitproof's own source, or None where it is not a checkout."""
    here = Path(bitproof.__file__).parent
    if not (here.parents[1] / ".git").exists():
        return None
    try:
        answer = subprocess.run(["git", "-C", str(here), *command], capture_output=True, text=True, timeout=10)
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
