"""What the processor does with 8-bit integers, which decides how fast and how exact integer kernels are."""

import functools
import platform
from pathlib import Path

_BEST_FIRST = (("avx512_vnni", "avx512-vnni"), ("avx_vnni", "avx-vnni"), ("avx512bw", "avx512"), ("avx2", "avx2"))


@functools.cache
def integer_instructions() -> str:
    """ "avx512-vnni", "avx-vnni", "avx512" or "avx2"; "neon" on 64-bit ARM; "unknown" away from Linux on x86."""
    if platform.machine() in ("aarch64", "arm64"):
        return "neon"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    flags = next((set(line.split()) for line in lines if line.startswith("flags")), set())
    return next((name for flag, name in _BEST_FIRST if flag in flags), "unknown")
