"""Kills at random moments, and what is left after them. Goal: no fault.

python benchmarks/kills.py [SEED] [SECONDS] [PART ...]      parts below; about 2 s a kill; the bound is 240 s a part

A part is a command that is begun again and again and gets SIGKILL, SIGTERM or SIGINT at a moment drawn evenly from the
time that it takes undisturbed. After each kill: results that were there are there, each output is the old or the whole
new file, a stop that can be heard ended with its code, one message and no traceback, and no process and no shared
memory is left after `GRACE_S`. At the end the command runs through: its outputs are those of an undisturbed run, byte
for byte where they hold no times, and no temporary file is left.

Commands run in forks of this process, which has imported everything, so that most kills hit the work and not the
imports; those with workers are processes of their own, and "starting" kills such ones in their first second. Of parts
that are named, only those are run.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

import bitproof as bp
from bitproof.files import check_place
from common import kept
from forks import begun, line

GRACE_S = 5.0
"""Workers look once a second whether their parent is there."""

ENDS_S = 60.0
"""What a stop may take: a disk that half a gigabyte is on its way to is waited for."""

KILLS = 18
"""A part, if the time allows."""

CODES = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
LARGE = 11_520
"""Inputs and outputs of a layer whose weights are 531 MB."""

COMMAND = "evaluate digits_cnn --data digits --suite quick"
"""What is stopped while it starts."""

OLD = b"old"
"""What an output holds before."""

Check = Callable[[], list[str]]
"""Faults that are found, none if all is well."""


@dataclass(kw_only=True)
class Part:
    """A command that is killed.

    Attributes:
        begin: begins it, with errors to a file; gives the number of the process.
        outputs: files that are old or new as a whole.
        seen: what is noted before a kill and has to be there after it.
        check: what else has to hold after each kill.
        renew: makes everything as it was before the first run.
        final: the same at the very end.
    """

    begin: Callable[[Path], int]
    outputs: tuple[Path, ...] = ()
    seen: Callable[[], set[str]] = set
    check: Check = list
    renew: Callable[[], object] = lambda: None
    final: Check = list


def waited(process: int, seconds: float) -> bool:
    """Wait so long, or until it is through; whether it is."""
    deadline = time.monotonic() + seconds
    while not (through := os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT)):
        if time.monotonic() > deadline:
            break
        time.sleep(0.001)
    return through is not None


def ended(process: int) -> int:
    """Its exit code, as `subprocess` gives it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def message_faults(code: int, kind: signal.Signals, errors: str) -> list[str]:
    """What is wrong with how it ended; 0 is a run that was through before."""
    if code not in (0, CODES[kind]):
        return [f"code {code} after {kind.name}: {errors[-300:]}"]
    if "Traceback" in errors:
        return [f"a traceback after {kind.name}: {errors[-300:]}"]
    if code in (130, 143) and errors.count("stopped: ") != 1:
        return [f"no word, or several, after {kind.name}: {errors[-300:]}"]
    return []


