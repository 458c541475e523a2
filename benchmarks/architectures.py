"""Networks that people use, end to end: quantized, evaluated, attacked, made integer, exported, run by ONNX Runtime.

python benchmarks/architectures.py IMAGENET_ROOT [NAME...]

Weights are random (nothing is downloaded), BatchNorm has the statistics of the calibration images, and the label of an
image is what the float model says to it. So this shows that all steps work on a layout of layers and that the steps
agree, and says nothing of accuracy. Deep networks of random weights are chaotic at w8a8: one pixel changed by one step
moves the logits of efficientnet_b0 by 0.4 to 4.3, so one rounding that a runtime turns is seen as hundreds of steps.
Each row is written down when it is there, and the same command goes on with the missing ones; a named one is done
again.
"""

import contextlib
import io
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

import bitproof as bp
from bitproof.core.memory import keep_freed_memory
from common import RESULTS, record

NAME = "architectures"
CLASSES, CALIBRATION = 10, 8
ATTACK = bp.attacks.PGD(eps=1 / 255, steps=2)

SIZES = {
    "timm:densenet121": 64,
    "timm:resnetv2_50": 64,
    "wrn_16_4": 32,
    "torchvision:wide_resnet50_2": 64,
    "timm:convnext_atto": 64,
    "timm:regnetx_002": 64,
    "timm:regnety_002": 64,
    "timm:mobilenetv3_small_100": 64,
    "timm:efficientnet_b0": 64,
    "timm:mobilevit_xxs": 128,
    "timm:mobileone_s0": 64,
    "timm:repvgg_a0": 64,
    "timm:levit_128s": 224,
    "timm:efficientformer_l1": 224,
    "timm:tiny_vit_5m_224": 224,
    "timm:vit_tiny_patch16_224": 224,
    "timm:swin_tiny_patch4_window7_224": 224,
    "torchvision:swin_t": 64,
    "torchvision:inception_v3": 96,
    "torchvision:shufflenet_v2_x0_5": 64,
}
"""Pixels a side, small where the network takes any."""


def prepared(name: str, images: torch.Tensor) -> nn.Module:
    """The float model, with BatchNorm's statistics of the images."""
    model = bp.load_model(name, classes=CLASSES, seed=0)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            norm.train().momentum = None  # the mean of what is seen
    with torch.no_grad():
        model(images)
    return model.eval()


def row(name: str, root: str, folder: Path) -> dict[str, Any]:
    size, count = SIZES[name], 4 if SIZES[name] > 128 else 8
    pictures = bp.load_data("imagenet", root=root, size=size, limit=CALIBRATION + count)
    calibration, images = pictures.images(range(CALIBRATION + count)).split(CALIBRATION)
    model = prepared(name, calibration)
    with torch.no_grad():
        labels = model(images).argmax(1)
    data = bp.from_arrays(images, labels, classes=[str(label) for label in range(CLASSES)])
    start = time.perf_counter()
    quantized = bp.quantize(model, bp.Scheme(weight_bits=8, act_bits=8), calibration.split(4))
    form = bp.deploy.integer_form(quantized, calibration.split(4))
    bp.deploy.export_onnx(form, folder / "q.onnx")
    session = bp.deploy.load_onnx(folder / "q.onnx")
    found = bp.deploy.agreement(form, session, data)
    models = {"float": model, "w8a8": quantized, "integer": form}
    result = bp.evaluate(models, data, conditions=[ATTACK], batch_size=count, progress=False)
    clean = bp.evaluate({"onnx": session}, data, suite="clean", progress=False)
    right = {(cell.model.name, cell.condition.kind): int(cell.correct.sum()) for cell in (*result.cells, *clean.cells)}
    return {
        "images": count,
        "pixels": size,
        "integer layers": len(form.layers()),
        **{f"{who} predicts as float": right[who, "clean"] for who in ("w8a8", "integer", "onnx")},
        **{f"{who} stands under {ATTACK.label}": right[who, "attack"] for who in models},
        "onnx gives the logits of the integer form": found.same_logits,
        "largest difference in steps": round(found.steps or 0.0, 4),
        "MB": round((folder / "q.onnx").stat().st_size / 1e6, 2),
        "seconds": round(time.perf_counter() - start, 1),
    }


def main(root: str, names: list[str]) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    path = RESULTS / f"{NAME}.json"
    claims = json.loads(path.read_text())["claims"] if path.exists() else {}
    for name in names or [name for name in SIZES if name not in claims]:
        with tempfile.TemporaryDirectory() as folder:
            try:
                claims[name] = row(name, root, Path(folder))
            except bp.InputError as error:
                claims[name] = {"refused": str(error)}
        print(name, claims[name], flush=True)
        with contextlib.redirect_stdout(io.StringIO()):
            record(NAME, claims, {"weights": "random", "attack": ATTACK.label, "threads": 1})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
