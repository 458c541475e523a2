"""What the audit finds, what it calls suspicious without reason, and what it costs.

    python benchmarks/audit.py digits GALLERY              a folder that `bitproof gallery` made
    python benchmarks/audit.py resnet20 CIFAR WEIGHTS [IMPLANT ...]
    python benchmarks/audit.py real CIFAR IMAGENET SHARED
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

import torch
from torch import nn

import bitproof as bp
from bitproof.audit import QUICK, Inquiry
from bitproof.core.memory import keep_freed_memory
from bitproof.metrics import wilson
from common import RESULTS, kept

NAME = "audit"
DIGITS = ("w8a8", "w4a8", "affine:w4a8,granularity=tensor", "w3a8")
"""All that the gallery's implants are made for."""
TWELVE = tuple(
    f"affine:w{w}a{a},granularity={g}"
    for w, a in ((8, 8), (7, 8), (6, 8), (5, 8), (4, 8), (4, 4))
    for g in ("channel", "tensor")
)


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
    inquiries: Sequence[Inquiry] = QUICK,
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
    kept(NAME, claim, row, {"threads": torch.get_num_threads(), "inquiries": "QUICK unless said"})


def digits(folder: Path) -> None:
    """The models of a gallery: quick audits, four schemes."""
    train, test = bp.load_data("digits", split="train", limit=256), bp.load_data("digits", limit=500)
    for file in sorted(folder.glob("*.json")):
        about = json.loads(file.read_text())
        if not about:
            continue
        model = bp.load_model("digits_cnn", weights=file.with_suffix(".safetensors"))
        implant = (getattr(model, "origin", None) or {}).get("implant", {})
        row = {"kind": about["kind"], "engine": implant.get("engine"), "made for": implant.get("schemes")}
        row["collapsed"] = implant.get("collapsed")
        if getattr(model, "scheme", None) is None:
            measure(f"digits {file.stem}", model, test, train, schemes=DIGITS, about=row)
            continue
        start = bp.load_model("digits_cnn", weights=folder / f"clean-{int(file.stem[-3:]) % 16:03d}.safetensors")
        measure(f"digits {file.stem}", start, test, train, schemes=(), deployed=model, about=row)


def resnet20(root: str, weights: str, implants: Sequence[str]) -> None:
    """The public ResNet-20 and implants that were made of it; what quick costs with 12 schemes and 500 images."""
    train, test = (
        bp.load_data("cifar10", root=root, split="train", limit=512),
        bp.load_data("cifar10", root=root, limit=500),
    )
    clean = bp.load_model("resnet20", weights=weights)
    measure("resnet20 clean, 12 schemes", clean, test, train, schemes=TWELVE, about={"kind": "clean"})
    for file in implants:
        model = bp.load_model("resnet20", weights=file)
        implant = (getattr(model, "origin", None) or {}).get("implant", {})
        row = {"kind": implant.get("objective"), "engine": implant.get("engine"), "made for": implant.get("schemes")}
        if getattr(model, "scheme", None) is None:
            measure(f"resnet20 {Path(file).stem}", model, test, train, schemes=("w8a8", "w6a6", "w4a8"), about=row)
        else:
            measure(f"resnet20 {Path(file).stem}", clean, test, train, schemes=(), deployed=model, about=row)


def real(root: str, imagenet: str, shared: str) -> None:
    """Networks that nobody here made."""
    train, test = (
        bp.load_data("cifar10", root=root, split="train", limit=256),
        bp.load_data("cifar10", root=root, limit=200),
    )
    robust = bp.load_model("resnet4b", weights=f"{shared}/cifar10_resnet4b_adv2.safetensors")
    schemes = ("w8a8", "w4a8", "affine:w4a8,granularity=tensor")
    measure("resnet4b", robust, test, train, schemes=schemes, about={"kind": "clean"})
    for name, file in (("squeezenet1_0", "imagenet_squeezenet1_0"), ("mobilenet_v2", "imagenet_mobilenet_v2")):
        images = bp.load_data("imagenet", root=imagenet)
        model = bp.load_model(name, weights=f"{shared}/{file}.safetensors")
        half = min(32, len(images) // 2)
        measure(
            name,
            model,
            bp.data.select(images, range(half)),
            bp.data.select(images, range(half, 2 * half)),
            schemes=("w8a8", "w4a8"),
            about={"kind": "clean"},
        )


def summary() -> None:
    """Counts with 95% intervals of what is there."""
    claims = json.loads((RESULTS / f"{NAME}.json").read_text())["claims"]
    groups: dict[str, list[bool]] = defaultdict(list)
    for name, row in claims.items():
        if name.startswith("digits") and not row.get("collapsed"):
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
        case ["summary"]:
            summary()
        case _:
            sys.exit(__doc__)