def left_over(session: int, shared: set[str]) -> list[str]:
    """Processes of the session, and shared memory that is new and in nobody's hands, after the grace."""
    deadline = time.monotonic() + GRACE_S
    while found := [*_processes(session), *_orphaned(_shared() - shared)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    for process in _processes(session):
        os.kill(int(process.split()[1]), signal.SIGKILL)
    return found


def _processes(session: int) -> list[str]:
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdecimal():
            with contextlib.suppress(OSError):
                fields = (place / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == session and fields[0] != "Z":
                    found.append(f"process {place.name}")
    return found


def _shared() -> set[str]:
    return {path.name for path in Path("/dev/shm").iterdir()}


def _orphaned(names: set[str]) -> list[str]:
    held = ""
    if names:
        for place in Path("/proc").glob("[0-9]*/maps"):
            with contextlib.suppress(OSError):
                held += place.read_text()
    return [f"shared memory {name}" for name in sorted(names) if name not in held]


def run_part(part: Part, rng: random.Random, seconds: float) -> tuple[int, int, list[str]]:
    """Kills, those that hit the work, and the faults that were found."""
    errors = Path("errors.txt")
    part.renew()
    started = time.monotonic()
    assert ended(part.begin(errors)) == 0, errors.read_text()
    whole = time.monotonic() - started
    deadline = time.monotonic() + seconds
    new = {path: path.read_bytes() for path in part.outputs}
    faults: list[str] = []
    kills = hits = code = 0
    kinds: list[signal.Signals] = []
    while kills < KILLS and time.monotonic() < deadline:
        if code == 0:  # the first, or the last was through
            part.renew()
            for path in part.outputs:
                path.write_bytes(OLD)
        kinds = kinds or rng.sample(list(CODES), len(CODES))
        kind, shared, delay = kinds.pop(), _shared(), rng.uniform(0, whole)
        process = part.begin(errors)
        waited(process, delay)
        seen = part.seen()
        os.kill(process, kind)
        heard = waited(process, ENDS_S)
        os.kill(process, signal.SIGKILL)
        code = ended(process)
        kills, hits = kills + 1, hits + (code != 0)
        found = [] if heard else ["it went on"]
        found += message_faults(code, kind, errors.read_text()) + left_over(process, shared) + part.check()
        found += [f"{len(seen - part.seen())} lost"] if seen - part.seen() else []
        found += [f"{path} is torn" for path in part.outputs if path.read_bytes() not in (OLD, new[path])]
        faults += [f"{kind.name} after {delay:.2f} s: {fault}" for fault in found]
    if ended(part.begin(errors)) != 0:
        faults.append(f"the last run failed: {errors.read_text()[-300:]}")
    faults += [f"{path} is another" for path in part.outputs if path.read_bytes() != new[path]]
    faults += part.final() + [f"{path} is left" for path in Path().rglob(".*.tmp*")]
    return kills, hits, faults


def keys(store: str) -> set[str]:
    """The keys of all readable records."""
    if not Path(store).exists() or not Path(store).stat().st_size:
        return set()
    with bp.Store(store, readonly=True) as opened:
        found = {record.key for record in opened.query(None)}
        return found | {f"damaged {key}" for key in opened.damaged}


def predictions(store: str) -> dict[str, bytes]:
    with bp.Store(store, readonly=True) as opened:
        return {cell.key: cell.predictions.tobytes() + cell.confidences.tobytes() for cell in opened.query()}


def removed(*names: str) -> None:
    for name in names:
        for path in Path().glob(f"{name}*"):
            path.unlink()


def forked(work: Callable[[], object]) -> Callable[[Path], int]:
    """How a fork that does the work is begun."""
    return lambda errors: begun(work, Path(os.devnull), errors)


def spawned(text: str) -> Callable[[Path], int]:
    """How a command line with workers is begun, as a process of its own; it hears signals when this returns."""

    def begin(errors: Path) -> int:
        command = [sys.executable, "-m", "bitproof.cli", *text.split()]
        streams = [
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, str(errors), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666),
        ]
        process = os.posix_spawn(command[0], command, os.environ, file_actions=streams, setsid=True)
        while not _hears(process) and not waited(process, 0):
            pass
        return process

    return begin


def evaluate(more: str, limit: int, begin: Callable[[str], Callable[[Path], int]]) -> Part:
    store = "runs.db"
    whole: dict[str, bytes] = {}

    def renew() -> None:
        if not whole and Path(store).exists():
            whole.update(predictions(store))
        removed(store)

    return Part(
        begin=begin(
            f"evaluate digits_cnn --weights w.safetensors --data digits --limit {limit} --store {store} {more}"
        ),
        seen=lambda: {key for key in _readable(store) if not key.startswith("damaged")},
        check=lambda: [key for key in _readable(store) if key.startswith("damaged")],
        renew=renew,
        final=lambda: [] if predictions(store) == whole else ["other results than those of an undisturbed run"],
    )


def _readable(store: str) -> set[str]:
    try:
        return keys(store)
    except bp.InputError as error:
        # Between the creation of the file and that of its tables it holds nothing that could be lost.
        return set() if "not a bitproof store" in str(error) else {f"damaged: {error}"}


def train() -> Part:
    folder = Path("run")
    whole: dict[str, bytes] = {}
    checkpoints = ("last.safetensors", "best.safetensors")

    def renew() -> None:
        if not whole and folder.exists():
            whole.update({name: (folder / name).read_bytes() for name in checkpoints})
        for path in folder.glob("*"):
            path.unlink()

    def check() -> list[str]:
        faults = []
        for name in checkpoints:
            if (folder / name).exists():
                with contextlib.suppress(bp.InputError):
                    bp.load_model("digits_cnn", weights=folder / name)
                    continue
                faults.append(f"{name} is torn")
        return faults

    def final() -> list[str]:
        return [f"{name} is another" for name in checkpoints if (folder / name).read_bytes() != whole[name]]

    text = f"train standard:epochs=8 digits_cnn --weights w.safetensors --data digits -o {folder}"
    return Part(begin=forked(line(text)), check=check, renew=renew, final=final)


def checkpoint() -> Part:
    model = nn.Linear(LARGE, LARGE)
    path = Path("large.safetensors")

    def check() -> list[str]:
        check_place(path, "a checkpoint")  # as the next start does
        found = [f"{left} is left" for left in Path().glob(".large*")]
        whole = not path.exists() or path.stat().st_size == 4 * LARGE * (LARGE + 1) + _header(path)
        return found + ([] if whole else ["it is torn"])

    return Part(begin=forked(lambda: _saved(model, path)), check=check, renew=lambda: removed(path.name))


def _saved(model: nn.Module, path: Path) -> None:
    sys.argv = ["bitproof"]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        bp.save_model(model, path, architecture="large")
    except SystemExit:
        print("stopped: by hand", file=sys.stderr)
        raise


def _header(path: Path) -> int:
    with path.open("rb") as file:
        return 8 + int.from_bytes(file.read(8), "little")


def starting(rng: random.Random, seconds: float) -> tuple[int, int, list[str], list[float]]:
    """Processes of their own, stopped in the second after they begin to hear it; and when they begin to."""
    faults, heard, kills, hits = [], [], 0, 0
    deadline = time.monotonic() + seconds
    while kills < KILLS and time.monotonic() < deadline:
        kind = rng.choice([signal.SIGTERM, signal.SIGINT])
        started = time.monotonic()
        command = [
            sys.executable,
            "-m",
            "bitproof.cli",
            *["evaluate", "digits_cnn", "--data", "digits", "--suite", "quick"],
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while not _hears(process.pid) and process.poll() is None:
            time.sleep(0.001)
        heard.append(time.monotonic() - started)
        time.sleep(delay := rng.uniform(0, 1))
        process.send_signal(kind)
        _, errors = process.communicate()
        kills, hits = kills + 1, hits + (process.returncode != 0)
        found = message_faults(process.returncode, kind, errors)
        faults += [f"{kind.name} {delay:.2f} s after the start: {fault}" for fault in found]
    return kills, hits, faults, heard


def _hears(process: int) -> bool:
    """Whether SIGTERM has a handler, which Python does not give it."""
    with contextlib.suppress(OSError):
        for text in Path(f"/proc/{process}/status").read_text().splitlines():
            if text.startswith("SigCgt:"):
                return bool(int(text.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


def parts() -> Iterator[tuple[str, Callable[[], Part]]]:
    def fork(text: str) -> Callable[[Path], int]:
        return forked(line(text))

    yield "evaluate", lambda: evaluate("--scheme w4a4 --suite quick", 128, fork)
    yield "evaluate with workers", lambda: evaluate("--suite shifts --workers 2", 200, spawned)
    yield "evaluate with jobs", lambda: evaluate("--suite shifts --jobs 2", 200, spawned)
    yield "train", train
    text = "quantize digits_cnn --weights w.safetensors --data digits --ptq nearest -o q.safetensors"
    yield "quantize", lambda: Part(begin=fork(text), outputs=(Path("q.safetensors"),))
    yield "report", lambda: Part(begin=fork("report all.db -o r.html"), outputs=(Path("r.html"),))
    yield "export", lambda: Part(begin=fork("export all.db -o e.csv"), outputs=(Path("e.csv"),))
    yield "checkpoint of 531 MB", checkpoint


def main(*given: str) -> None:
    numbers = [int(text) for text in given if text.isdecimal()]
    seed, seconds = (*numbers, *(0, 240)[len(numbers) :])[:2]
    named = [name for name in given if not name.isdecimal()]
    known = {**dict(parts()), "starting": None}
    conditions = {"seed": seed, "seconds a part at most": seconds, "grace, s": GRACE_S}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        bp.save_model(bp.load_model("digits_cnn"), "w.safetensors", architecture="digits_cnn")
        data = bp.load_data("digits", limit=128)
        bp.evaluate(bp.load_model("digits_cnn"), data, suite="quick", store="all.db", progress=False)
        for name in named or known:
            part, rng, heard = known[name], random.Random(f"{seed} {name}"), list[float]()
            if part is None:
                kills, hits, faults, heard = starting(rng, seconds)
            else:
                kills, hits, faults = run_part(part(), rng, seconds)
            claim: dict[str, Any] = {"goal": 0, "measured": len(faults), "kills": kills, "hits": hits, "faults": faults}
            if heard:
                claim["s until a stop is heard"] = round(float(np.median(heard)), 3)
            kept("kills", name, claim, conditions)
        os.chdir("/")


if __name__ == "__main__":
    main(*sys.argv[1:])
