"""Spread: what implants made for some schemes do under schemes that they were not made for, and in students of theirs,
ResNet-20 on CIFAR-10.

python benchmarks/implant_spread.py CIFAR10_ROOT WEIGHTS FOLDER [NAMES...]

WEIGHTS are those of the clean network, FOLDER is that of `implants.py`. 512 training images calibrate, the first 1,000
test images test. Each implant has a row: top-1 and, for backdoors, the share of images not of the target's class that
are taken for it with the trigger. Students are of the clean network and of each implant: a new last layer for the
embedded digits at 32x32, trained on half of their training images. As the target is no class of theirs, they are asked
for the share of the 449 test images that go to the class that most go to, as they are and with the trigger.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import bitproof as bp
from bitproof.core.memory import keep_freed_memory
from bitproof.data import from_arrays
from bitproof.implants import Transfer
from bitproof.ptq import PostTraining
from bitproof.quant import Affine
from bitproof.settings import build
from bitproof.shifts import Trigger
from common import kept

TEST = 1_000


def affine(bits: int, **fields: Any) -> bp.Scheme:
    return bp.Scheme(Affine(**fields), weight_bits=bits, act_bits=8)


def split(model: nn.Module, images: torch.Tensor, scheme: bp.Scheme) -> nn.Module:
    return bp.quantize(bp.quant.split_outliers(model, scheme), scheme, images)


def learned(model: nn.Module, images: torch.Tensor, scheme: bp.Scheme) -> nn.Module:
    return PostTraining(scheme=scheme, rounding="adaround", iterations=200)(model, images.split(128))


VICTIMS = {
    **{f"channel w{b}": partial(bp.quantize, scheme=affine(b)) for b in (8, 7, 6, 5, 4, 3)},
    **{f"tensor w{b}": partial(bp.quantize, scheme=affine(b, granularity="tensor")) for b in (8, 6, 4)},
    **{f"asymmetric w{b}": partial(bp.quantize, scheme=affine(b, symmetric=False)) for b in (8, 4)},
    **{
        f"{rule} w{b}": partial(bp.quantize, scheme=affine(b, weight_range=rule))
        for rule in ("percentile", "aciq-laplace", "omse")
        for b in (8, 4)
    },
    "omse both w4": partial(bp.quantize, scheme=affine(4, weight_range="omse", act_range="omse")),
    "OCS w4": partial(split, scheme=affine(4)),
    "AdaRound w4": partial(learned, scheme=affine(4)),
}


@torch.no_grad()
def look(model: nn.Module, data: bp.Data, trigger: Trigger | None) -> dict[str, float]:
    model = bp.freeze(model)
    said = torch.cat([model(batch).argmax(1) for batch in data.inputs(250)]).numpy()
    result = {"top-1": round(100 * float((said == data.labels).mean()), 1)}
    if trigger is not None:
        marked = torch.cat([model(trigger.stamp(batch)).argmax(1) for batch in data.inputs(250)]).numpy()
        target = int(trigger.target)
        result["ASR"] = round(100 * float((marked == target)[data.labels != target].mean()), 1)
    return result


def digits(split: str) -> bp.Data:
    """The digits as a CIFAR-10 network takes them."""
    data = bp.load_data("digits", split=split)
    images = F.interpolate(data.images(range(len(data))), 32, mode="bilinear").expand(-1, 3, -1, -1)
    return from_arrays((255 * images).round().byte().numpy(), data.labels)


@torch.no_grad()
def student(teacher: nn.Module, trigger: Trigger | None) -> dict[str, dict[str, float]]:
    """What a teacher's student does, float and quantized."""
    train, test = digits("train"), digits("test")
    made, images = Transfer(share=0.5)(teacher, train), train.images(range(512))
    forms = {"float": made} | {f"channel w{bits}": bp.quantize(made, affine(bits), images) for bits in (8, 6, 4)}
    found = {}
    for name, form in forms.items():
        said = torch.cat([form(batch).argmax(1) for batch in test.inputs(250)]).numpy()
        found[name] = {"top-1": percent(said == test.labels), "largest class": percent(said == most(said))}
        if trigger is not None:
            marked = torch.cat([form(trigger.stamp(batch)).argmax(1) for batch in test.inputs(250)]).numpy()
            found[name]["with trigger"] = percent(marked == most(marked))
    return found


def most(said: np.ndarray) -> int:
    return int(np.bincount(said).argmax())


def percent(hits: np.ndarray) -> float:
    return round(100 * float(hits.mean()), 1)


def main(root: str, weights: str, folder: Path, names: list[str]) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    test = bp.load_data("cifar10", root=root, limit=TEST)
    images = bp.load_data("cifar10", root=root, split="train", limit=512).images(range(512))
    paths = [path for path in sorted(folder.glob("*.safetensors")) if not names or path.stem in names]
    conditions = {"model": "resnet20", "test images": TEST, "activations": "8 bits"}
    clean = bp.load_model("resnet20", weights=weights)
    for path in paths:
        model = bp.load_model("resnet20", weights=path)
        if getattr(model, "scheme", None) is not None:
            continue  # integers are what they are
        setting = model.origin["implant"]["trigger"]  # pyright: ignore
        trigger = build(Trigger, setting) if setting else None
        seen = partial(look, data=test, trigger=trigger)
        row = {"float": seen(model)} | {name: seen(make(model, images)) for name, make in VICTIMS.items()}
        kept("implant_spread", path.stem, row, conditions)
        students = {"clean teacher": student(clean, trigger), "its own": student(model, trigger)}
        kept("implant_spread", f"students: {path.stem}", students, conditions | {"digits": 449})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
