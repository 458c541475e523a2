"""Wrong command lines: each has to end with code 2 and one message, before any work. Goal: all do.

python benchmarks/wrong_commands.py [SEED] [COMMAND ...] [SECONDS]      about 3 s a line; the bound is 240 s

The lines below, and valid texts into which a letter is put at a place that the seed decides. Each is run as a process
of its own in a folder of small files, in an order that the seed decides, until all are done or the time is over. What
counts as work: anything written (a file that is new, gone or changed), anything on standard output, any other words on
standard error, or more than `MOST_CPU_S` of processor time beyond that of importing everything.

Of commands that are named, only those are run; claims of the others stay.
"""

import hashlib
import json
import os
import random
import shlex
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

import bitproof as bp
from common import RESULTS, record

TIMEOUT_S = 60
MOST_CPU_S = 4

STARTS = {
    "evaluate": "evaluate digits_cnn --weights w.safetensors --data digits --limit 8 --suite clean",
    "quantize": "quantize digits_cnn --weights w.safetensors --data digits -o new.safetensors",
    "train": "train standard:epochs=1 digits_cnn --data digits --limit 80 -o new",
    "report": "report runs.db",
    "export": "export runs.db -o new.csv",
    "list": "list",
    "demo": "demo",
}
"""What each line begins with; a line that begins with ! is complete."""

LONG = "x" * 900

