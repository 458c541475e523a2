"""A newcomer's clock: each way to hand over a network or data, from an empty folder, in at most three lines.

python benchmarks/newcomer.py CIFAR10_ROOT IMAGENET_FOLDER WEIGHTS_FOLDER [only=WORD]

For each way an empty folder is made, what the user has already (a file of his own, arrays, a table) is put into it, and
the lines are run by a shell in it; the clock runs over the lines alone. $CIFAR, $PHOTOS and $WEIGHTS are the arguments.
A claim holds the lines, the wall seconds and the exit code; the last, that of a network of one's own on all 10,000
test images, holds the accuracy too, which its authors' weights have to reproduce (77.20%).
"""

import csv
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import bitproof as bp
from common import kept

MOST_LINES = 3

NETS = """
from torch import nn


class Block(nn.Module):
    def __init__(self, inputs, planes, stride):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(inputs, planes, 3, stride, 1), nn.Conv2d(planes, planes, 3, padding=1)
        same = stride == 1 and inputs == planes
        self.shortcut = nn.Sequential() if same else nn.Sequential(nn.Conv2d(inputs, planes, 1, stride))

    def forward(self, x):
        return (self.conv2(self.conv1(x).relu()) + self.shortcut(x)).relu()


class ResNet4B(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 2, 1)
        self.layer1 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1))
        self.layer2 = nn.Sequential(Block(32, 32, 2), Block(32, 32, 1))
        self.linear1, self.linear2 = nn.Linear(512, 100), nn.Linear(100, 10)

    def forward(self, x):
        x = self.layer2(self.layer1(self.conv1(x).relu()))
        return self.linear2(self.linear1(x.flatten(1)).relu())


def make():
    return ResNet4B()
"""
MINE = """
import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

arrays = np.load("mine.npz")
images, labels = torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"])
pairs = TensorDataset(images.permute(0, 3, 1, 2), labels)


def dataset():
    return pairs


def loader():
    return DataLoader(pairs, batch_size=16)
"""

RESNET20 = "resnet20 --weights $WEIGHTS/cifar10_resnet20.safetensors"
OWN = "nets:make --weights $WEIGHTS/cifar10_resnet4b_adv2.safetensors --mean .4914,.4822,.4465 --std .2471,.2435,.2616"
CIFAR = "--data cifar10:$CIFAR"
BRIEF = "--limit 100 --suite clean"


@dataclass(frozen=True)
class Way:
    """One way; `given` puts what the user has into the folder, `python` says that the lines are Python's."""

    name: str
    lines: tuple[str, ...]
    given: Callable[[Path], None] | None = None
    python: bool = False


def nets(folder: Path) -> None:
    (folder / "nets.py").write_text(NETS)


def arrays(folder: Path) -> None:
    data = bp.load_data("cifar10", root=ROOTS["CIFAR"], limit=64)
    images = (255 * data.images(range(64))).byte().permute(0, 2, 3, 1).numpy()
    np.savez(folder / "mine.npz", images=images, labels=data.labels)


def mine(folder: Path) -> None:
    arrays(folder)
    (folder / "mine.py").write_text(MINE)


