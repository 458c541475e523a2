"""Wrong command lines: each has to end with code 2 and one message, before any work. Goal: all do.

python benchmarks/wrong_commands.py [SEED] [COMMAND ...] [SECONDS]      about 0.3 s a line; the bound is 240 s

The lines of `wrong_lines.py`, and valid texts into which a letter is put at a place that the seed decides, each in a
folder of small files, in an order that the seed decides, until all are done or the time is over. What counts as work:
any file that is new, gone or changed, anything on standard output, further words on standard error, or more than
`MOST_CPU_S` of processor time. Of commands that are named, only those are run; claims of the others stay.
"""

import hashlib
import os
import random
import shlex
import signal
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

import bitproof as bp
from common import kept
from forks import begun, line
from wrong_lines import LINES, SPOILT, STARTS, TEXTS

TIMEOUT_S = 30
MOST_CPU_S = 3.0
RANDOM = "note: no --weights, so the model has random ones"
"""What may be said beside the message."""


def prepare() -> None:
    """Make the files that the lines name, in the working folder."""
    bp.save_model(bp.load_model("digits_cnn"), "w.safetensors", architecture="digits_cnn")
    bp.save_model(bp.load_model("digits_cnn", classes=7), "other.safetensors", architecture="digits_cnn", classes=7)
    train = bp.load_data("digits", split="train", limit=64)
    quantized = bp.quantize(bp.load_model("digits_cnn"), bp.Scheme("affine", weight_bits=4, act_bits=4), train)
    bp.save_model(quantized, "q.safetensors", architecture="digits_cnn")
    Path("torn.safetensors").write_bytes(Path("w.safetensors").read_bytes()[:999])
    data = bp.load_data("digits", limit=8)
    bp.evaluate(bp.load_model("digits_cnn"), data, suite="clean", store="runs.db", progress=False)
    bp.Store("none.db").close()
    recipe = bp.train.standard(epochs=1)
    start = bp.load_model("digits_cnn")
    bp.experiment.train(recipe, start, train, output="run", architecture="digits_cnn", progress=False)
    for name in ("link.html", "link.csv"):
        Path(name).symlink_to("runs.db")
    for name in ("hard.html", "hard.csv", "runs.csv"):
        Path(name).hardlink_to("runs.db")
    Path("wlink.safetensors").symlink_to("w.safetensors")
    Path("whard.safetensors").hardlink_to("w.safetensors")
    for name in ("folder", "folder.csv", "empty"):
        Path(name).mkdir()
    for name in ("text.db", "text.db.onnx"):
        Path(name).write_text("no database " * 1000)
    Path("empty.db").touch()
    with sqlite3.connect("foreign.db") as database:
        database.execute("CREATE TABLE people (name TEXT)")
    draw = np.random.default_rng(0)
    for folder, classes in {"one": 1, "three": 3, "ten": 10, "eleven": 11}.items():
        for name in "abcdefghijk"[:classes]:
            Path(folder, name).mkdir(parents=True)
            for i in range(3):
                picture = Image.fromarray(draw.integers(0, 256, (32, 32, 3), np.uint8))
                picture.save(Path(folder, name, f"{i}.png"))


def lines_of(command: str, rng: random.Random) -> list[list[str]]:
    """The arguments of all wrong lines of a command, in an order that the generator decides."""
    texts = [line.strip() for line in LINES[command].splitlines() if line.strip()]
    for text in TEXTS.get(command, ()):
        words = text.split()
        for _ in range(SPOILT):
            place = 1 if text.startswith(("--", "!")) else 0
            at = rng.randrange(len(words[place]) + 1)
            texts.append(" ".join([*words[:place], words[place][:at] + "§" + words[place][at:], *words[place + 1 :]]))
    rng.shuffle(texts)
    return [shlex.split(t.removeprefix("!") if t.startswith("!") else f"{STARTS[command]} {t}") for t in texts]


def tree() -> dict[str, str]:
    """All files of the working folder, with a hash of each."""
    files = (path for path in Path().rglob("*") if path.is_file())
    return {str(path): hashlib.blake2b(path.read_bytes()).hexdigest() for path in files}


def run(arguments: list[str], out: Path, errors: Path) -> tuple[int | None, float]:
    """Exit code (None = out of time), and seconds of processor time."""
    process, deadline = begun(line(arguments), out, errors), time.monotonic() + TIMEOUT_S
    while not os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) and time.monotonic() < deadline:
        time.sleep(0.005)
    late = time.monotonic() >= deadline
    if late:
        os.killpg(process, signal.SIGKILL)
    _, status, usage = os.wait4(process, 0)
    return None if late else os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime


def faults(arguments: list[str], before: dict[str, str], streams: tuple[Path, Path]) -> list[str]:
    """What is wrong with the answer to a wrong line."""
    code, seconds = run(arguments, *streams)
    out, err = (path.read_text(errors="replace") for path in streams)
    words = [line for line in err.splitlines() if line.strip() and line != RANDOM]
    usage = "╭─ Error" in err  # of an option or argument that there is not, or a number out of its range
    found = {
        f"code {code}": code != 2,
        "a traceback": "Traceback" in err,
        "no message": not words,
        "several messages": not usage and len(words) > 1,
        "words on standard output": bool(out.strip()),
        "a message of over 3,000 letters": len(err) > 3000,
        f"{seconds:.1f} s of processor time": seconds > MOST_CPU_S,
        "files changed": tree() != before,
    }
    return [fault for fault, there in found.items() if there]


def main(*given: str) -> None:
    numbers = [int(text) for text in given if text.isdecimal()]
    seed, seconds = (*numbers, *(0, 240)[len(numbers) :])[:2]
    named = [name for name in given if not name.isdecimal()]
    os.environ["COLUMNS"] = "500"
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as aside:
        os.chdir(folder)
        prepare()
        before, streams = tree(), (Path(aside, "out"), Path(aside, "errors"))
        deadline = time.monotonic() + seconds
        for command in named or LINES:
            lines = lines_of(command, random.Random(f"{seed} {command}"))
            bad: list[str] = []
            done = 0
            for arguments in lines:
                if time.monotonic() > deadline:
                    break
                done += 1
                if found := faults(arguments, before, streams):
                    bad.append(f"{shlex.join(arguments)[:200]}: {', '.join(found)}")
                    print(bad[-1], flush=True)
            if done:
                claim = {"goal": 0, "measured": len(bad), "lines": done, "of": len(lines), "wrong": bad}
                kept("wrong_commands", command, claim, {"seed": seed, "timeout of a line, s": TIMEOUT_S})
        os.chdir("/")


if __name__ == "__main__":
    main(*sys.argv[1:])
