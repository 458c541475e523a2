"""Damaged and hostile files for every reader. Goal: each is accepted or refused by an `InputError`, and nothing else.

python benchmarks/fuzzing.py [--seed 0] [--mutations 20000] [--seconds 5] [--megabytes 768] [--only NAME]

The mutations are divided among the readers of `fuzzed.py`. A mutation is drawn from the seed, the reader and its own
number, so that it can be made again. Processes with a limit of memory read the files, many each; one that crashes, or
is killed because it hangs, is counted, and another goes on behind it. What was read in more seconds (of the processor)
or megabytes than the bounds counts as a hang or as memory, and so does every refusal that a `MemoryError` lies behind.
"""

import argparse
import contextlib
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bitproof.errors import InputError
from common import record
from fuzzed import READERS
from mutations import mutated

OUTCOMES = ("refused", "accepted", "other", "hang", "memory", "crash")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mutations", type=int, default=20_000, help="of all readers together")
    parser.add_argument("--seconds", type=float, default=5.0, help="of the processor, to read a file once")
    parser.add_argument("--megabytes", type=int, default=768, help="more than before, for one file")
    parser.add_argument("--only", choices=READERS, help="one reader")
    given = parser.parse_args()
    torch.set_num_threads(1)
    names = [given.only] if given.only else list(READERS)
    each = -(-given.mutations // len(names))
    claims: dict[str, dict[str, Any]] = {}
    for name in names:
        start = time.monotonic()
        counts = fuzz(name, each, given)
        claims[name] = {outcome: counts[outcome] for outcome in OUTCOMES}
        print(f"{name}: {claims[name]}, {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    total = {outcome: sum(counts[outcome] for counts in claims.values()) for outcome in OUTCOMES}
    claims["all"] = {**total, "goal": "0 other, hang, memory, crash"}
    if given.only is None:
        bounds = {"seconds": given.seconds, "megabytes": given.megabytes}
        record("fuzzing", claims, {"seed": given.seed, "mutations": each * len(names), **bounds})
    sys.exit(any(total[outcome] for outcome in OUTCOMES[2:]))


def fuzz(name: str, count: int, given: argparse.Namespace) -> Counter[str]:
    """How many mutations of one reader had each outcome."""
    context = multiprocessing.get_context("fork")
    counts: Counter[str] = Counter()
    number = 0
    while number < count:
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=read_many, args=(name, range(number, count), given, theirs))
        child.start()
        theirs.close()
        try:
            while number < count:
                if not ours.poll(20 * given.seconds):  # the machine may be busy
                    counts["hang"] += 1
                    print(f"{name} {number}: hangs", file=sys.stderr, flush=True)
                    number += 1
                    break
                found, story = ours.recv()
                counts[found] += 1
                if story:
                    print(f"{name} {number}: {story}", file=sys.stderr, flush=True)
                number += 1
        except EOFError:
            counts["crash"] += 1
            print(f"{name} {number}: crashes", file=sys.stderr, flush=True)
            number += 1
        child.kill()
        child.join()
    return counts


def read_many(name: str, numbers: range, given: argparse.Namespace, results: Any) -> None:
    """Write one valid set of files, and read it with one of them damaged, again and again."""
    warnings.simplefilter("ignore")
    for stream in (1, 2):  # codecs are talkative
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    reader = READERS[name]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        reader.write(root)
        files = sorted(path for path in root.rglob("*") if path.is_file())
        whole = {path: path.read_bytes() for path in files}
        reader.read(root)  # which imports what it needs
        bound = given.megabytes * 2**20
        used = _pages("VmSize") + 4 * bound
        resource.setrlimit(resource.RLIMIT_AS, (used, used))
        for number in numbers:
            rng = np.random.default_rng([given.seed, list(READERS).index(name), number])
            damaged = files[rng.integers(len(files))]
            for path in set(root.rglob("*")) - set(files):
                if path.is_file():  # what the last reading left, such as a log
                    path.unlink()
            for path in files:
                path.write_bytes(mutated(whole[path], rng) if path == damaged else whole[path])
            results.send(outcome(lambda: reader.read(root), reader.times * given.seconds, bound))


def outcome(read: Any, seconds: float, bound: int) -> tuple[str, str]:
    """What became of one reading, and what is said of a bad one."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the most memory so far is counted from here
    before, started, found, story = _pages("VmRSS"), time.process_time(), "accepted", ""
    try:
        read()
    except InputError as error:
        found = "memory" if isinstance(error.__cause__, MemoryError) else "refused"
    except Exception as error:
        found = "memory" if isinstance(error, MemoryError) else "other"
        story = "\n".join(traceback.format_exception(error)[-3:])
    if (taken := time.process_time() - started) > seconds:
        found, story = "hang", f"{taken:.1f} s"
    if (more := _pages("VmHWM") - before) > bound:
        found, story = "memory", f"{more / 2**20:.0f} MB"
    return found, story or ("MemoryError" if found == "memory" else "")


def _pages(field: str) -> int:
    """Bytes of memory of this process, as Linux counts them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    main()
