"""Devices: which there are, which one is meant, what makes computation on one exact, and when its memory is full."""

import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, backends

from bitproof.errors import InputError

AUTO = "auto"
"""The first CUDA device where there is one, else the CPU."""

_BACKENDS: Any = backends  # torch puts into them what type checkers cannot see
_PRODUCTS = (
    _BACKENDS.cuda.matmul,
    _BACKENDS.cudnn.conv,
    _BACKENDS.cudnn.rnn,
    _BACKENDS.mkldnn.matmul,
    _BACKENDS.mkldnn.conv,
    _BACKENDS.mkldnn.rnn,
)
"""Where torch keeps whether products of float32 may be computed with fewer digits, as TF32 or bfloat16."""


def present() -> list[str]:
    """The devices that there are here: the CPU, and those of one kind of accelerator."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return ["cpu", *(f"{found.type}:{i}" for i in range(torch.accelerator.device_count()) if found is not None)]


def device_named(name: str) -> torch.device:
    """The device that is meant by "auto", "cpu", "cuda", "cuda:1" or "mps".

    Raises:
        InputError: it is not there.
    """
    there = present()
    if name == AUTO:
        return torch.device("cuda:0" if "cuda:0" in there else "cpu")
    wanted = name if ":" in name or name == "cpu" else f"{name}:0"
    if wanted not in there:
        raise InputError(
            f"device {name!r}",
            rule=f"here are {', '.join(there)}",
            remedy="Use one of them, or auto; torch sees a GPU only where its build is made for it and a driver runs",
        )
    return torch.device(wanted)


def of_workers(name: str | None, count: int) -> tuple[torch.device, ...]:
    """A device for each of `count` workers: all of an accelerator's in turn where its name has no number ("cuda"), else
    the one that is named; none where none is.

    Raises:
        InputError: it is not there.
    """
    if name is None:
        return ()
    named = device_named(name)
    alike = [torch.device(other) for other in present() if name in other.split(":")[:1]] or [named]
    return tuple(alike[number % len(alike)] for number in range(count))


def about(device: torch.device) -> dict[str, Any]:
    """What results on a device follow from, as plain data; of a CUDA device its name, versions and settings."""
    found: dict[str, Any] = {"products": "exact float32"}
    if device.type == "cuda":
        found |= {
            "name": torch.cuda.get_device_name(device),
            "cuda": torch.version.cuda,
            "cudnn": backends.cudnn.version(),
            "tf32": False,
            "deterministic": "where there are such kernels",
        }
    return found


@contextmanager
def exact() -> Iterator[None]:
    """Products of float32 with all their digits, and kernels that add in one order where there are such, whatever the
    caller has switched on. On CUDA the first choice of kernels is taken, not the fastest in a trial."""
    with ExitStack() as stack:
        stack.enter_context(_all_digits())
        stack.enter_context(_set(backends.cudnn, "benchmark", False))
        stack.enter_context(_set(backends.cudnn, "deterministic", True))
        if torch.cuda.is_available():
            stack.enter_context(_deterministic())
        yield


@contextmanager
def _all_digits() -> Iterator[None]:
    """No TF32, nor bfloat16 in products of float32, by torch's new names for it and by the old ones.

    Some of torch, such as its export, asks by the old ones, and gets an error where the two say different things.
    """
    before = [place.fp32_precision for place in _PRODUCTS]
    try:
        old = torch.get_float32_matmul_precision(), backends.cudnn.allow_tf32
    except RuntimeError:  # the caller has made them differ
        old = None
    if old is not None:
        torch.set_float32_matmul_precision("highest")
        backends.cudnn.allow_tf32 = False
    for place in _PRODUCTS:
        place.fp32_precision = "ieee"
    try:
        yield
    finally:
        if old is not None:
            torch.set_float32_matmul_precision(old[0])
            backends.cudnn.allow_tf32 = old[1]
        for place, precision in zip(_PRODUCTS, before, strict=True):
            place.fp32_precision = precision


@contextmanager
def _set(place: Any, name: str, value: object) -> Iterator[None]:
    before = getattr(place, name)
    setattr(place, name, value)
    try:
        yield
    finally:
        setattr(place, name, before)


@contextmanager
def _deterministic() -> Iterator[None]:
    """Deterministic operators on CUDA; those that have no such form run as they are, without a warning each."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it begins
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    with (
        warnings.catch_warnings(),
        _set(torch.utils.deterministic, "fill_uninitialized_memory", False),  # nothing here reads such memory
    ):
        warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation")
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def sent(images: Tensor, device: torch.device) -> Tensor:
    """Images on a device. To a GPU they go from pinned memory, while it still computes what was asked of it before."""
    if device.type == "cuda" and images.device.type == "cpu":
        return images.pin_memory().to(device, non_blocking=True)
    return images.to(device)


def generators_kept(device: torch.device) -> AbstractContextManager[None]:
    """What is drawn inside from torch's own generators, on the CPU and on the device, leaves them as they were."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
