"""What the audit finds, what it calls suspicious without reason, and what it costs.

    python benchmarks/audit.py digits GALLERY              a folder that `bitproof gallery` made
    python benchmarks/audit.py resnet20 CIFAR WEIGHTS [IMPLANT ...]
    python benchmarks/audit.py real CIFAR IMAGENET SHARED
    python benchmarks/audit.py cost CIFAR WEIGHTS
    python benchmarks/audit.py summary

Every model is a claim of its own and is kept as soon as there is one: the same command goes on with one that was
stopped. `summary` counts those that are there.
"""

import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import bitproof as bp
from bitproof.audit import QUICK, Case, Disparity, Inquiry, Meter, Pair, Phases, Specialness
from bitproof.audit.nulls import flip_inputs
from bitproof.core.memory import keep_freed_memory
from bitproof.metrics import wilson
from bitproof.settings import describe
from common import RESULTS, kept

NAME = "audit"
SMALL = (Phases(), Disparity(images=100), Specialness(draws=39, enough=3, level=0.025, images=50))
"""What gallery models are asked: 100 images a draw, half of them strange; of integers the pair beside it."""
SMALLEST = (Phases(), Specialness(draws=19, enough=3, level=0.05, images=16))
"""The same of networks that take long: 32 images a draw."""
DIGITS = ("w8a8", "w4a8", "affine:w4a8,granularity=tensor")
TWELVE = 12
"""Schemes of the cost."""


def told(found: bp.Audit, seconds: float) -> dict[str, Any]:
    """What is kept of an audit."""
    row: dict[str, Any] = {"verdict": found.verdict, "n": found.data.count}
    for evidence in found.evidence:
        row[f"{evidence.name} says"] = evidence.says
        row[f"{evidence.name} score"] = evidence.score if evidence.score is None else round(evidence.score, 3)
    special = [e for e in found.evidence if e.name == "specialness" and e.readings]
    if special:
        row["p"] = special[0].readings[0].p_value
        row["draws"] = special[0].readings[0].draws
        row["named"] = {k: v for k, v in vars(special[0].named).items() if v is not None}
    row["passes"] = sum(e.forwards + e.backwards for e in found.evidence)
    return row | {"CPU seconds of the last start": round(seconds, 1)}


def measure(
    claim: str,
    model: nn.Module,
    data: bp.Data,
    calibration: bp.Data,
    *,
    schemes: Sequence[str] | None,
    deployed: nn.Module | None = None,
    inquiries: Sequence[Inquiry],
    about: dict[str, Any],
) -> None:
    """One audit, unless it is there."""
    path = RESULTS / f"{NAME}.json"
    if path.exists() and claim in json.loads(path.read_text())["claims"]:
        return
    store = Path(tempfile.gettempdir()) / "bitproof-audit-benchmark.db"
    start = time.process_time()
    found = bp.audit_model(
        model, data, calibration, schemes=schemes, deployed=deployed, inquiries=inquiries, store=store, progress=False
    )
    row = about | told(found, time.process_time() - start)
    kept(NAME, claim, row, {"threads": torch.get_num_threads(), "asked": [describe(inquiry) for inquiry in inquiries]})


def digits(folder: Path) -> None:
    """The models of a gallery."""
    train, test = bp.load_data("digits", split="train", limit=256), bp.load_data("digits", limit=200)
    for file in sorted(folder.glob("*.json"), key=lambda file: (file.stem[-3:], file.stem)):
        about = json.loads(file.read_text())
        if not about:
            continue
        model = bp.load_model("digits_cnn", weights=file.with_suffix(".safetensors"))
        implant = (getattr(model, "origin", None) or {}).get("implant", {})
        row = {"kind": about["kind"], "engine": implant.get("engine"), "made for": implant.get("schemes")}
        row["collapsed"] = implant.get("collapsed")
        if getattr(model, "scheme", None) is None:
            measure(f"digits {file.stem}", model, test, train, schemes=DIGITS, inquiries=SMALL, about=row)
            continue
        start = bp.load_model("digits_cnn", weights=folder / f"clean-{int(file.stem[-3:]) % 16:03d}.safetensors")
        pair = (Pair(draws=39, level=0.025, images=100), *SMALL)
        measure(f"digits {file.stem}", start, test, train, schemes=(), deployed=model, inquiries=pair, about=row)