def table(folder: Path) -> None:
    pictures = sorted(Path(ROOTS["PHOTOS"]).rglob("*.JPEG"))[:64]
    with (folder / "mine.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *((path, path.parent.name) for path in pictures)])


def parquet(folder: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    pictures = sorted(Path(ROOTS["PHOTOS"]).rglob("*.JPEG"))[:64]
    names = sorted({path.parent.name for path in pictures})
    columns = {
        "image": [{"bytes": path.read_bytes(), "path": path.name} for path in pictures],
        "label": [names.index(path.parent.name) for path in pictures],
    }
    (folder / "mine").mkdir()
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "mine" / "test-00000-of-00001.parquet")


def shards(folder: Path) -> None:
    pictures = sorted(Path(ROOTS["PHOTOS"]).rglob("*.JPEG"))[:64]
    names = sorted({path.parent.name for path in pictures})
    for number in range(2):
        with tarfile.open(folder / f"val-{number:06d}.tar", "w") as shard:
            for path in pictures[number::2]:
                (folder / "label").write_text(str(names.index(path.parent.name)))
                shard.add(path, f"{path.stem}.jpg")
                shard.add(folder / "label", f"{path.stem}.cls")
    (folder / "label").unlink()


NETWORKS = (
    Way("network: name of a built-in one", (f"bitproof evaluate {RESNET20} {CIFAR} {BRIEF}",)),
    Way("network: timm:NAME", ("bitproof evaluate timm:resnet18 --data imagenet:$PHOTOS --limit 16 --suite clean",)),
    Way(
        "network: torchvision:NAME with weights",
        (
            "bitproof evaluate torchvision:squeezenet1_0 --weights $WEIGHTS/imagenet_squeezenet1_0.safetensors "
            "--data imagenet:$PHOTOS --limit 16 --suite clean",
        ),
    ),
    Way("network: own file", (f"bitproof evaluate {OWN} {CIFAR} {BRIEF}",), nets),
    Way(
        "network: a checkpoint that bitproof saved",
        (
            f"bitproof quantize {RESNET20} {CIFAR} -o q.safetensors",
            f"bitproof evaluate resnet20 --weights q.safetensors {CIFAR} {BRIEF}",
        ),
    ),
    Way(
        "network: own file, quantized and saved",
        (
            f"bitproof quantize {OWN} {CIFAR} -o q.safetensors",
            f"bitproof evaluate nets:make --weights q.safetensors {CIFAR} {BRIEF}",
        ),
        nets,
    ),
    Way(
        "network: an ONNX file",
        (
            f"bitproof quantize {RESNET20} {CIFAR} -o q.safetensors --onnx q.onnx",
            f"bitproof evaluate q.onnx {CIFAR} {BRIEF}",
        ),
    ),
    Way(
        "network: a module in Python",
        (
            "import bitproof as bp, nets, os",
            "data = bp.load_data('cifar10', root=os.environ['CIFAR'], limit=100)",
            "print(bp.evaluate({'mine': nets.make().eval()}, data, suite='clean').table())",
        ),
        nets,
        True,
    ),
)
DATA = (
    Way("data: cifar10:ROOT, several schemes", (f"bitproof evaluate {RESNET20} {CIFAR} {BRIEF} --scheme w8a8",)),
    Way(
        "data: folder:ROOT",
        ("bitproof evaluate timm:resnet18 --data folder:$PHOTOS/val --limit 16 --suite clean --classes $CLASSES",),
    ),
    Way("data: npz:FILE", (f"bitproof evaluate {RESNET20} --data npz:mine.npz {BRIEF}",), arrays),
    Way(
        "data: csv:FILE",
        ("bitproof evaluate timm:resnet18 --data csv:mine.csv --limit 16 --suite clean --classes $LISTED",),
        table,
    ),
    Way(
        "data: hf:FOLDER",
        ("bitproof evaluate timm:resnet18 --data hf:mine --limit 16 --suite clean --classes $LISTED",),
        parquet,
    ),
    Way(
        "data: wds:PATTERN",
        (
            "bitproof evaluate timm:resnet18 --data 'wds:val-{000000..000001}.tar' --limit 16 --suite clean "
            "--classes $LISTED",
        ),
        shards,
    ),
    Way("data: a Dataset of one's own, by name", (f"bitproof evaluate {RESNET20} --data mine:dataset {BRIEF}",), mine),
    Way(
        "data: a DataLoader of one's own, by name", (f"bitproof evaluate {RESNET20} --data mine:loader {BRIEF}",), mine
    ),
    Way(
        "data: a Dataset in Python",
        (
            "import bitproof as bp, mine, os",
            "net = bp.load_model('resnet20', weights=os.environ['WEIGHTS'] + '/cifar10_resnet20.safetensors')",
            "print(bp.evaluate({'mine': net}, bp.from_dataset(mine.pairs), suite='clean').table())",
        ),
        mine,
        True,
    ),
)
WHOLE = Way(
    "accuracy of ResNet-4B from an own file, 10,000 images",
    (f"bitproof evaluate {OWN} {CIFAR} --suite clean --json",),
    nets,
)
ROOTS: dict[str, str] = {}


def timed(way: Way) -> tuple[float, subprocess.CompletedProcess[str]]:
    """Wall seconds of the lines in an empty folder, and how they ended."""
    assert len(way.lines) <= MOST_LINES, way.name
    with tempfile.TemporaryDirectory() as folder:
        if way.given is not None:
            way.given(Path(folder))
        script = f'set -e\nbitproof() {{ "{sys.executable}" -m bitproof "$@"; }}\n' + "\n".join(way.lines)
        command = [sys.executable, "-c", "\n".join(way.lines)] if way.python else ["bash", "-c", script]
        start = time.perf_counter()
        ended = subprocess.run(
            command, cwd=folder, env=os.environ | ROOTS, capture_output=True, text=True, timeout=900, check=False
        )
        return time.perf_counter() - start, ended


def main() -> None:
    ROOTS.update(
        zip(("CIFAR", "PHOTOS", "WEIGHTS"), (str(Path(root).resolve()) for root in sys.argv[1:4]), strict=True)
    )
    pictures = sorted(Path(ROOTS["PHOTOS"]).rglob("*.JPEG"))
    ROOTS["CLASSES"] = str(len({path.parent for path in pictures}))
    ROOTS["LISTED"] = str(len({path.parent for path in pictures[:64]}))
    options = dict(option.split("=") for option in sys.argv[4:])
    failed = []
    for way in (*NETWORKS, *DATA, WHOLE):
        if options.get("only", "") not in way.name:
            continue
        seconds, ended = timed(way)
        claim = {
            "lines": len(way.lines),
            "most": MOST_LINES,
            "seconds": round(seconds, 1),
            "exit code": ended.returncode,
        }
        if ended.returncode:
            failed.append(way.name)
            print(ended.stdout[-1000:], ended.stderr[-2000:], sep="\n")
        elif way is WHOLE:
            row = json.loads(ended.stdout)["table"][0]
            claim |= {"goal": 77.20, "measured": round(100 * row["accuracy"], 2), "n": row["n"]}
        kept("newcomer", way.name, claim, {"threads": os.environ.get("OMP_NUM_THREADS")})
        print(ended.stderr[-600:])
    if failed:
        raise SystemExit(f"failed: {failed}")


if __name__ == "__main__":
    main()
