"""What quantization leaves of certified accuracy: one network trained on Gaussian noise, float, at 8 and 4 bits, and as
integers in ONNX Runtime.

python benchmarks/certified.py CIFAR10_ROOT FOLDER [IMAGES]

ResNet-4B, trained on the first 5,000 CIFAR-10 images under noise of 0.25 (`cohen2019` in 10 epochs), then 2 epochs of
LSQ w4a4 under the same noise (`cohen2019-quantized`); kept in FOLDER, where a stopped run goes on. Post-training copies
are calibrated on 256 images under the noise, and on clean ones for comparison. Certified are the first IMAGES test
images (200), 1,000 draws each, alpha 0.001, which reach 2.46 sigma at most. The figure is certified_accuracy.svg beside
the numbers. `incremental` certifies both post-training copies of half of the images again, from the float model's
counts and 300 shared draws. A network that never saw noise is what the warning has to tell.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import bitproof as bp
from bitproof.defences import Smoothing, incremental
from bitproof.deploy import export_onnx, integer_form, load_onnx
from bitproof.experiment import make
from bitproof.quant import UnderNoise
from bitproof.train import RECIPES, standard
from common import RESULTS, kept

SIGMA, TRAINED, DRAWS = 0.25, 5000, 1000
RADII = (0.0, 0.125, 0.25, 0.375, 0.5)
CURVE = np.linspace(0, 2.5 * SIGMA, 101)
FAST = {"batch_size": 128, "learning_rate": 0.01, "optimizer": "adamw", "schedule": "one-cycle", "milestones": ()}


def main(root: str, folder: str, count: int) -> None:
    train = bp.load_data("cifar10", root=root, split="train", limit=TRAINED)
    test = bp.load_data("cifar10", root=root, split="test", limit=count)
    start, where = bp.load_model("resnet4b", seed=0), {"architecture": "resnet4b", "folder": folder, "progress": False}
    model = make(RECIPES["cohen2019"](epochs=10, **FAST), start, train, **where)
    noisy = UnderNoise(images=train.take(256), sigma=SIGMA)
    trained = RECIPES["cohen2019-quantized"](epochs=2, batch_size=128, learning_rate=0.005)
    w8a8 = bp.quantize(model, "w8a8", noisy)
    models: dict[str, nn.Module] = {
        "float": model,
        "w8a8, ONNX Runtime": exported(w8a8, noisy),
        "w4a4": bp.quantize(model, "w4a4", noisy),
        "w8a8": w8a8,
        "w4a4, calibrated on clean images": bp.quantize(model, "w4a4", train.take(256)),
        "w4a4, trained": make(trained, model, train, **where),
    }
    images, labels = test.images(np.arange(len(test))), torch.from_numpy(test.labels)
    smoothing = Smoothing(sigma=SIGMA, draws=DRAWS)
    about = {"n": count, "draws": DRAWS, "sigma": SIGMA, "train": TRAINED, "threads": torch.get_num_threads()}
    curves = {}
    for name, tested in models.items():
        began = time.thread_time()
        examined = smoothing(tested).examine(images)
        refused = examined.refused if examined.refused is not None else torch.zeros(count, dtype=torch.bool)
        right = (examined.logits.argmax(1) == labels) & ~refused
        held = torch.where(right, examined.values["radius"], 0.0)
        curves[name] = [float(((held >= r) & (held > 0)).float().mean()) for r in CURVE]
        claim: dict[str, Any] = {f"certified at {r:g} %": percent((held >= r) & (held > 0)) for r in RADII}
        claim["average radius"] = round(float(held.mean()), 4)
        claim["right without noise %"] = percent(tested(images).argmax(1) == labels)
        claim["no answer %"] = percent(refused)
        claim["CPU s"] = round(time.thread_time() - began, 1)
        kept("certified", name, claim, about)
        draw(curves)
    plain = make(standard(epochs=5, augmentation="crop-flip", **FAST), start, train, **where)
    first = smoothing(plain).counts(images[:50], "first", 100).argmax(1)
    claim = dict[str, Any]() | {
        "right without noise %": percent(plain(images).argmax(1) == labels),
        "right under noise, of 50 %": percent(torch.from_numpy(first) == labels[:50]),
        "warning": smoothing(plain).doubts(images[:50]),
    }
    kept("certified", "never trained on noise", claim, about)
    half = count // 2
    own, found = incremental(
        smoothing, model, {name: models[name] for name in ("w8a8", "w4a4")}, images[:half], paired=300
    )
    claim = {"n": half}
    for name, certificates in {"float": own, **found}.items():
        right = certificates.classes == labels[:half].numpy()
        claim[f"{name}, average radius"] = round(float((certificates.radii * right).mean()), 4)
        claim[f"{name}, draws an image"] = certificates.draws
    kept("certified", "incremental", claim, about)


def exported(quantized: nn.Module, images: UnderNoise) -> nn.Module:
    """The session of what bitproof exports."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        export_onnx(integer_form(quantized, images), file)
        return load_onnx(file)


def percent(rows: torch.Tensor) -> float:
    return round(100 * float(rows.float().mean()), 1)


def draw(curves: dict[str, list[float]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    for name, curve in curves.items():
        axes.step(CURVE, 100 * np.array(curve), where="post", label=name)
    axes.set(xlabel="l2 radius", ylabel="certified accuracy, %", ylim=(0, None), xlim=(0, CURVE[-1]))
    axes.legend(fontsize=7, frameon=False)
    figure.savefig(RESULTS / "certified_accuracy.svg", metadata={"Date": None})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 200)
