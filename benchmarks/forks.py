"""Command lines in forks of a process that has imported everything, so that a run is the work and not the imports."""

import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch

import bitproof.cli.app
import bitproof.conditions
import bitproof.deploy
import bitproof.experiment
import bitproof.export
import bitproof.ptq
import bitproof.report.page  # noqa: F401 - all that commands import while they run
from bitproof import cli

torch.set_num_threads(1)  # a fork has no other threads


def line(text: str | list[str]) -> Callable[[], object]:
    """A command line as work."""

    def work() -> None:
        sys.argv = ["bitproof", *(shlex.split(text) if isinstance(text, str) else text)]
        cli.main()

    return work


def begun(work: Callable[[], object], out: Path, errors: Path) -> int:
    """A fork in a session of its own that does the work, and is at it when this returns; its number.

    Args:
        work: what it does, ended by an exit code in `SystemExit` or by its return.
        out, errors: where its streams go.
    """
    ready, told = os.pipe()
    process = os.fork()
    if process:
        os.close(told)
        os.read(ready, 1)
        os.close(ready)
        return process
    os.setsid()
    for number, path in ((1, out), (2, errors)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    code: object = 0
    try:
        os.write(told, b".")
        work()
    except SystemExit as stop:
        code = stop.code
    except BaseException as error:
        sys.stderr.write(f"Traceback: {error!r}")
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0)