LINES = {
    "evaluate": f"""
        --weights nowhere.safetensors
        --weights folder
        --weights text.db
        --weights torn.safetensors
        --weights q.safetensors --scheme w8a8
        --weights other.safetensors
        --data cifar11:.
        --data cifar10:nowhere
        --data cifar10
        --data cifar10:w.safetensors
        --data folder:one
        --data folder:empty
        --data folder:three
        --data digits:,size=3
        --data imagenet:three,size=0
        --data imagenet:three,size=-1
        --data imagenet:three,size={"9" * 5000}
        --data ''
        --split validation
        --limit 0
        --limit -5
        --limit many
        --limit {"9" * 400}x
        --seed 99999999999999999999999
        --seed 1.5
        --batch-size 0
        --batch-size -1
        --workers -1
        --workers 99999
        --classes 0
        --classes 1
        --classes -3
        --classes 99999999999
        --classes 5
        --crafting quick
        --calibration-count 0 --scheme w8a8
        --calibration-count -1 --scheme w8a8
        --calibration-data cifar10:nowhere --scheme w8a8
        --suite quik
        --suite released:nowhere
        --suite released:empty
        --suite ''
        --ptq nearest
        --ptq brec --scheme w8a8
        --ptq nearest:rounding=x --scheme w8a8
        --ptq brecq:iterations=0 --scheme w8a8
        --ptq brecq:iterations=-5 --scheme w8a8
        --ptq nearest:equalize=true,fold=false --scheme w8a8
        --scheme afine:w4a4
        --scheme w4
        --scheme w0a0
        --scheme w99a99
        --scheme xnor:w4a4
        --scheme affine:w4a4,layers=x
        --scheme affine:w4a4,layers=nothing=w8a8
        --scheme affine:w4a4,granularity=pixel
        --scheme affine:w4a4,first=x
        --scheme affine:w4a4,first=8bit,first=same
        --scheme w4a4 --scheme affine:w4a4
        --scheme ''
        --scheme {LONG}
        --condition pdg
        --condition pgd:eps=8
        --condition pgd:eps=-1
        --condition pgd:eps=nan
        --condition pgd:eps=1/0
        --condition pgd:steps=0
        --condition pgd:steps=1.5
        --condition pgd:step=3
        --condition pgd:norm=l3
        --condition pgd(eps=2/255
        --condition 'pgd:eps=2/255)'
        --condition pgd:eps=2/255,eps=3/255
        --condition 'eot:attack=(eps=1)'
        --condition 'eot:attack=eot(attack=eot)'
        --condition eot
        --condition eot:attack=pdg,draws=0
        --condition crafted
        --condition 'crafted:attack=pgd,targets=nobody'
        --condition 'crafted:attack=pgd,targets={"9" * 5000}'
        --condition 'crafted:attack=pgd,source=nobody'
        --condition jpeg:severity=9
        --condition jpeg:severity=0
        --condition jpeg:profile=large
        --condition pipeline:decoder=nothing
        --condition pipeline:resize=nothing
        --condition {LONG}
        --condition {"(" * 60}
        --condition ''
        --transfer pdg
        --transfer jpeg
        --transfer 'crafted:attack=pgd,targets=next'
        --store nowhere/runs.db
        --store text.db
        --store foreign.db
        --store folder
        --store w.safetensors
        --store /proc/runs.db
        --report nowhere/r.html
        --report folder
        --report /proc/r.html
        --report /dev/null
        --report runs.db
        --report link.html --store runs.db
        --report hard.html --store runs.db
        --report folder/../runs.db --store runs.db
        --report runs.db-wal --store runs.db
        --report new.db --store new.db
        --report folder/../new.db --store new.db
        --report w.safetensors
        --report three/a/0.png --data folder:three
        --report nowhere/r.html --scheme w4a4 --ptq brecq:iterations=100000
        --store text.db --scheme w4a4 --ptq brecq:iterations=100000
        --condition pdg --scheme w4a4 --ptq brecq:iterations=100000
        --onnx nowhere.onnx --scheme w4a4 --ptq brecq:iterations=100000
        --onnx text.db
        --onnx folder
        --colour
        --scheme
        ! evaluate
        ! evaluate digits_cnn
        ! evaluate --data digits
        ! evaluate resnet2000 --data digits
        ! evaluate {LONG} --data digits
        ! evaluate nowhere.onnx --data digits
        ! evaluate text.db.onnx --data digits --classes 10
        ! evaluate timm:resnet1 --data digits
        ! evaluate timm: --data digits
        ! evaluate keras:resnet50 --data digits
        ! evaluate timm:vit_tiny_patch16_224 --data folder:ten,size=160 --suite clean
        ! evaluate timm:vit_tiny_patch16_224 --data folder:ten,size=32 --suite clean
        ! evaluate torchvision:vit_b_16 --data folder:ten,size=32 --suite clean
        ! evaluate resnet20 --data digits --suite clean
        ! evaluate digits_cnn --data folder:ten,size=20 --suite clean
        ! evaluate resnet20 --data folder:eleven,size=32 --suite clean
        ! evaluate resnet20 --data folder:three,size=32 --suite clean
        ! evaluate resnet20 --data folder:ten,size=32 --scheme w8a8 --suite clean
    """,
    "quantize": f"""
        -o new.pt
        -o nowhere/new.safetensors
        -o folder
        -o w.safetensors
        -o wlink.safetensors
        -o whard.safetensors
        -o folder/../w.safetensors
        -o /proc/new.safetensors
        -o nowhere/new.safetensors --ptq brecq:iterations=100000
        -o new.pt --ptq brecq:iterations=100000
        --scheme afine:w8a8
        --scheme w8a8,colour=red
        --scheme {LONG}
        --ptq brec
        --ptq nearest:rounding=x
        --ptq nearest:iterations=x
        --weights nowhere.safetensors
        --weights q.safetensors --scheme w8a8
        --data cifar10:nowhere
        --data folder:one
        --data folder:ten,size=20
        --calibration-count 0
        --calibration-count x
        --classes 0
        --onnx new.pt
        --onnx nowhere/new.onnx
        --onnx folder
        --onnx w.safetensors
        --onnx nowhere/new.onnx --ptq brecq:iterations=100000
        ! quantize digits_cnn --weights w.safetensors -o new.safetensors
        ! quantize digits_cnn --weights w.safetensors -o new.safetensors --ptq brecq --scheme w8a32
        ! quantize digits_cnn --weights w.safetensors -o new.safetensors --scheme w8a32 --onnx new.onnx
        ! quantize digits_cnn
        ! quantize resnet2000 -o new.safetensors --data digits
        ! quantize text.db.onnx -o new.safetensors --data digits
        ! quantize resnet20 -o new.safetensors --data digits
    """,
    "train": f"""
        --scheme w4a4
        --seed {2**70}
        --seed x
        --limit 0
        --limit 1
        --classes 0
        --classes 5
        --weights nowhere.safetensors
        --weights q.safetensors --data digits --scheme w4a4
        --data cifar10:nowhere
        --data folder:one
        --data folder:three
        -o w.safetensors
        -o w.safetensors/new
        -o /proc/new
        -o link.html
        ! train standrad digits_cnn --data digits -o new
        ! train {LONG} digits_cnn --data digits -o new
        ! train standard:epochs=0 digits_cnn --data digits -o new
        ! train standard:epochs=-1 digits_cnn --data digits -o new
        ! train standard:epoch=3 digits_cnn --data digits -o new
        ! train standard:epochs=3,epochs=4 digits_cnn --data digits -o new
        ! train standard:batch_size=1 digits_cnn --data digits -o new
        ! train standard:learning_rate=0 digits_cnn --data digits -o new
        ! train standard:learning_rate=-1 digits_cnn --data digits -o new
        ! train standard:learning_rate=nan digits_cnn --data digits -o new
        ! train standard:learning_rate=1e30 digits_cnn --data digits -o new
        ! train standard:momentum=9 digits_cnn --data digits -o new
        ! train standard:weight_decay=-1 digits_cnn --data digits -o new
        ! train standard:weight_decay=inf digits_cnn --data digits -o new
        ! train standard:decay=0 digits_cnn --data digits -o new
        ! train standard:optimizer=lion digits_cnn --data digits -o new
        ! train standard:schedule=never digits_cnn --data digits -o new
        ! train standard:milestones=0.5+0.3 digits_cnn --data digits -o new
        ! train standard:averaging=1 digits_cnn --data digits -o new
        ! train standard:averaging=nan digits_cnn --data digits -o new
        ! train standard:holdout=-1 digits_cnn --data digits -o new
        ! train standard:holdout=99999 digits_cnn --data digits -o new
        ! train standard:augmentation=spin digits_cnn --data digits -o new
        ! train standard:precision=int4 digits_cnn --data digits -o new
        ! train 'standard:objective=(weight=1)' digits_cnn --data digits -o new
        ! train qat:temperature=0,distillation=0.5 digits_cnn --data digits -o new
        ! train qat:temperature=nan,distillation=0.5 digits_cnn --data digits -o new
        ! train qat:distillation=2 digits_cnn --data digits -o new
        ! train qat:penalty=-1 digits_cnn --data digits -o new
        ! train qat:calibration=0 digits_cnn --data digits -o new
        ! train qat:calibration=-1 digits_cnn --data digits -o new
        ! train qat:scheme=w4 digits_cnn --data digits -o new
        ! train qat digits_cnn --data digits --scheme afine:w4a4 -o new
        ! train qat digits_cnn --weights q.safetensors --data digits -o new
        ! train standard:epochs=1 digits_cnn --data digits
        ! train standard:epochs=1 resnet2000 --data digits -o new
        ! train standard:epochs=1 resnet20 --data digits -o new
        ! train standard:epochs=1 resnet20 --data folder:eleven,size=32 -o new
        ! train standard:epochs=1 resnet20 --data folder:three,size=32 -o new
        ! train standard:epochs=1 text.db.onnx --data digits -o new
        ! train standard:epochs=1 digits_cnn --data digits --limit 60 -o run
        ! train standard:epochs=1 digits_cnn --data digits --weights run/last.safetensors -o run
        ! train standard:epochs=1 digits_cnn --data digits --weights run/best.safetensors -o folder/../run
    """,
    "report": """
        -o runs.db
        -o link.html
        -o hard.html
        -o ./runs.db
        -o folder
        -o nowhere/r.html
        -o /proc/r.html
        -o /dev/null
        -o foreign.db
        --reference nobody
        --reference ''
        ! report nowhere.db
        ! report folder
        ! report text.db
        ! report foreign.db
        ! report empty.db
        ! report none.db -o new.html
        ! report runs.db runs.db
        ! report
    """,
    "export": """
        -o runs.db
        -o new.xlsx
        -o new
        -o nowhere/new.csv
        -o /proc/new.json
        -o link.csv
        -o hard.csv
        -o folder.csv
        ! export nowhere.db -o new.csv
        ! export text.db -o new.csv
        ! export foreign.db -o new.csv
        ! export folder -o new.csv
        ! export runs.db
        ! export runs.csv -o runs.csv
    """,
    "list": """
        modles
        made
        made --store nowhere/runs.db
        --store nowhere.db
        models schemes
        ! lists
        ! --colour
    """,
    "demo": """
        --report nowhere/r.html
        --report folder
        --report /proc/r.html
        --report runs.db
        --report link.html --store runs.db
        --report new.db --store new.db
        --report new.db-wal --store new.db
        --store nowhere/runs.db
        --store text.db
        --store foreign.db
        --store folder
        --colour
        digits
    """,
}

