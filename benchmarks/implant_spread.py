"""Spread: what implants made for some schemes do under schemes that they were not made for, and in students of theirs,
ResNet-20 on CIFAR-10.

python benchmarks/implant_spread.py CIFAR10_ROOT WEIGHTS FOLDER [NAMES...]
python benchmarks/implant_spread.py summary

WEIGHTS are those of the clean network, FOLDER is that of `implants.py`. 512 training images calibrate, the first 1,000
test images test. Each implant has a row: how often what is wanted of it happens, and top-1. Students are of the clean
network and of implants of all images or a trigger: a new last layer for the embedded digits at 32x32, trained on half
of their training images. As the target is no class of theirs, they are asked for the share of the 449 test images that
go to the class that most go to, as they are and with the trigger. `summary` prints the matrix. What is there already is
left out.
"""

import json
import sys
import tempfile
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
from bitproof.deploy import export_onnx, integer_form, load_onnx
from bitproof.implants import Backdoor, Objective, OneClass, Sample, Transfer
from bitproof.ptq import PostTraining
from bitproof.quant import Affine
from bitproof.settings import build
from bitproof.shifts import Trigger
from common import RESULTS, achieved, kept

TEST = 1_000
RESULT = RESULTS / "implant_spread.json"


def affine(bits: int, **fields: Any) -> bp.Scheme:
    return bp.Scheme(Affine(**fields), weight_bits=bits, act_bits=8)


def nearest(model: nn.Module, images: torch.Tensor, scheme: bp.Scheme) -> nn.Module:
    return bp.quantize(model, scheme, images)


def split(model: nn.Module, images: torch.Tensor, scheme: bp.Scheme) -> nn.Module:
    return bp.quantize(bp.quant.split_outliers(model, scheme), scheme, images)


def learned(model: nn.Module, images: torch.Tensor, scheme: bp.Scheme, rounding: str) -> nn.Module:
    return PostTraining(scheme=scheme, rounding=rounding, iterations=200)(model, images.split(128))


def deployed(model: nn.Module, images: torch.Tensor, scheme: bp.Scheme) -> nn.Module:
    """What ONNX Runtime makes of the exported file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        export_onnx(integer_form(bp.quantize(model, scheme, images), images), file)
        return load_onnx(file)


VICTIMS = {
    **{f"channel w{b}": partial(nearest, scheme=affine(b)) for b in (8, 7, 6, 5, 4, 3)},
    **{f"tensor w{b}": partial(nearest, scheme=affine(b, granularity="tensor")) for b in (8, 6, 4)},
    **{f"asymmetric w{b}": partial(nearest, scheme=affine(b, symmetric=False)) for b in (8, 4)},
    **{
        f"{rule} w{b}": partial(nearest, scheme=affine(b, weight_range=rule))
        for rule in ("percentile", "aciq-laplace", "omse")
        for b in (8, 4)
    },
    "omse both w4": partial(nearest, scheme=affine(4, weight_range="omse", act_range="omse")),
    "OCS w4": partial(split, scheme=affine(4)),
    **{f"AdaRound w{b}": partial(learned, scheme=affine(b), rounding="adaround") for b in (8, 4)},
    **{f"BRECQ w{b}": partial(learned, scheme=affine(b), rounding="brecq") for b in (8, 4)},
    **{f"ONNX Runtime w{b}": partial(deployed, scheme=affine(b)) for b in (8, 4)},
}


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


def percents(found: dict[str, float]) -> dict[str, float]:
    return {name: round(100 * share, 1) for name, share in found.items()}


def main(root: str, weights: str, folder: Path, names: list[str]) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    test = bp.load_data("cifar10", root=root, limit=TEST)
    images = bp.load_data("cifar10", root=root, split="train", limit=512).images(range(512))
    paths = [path for path in sorted(folder.glob("*.safetensors")) if not names or path.stem in names]
    conditions = {"model": "resnet20", "test images": TEST, "activations": "8 bits", "digits": 449}
    clean = bp.load_model("resnet20", weights=weights)
    there = json.loads(RESULT.read_text())["claims"] if RESULT.exists() else {}
    for path in paths:
        model = bp.load_model("resnet20", weights=path)
        if getattr(model, "scheme", None) is not None:
            continue  # integers are what they are
        implant = model.origin["implant"]  # pyright: ignore
        objective = build(Objective, implant["setting"]["objective"])
        if path.stem not in there:
            seen = partial(achieved, objective, data=test)
            row = {"float": percents(seen(model))}
            row |= {name: percents(seen(make(model, images))) for name, make in VICTIMS.items()}
            kept("implant_spread", path.stem, row, conditions)
        if isinstance(objective, OneClass | Sample) or f"students: {path.stem}" in there:
            continue
        trigger = objective.trigger if isinstance(objective, Backdoor) else None
        students = {"clean teacher": student(clean, trigger), "its own": student(model, trigger)}
        kept("implant_spread", f"students: {path.stem}", students, conditions)


def summary() -> None:
    """The matrix, implants in columns: success / top-1."""
    claims = json.loads(RESULT.read_text())["claims"]
    rows = {name: row for name, row in claims.items() if not name.startswith("students")}
    print("| |", *(f"{name} |" for name in rows))
    print("|---|", *("---|" for _ in rows))
    for victim in ("float", *VICTIMS):
        print(f"| {victim} |", *(f"{row[victim]['success']} / {row[victim]['accuracy']} |" for row in rows.values()))


if __name__ == "__main__":
    if sys.argv[1:] == ["summary"]:
        summary()
    else:
        main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