def resnet20(root: str, weights: str, implants: Sequence[str]) -> None:
    """The public ResNet-20, and implants that were made of it."""
    train = bp.load_data("cifar10", root=root, split="train", limit=256)
    test = bp.load_data("cifar10", root=root, limit=100)
    clean = bp.load_model("resnet20", weights=weights)
    common = {"inquiries": SMALLEST, "schemes": ("w8a8", "w4a8")}
    measure("resnet20", clean, test, train, about={"kind": "clean"}, **common)
    for file in implants:
        model = bp.load_model("resnet20", weights=file)
        implant = (getattr(model, "origin", None) or {}).get("implant", {})
        row = {"kind": implant.get("objective"), "engine": implant.get("engine"), "made for": implant.get("schemes")}
        claim = f"resnet20 {Path(file).stem}"
        if getattr(model, "scheme", None) is None:
            measure(claim, model, test, train, about=row, **common)
            continue
        pair = (Pair(draws=19, level=0.05, images=32), *SMALLEST)
        measure(claim, clean, test, train, schemes=(), deployed=model, inquiries=pair, about=row)


def real(root: str, imagenet: str, shared: str) -> None:
    """Networks that nobody here made."""
    train = bp.load_data("cifar10", root=root, split="train", limit=64)
    test = bp.load_data("cifar10", root=root, limit=16)
    common = {"inquiries": SMALLEST, "schemes": ("w8a8",), "about": {"kind": "clean"}}
    robust = bp.load_model("resnet4b", weights=f"{shared}/cifar10_resnet4b_adv2.safetensors")
    measure("resnet4b", robust, test, train, **common)
    images = bp.load_data("imagenet", root=imagenet, limit=16)
    ranges, shown = (bp.data.select(images, range(start, start + 8)) for start in (0, 8))
    for name in ("squeezenet1_0", "mobilenet_v2"):
        model = bp.load_model(name, weights=f"{shared}/imagenet_{name}.safetensors")
        measure(name, model, shown, ranges, **common)


def cost(root: str, weights: str) -> None:
    """CPU time of a pass of ResNet-20 in a draw, and what a quick audit with 12 schemes and 500 images takes of it."""
    train = bp.load_data("cifar10", root=root, split="train", limit=128)
    test = bp.load_data("cifar10", root=root, limit=500)
    clean = bp.load_model("resnet20", weights=weights)
    case = Case.of(clean, test, train, schemes=(bp.Scheme(),))
    (form,), meter = case.forms, Meter(128)
    form.wear({})
    flip_inputs(form.worn, bp.Rng(0, np.zeros(1, np.int64)))
    meter.answers(form.worn, case.images[:64])
    start = time.process_time()
    meter.answers(form.worn, case.images[:256])
    each = (time.process_time() - start) / 256
    special = next(inquiry for inquiry in QUICK if isinstance(inquiry, Specialness))
    rest = sum(inquiry.passes(case) * TWELVE for inquiry in QUICK if not isinstance(inquiry, (Specialness, Pair)))
    draw = TWELVE * 2 * min(special.images, 500)
    row = {"CPU ms a pass": round(1000 * each, 2), "passes but for draws": rest, "passes a draw": draw}
    for draws in (9, 13, special.draws):
        row[f"CPU seconds with {draws} draws"] = round((rest + draws * draw) * each)
    kept(NAME, "cost of quick, resnet20, 12 schemes, 500 images", row, {"threads": 1})


def summary() -> None:
    """Counts with 95% intervals of what is there."""
    claims = json.loads((RESULTS / f"{NAME}.json").read_text())["claims"]
    groups: dict[str, list[bool]] = defaultdict(list)
    for name, row in claims.items():
        if name.startswith("digits") and not row.get("collapsed"):  # what is no longer a classifier deceives nobody
            called = row["verdict"] == "suspicious"
            groups[row["kind"]].append(called)
            if row["engine"] and row["kind"] not in ("clean", "ordinary"):
                groups[f"{row['kind']}, {row['engine']}"].append(called)
    for name, called in sorted(groups.items()):
        low, high = wilson(sum(called), len(called))
        print(f"{name}: {sum(called)} of {len(called)} suspicious ({low:.0%} to {high:.0%})")


if __name__ == "__main__":
    torch.set_num_threads(1)
    keep_freed_memory()
    match sys.argv[1:]:
        case ["digits", folder]:
            digits(Path(folder))
        case ["resnet20", root, weights, *implants]:
            resnet20(root, weights, implants)
        case ["real", root, imagenet, shared]:
            real(root, imagenet, shared)
        case ["cost", root, weights]:
            cost(root, weights)
        case ["summary"]:
            summary()
        case _:
            sys.exit(__doc__)