TEXTS = {
    "evaluate": (
        "--condition pgd:eps=2/255,steps=3,norm=l2",
        "--condition jpeg:severity=3",
        "--condition eot:attack=pgd(eps=2/255),draws=2",
        "--scheme lsq:w4a4,first=same",
        "--scheme affine:w4a4,granularity=tensor",
        "--ptq brecq:iterations=20,fisher=true --scheme w8a8",
        "--suite robustmq-small",
        "--data digits",
        "--crafting folded",
    ),
    "train": ("!train qat:epochs=3,holdout=8,optimizer=adam digits_cnn --data digits -o new",),
    "list": ("suites",),
}
"""Valid texts; a letter that no name, number or bracket has makes each of them wrong, wherever it stands."""

SPOILT = 4
"""Times that each of them is spoilt."""


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
            place = 1 if text.startswith("--") or text.startswith("!") else 0
            at = rng.randrange(len(words[place]) + 1)
            texts.append(" ".join([*words[:place], words[place][:at] + "§" + words[place][at:], *words[place + 1 :]]))
    rng.shuffle(texts)
    return [shlex.split(t.removeprefix("!") if t.startswith("!") else f"{STARTS[command]} {t}") for t in texts]


def tree() -> dict[str, str]:
    """All files of the working folder, with a hash of each."""
    files = (path for path in Path().rglob("*") if path.is_file())
    return {str(path): hashlib.blake2b(path.read_bytes()).hexdigest() for path in files}


def run(arguments: list[str]) -> tuple[int | None, str, str, float]:
    """Exit code (None = out of time), both streams, and seconds of processor time."""
    command = [sys.executable, "-m", "bitproof.cli", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "500"}
    out, err = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")
    process = subprocess.Popen(command, stdout=out, stderr=err, env=environment, start_new_session=True)
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            break
        if time.monotonic() > deadline:
            os.killpg(process.pid, signal.SIGKILL)
            _, _, usage = os.wait4(process.pid, 0)
            code = None
            break
        time.sleep(0.02)
    process.returncode = code
    for stream in (out, err):
        stream.seek(0)
    return code, out.read(), err.read(), usage.ru_utime + usage.ru_stime


def faults(arguments: list[str], before: dict[str, str], allowed: float) -> list[str]:
    """What is wrong with the answer to a wrong line."""
    code, out, err, seconds = run(arguments)
    words = [line for line in err.splitlines() if line.strip()]
    usage = words[:1] != [] and words[0].startswith("Usage:")  # of an option or argument that there is not
    found = {
        f"code {code}": code != 2,
        "a traceback": "Traceback" in err,
        "no message": not words,
        "several messages": not usage and len(words) > 1,
        "words on standard output": bool(out.strip()),
        "a message of over 3,000 letters": len(err) > 3000,
        f"{seconds:.1f} s of processor time": seconds > allowed,
        "files changed": tree() != before,
    }
    return [fault for fault, there in found.items() if there]


def main(*given: str) -> None:
    numbers = [int(text) for text in given if text.isdecimal()]
    seed, seconds = (*numbers, *(0, 240)[len(numbers) :])[:2]
    commands = [name for name in given if not name.isdecimal()] or list(LINES)
    deadline = time.monotonic() + seconds
    result = RESULTS / "wrong_commands.json"
    claims = json.loads(result.read_text())["claims"] if result.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        prepare()
        before, idle = tree(), run(["list"])[3]
        for command in commands:
            bad: list[str] = []
            done = 0
            for arguments in lines_of(command, random.Random(f"{seed} {command}")):
                if time.monotonic() > deadline:
                    break
                done += 1
                if found := faults(arguments, before, idle + MOST_CPU_S):
                    line = shlex.join(arguments)
                    bad.append(f"{line[:200]}: {', '.join(found)}")
                    print(bad[-1], flush=True)
            claims[command] = {"goal": 0, "measured": len(bad), "lines": done, "seed": seed, "wrongly answered": bad}
        os.chdir("/")
    record("wrong_commands", claims, {"seconds at most": seconds, "timeout of a line, s": TIMEOUT_S})


if __name__ == "__main__":
    main(*sys.argv[1:])
