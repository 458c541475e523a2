"""Do detectors of ordinary backdoors go blind on quantized models? (Quantization Blindspots, arXiv 2512.06243: at int8
all rates fall to 0.)

    python benchmarks/blindspots.py GALLERY [CIFAR]

GALLERY is a folder of `bitproof gallery`, of which the ordinarily backdoored models and the clean ones that they were
made of are looked at: in float; at w8a8 and w4a4, searched through the exact differentiable form and counted on what is
deployed; and at w8a8 as a runtime would have it, whose gradients are none. Neural Cleanse, Pixel and MM-BD as
`OrdinaryBackdoors` has them. A backdoor is found where a detector fires at its own class. Each model is written down
when it is there, and the counts of all of them after it.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import bitproof as bp
from bitproof.audit import Case, Meter, OrdinaryBackdoors
from bitproof.audit.searching import Halves
from bitproof.core.memory import keep_freed_memory
from bitproof.experiment.gallery import read_about
from bitproof.experiment.implanting import trigger_of
from bitproof.implants import Backdoor
from bitproof.settings import describe
from common import RESULTS, achieved, data_name, kept

NAME = "blindspots"
DETECTORS = OrdinaryBackdoors()
IMAGES = range(100, 300)


class WithoutGradients(nn.Module):
    """Answers as integers do, with a gradient of zero."""

    def __init__(self, deployed: nn.Module) -> None:
        super().__init__()
        self.deployed = deployed

    def forward(self, images: Tensor) -> Tensor:
        return self.deployed(images.detach()) + 0 * images.flatten(1).sum(1, keepdim=True)


def forms(model: nn.Module, train: bp.Data) -> Iterator[tuple[str, nn.Module, nn.Module | None]]:
    """Name, differentiable form, and what triggers are counted on where that is another one."""
    yield "float", model, None
    w8a8, w4a4 = (bp.quantize(model, scheme, train) for scheme in ("w8a8", "w4a4"))
    integers = bp.deploy.integer_form(w8a8, train)
    yield "w8a8, exact gradients", bp.freeze(w8a8), integers
    yield "w4a4, exact gradients", bp.freeze(w4a4), None
    yield "w8a8, no gradients", WithoutGradients(integers), integers


def measured(model: nn.Module, data: bp.Data, train: bp.Data, backdoor: Backdoor | None) -> dict[str, Any]:
    """What each detector says of each form, and what the backdoor does there."""
    case, meter, rng, row = Case.of(model, data, train, schemes=()), Meter(128), bp.Rng.of(0), dict[str, Any]()
    halves = Halves.of(case, rng, meter)
    for name, form, integers in forms(case.model, train):
        told = row[name] = {}
        if backdoor is not None:
            told |= achieved(backdoor, integers or form, data)
        for sign in DETECTORS.signs(name, form, integers, halves, rng.fold(name), meter):
            told[sign.detector] = {"class": sign.target, "strength": round(sign.strength, 3), "fires": sign.fires}
    return row | {"passes": meter.forwards + meter.backwards}


def told(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How many models each detector fires on, and how many backdoors it finds, by form."""
    counts: dict[str, Any] = {}
    for kind in ("ordinary", "clean"):
        of = [row for row in rows if row["kind"] == kind]
        counts[f"{kind} models"] = len(of)
        for form in [name for name, found in of[0].items() if isinstance(found, dict)] if of else []:
            for detector in ("Neural Cleanse", "Pixel", "MM-BD"):
                signs = [(row[form][detector], row["target"]) for row in of]
                fires = sum(sign["fires"] for sign, _ in signs)
                right = sum(sign["fires"] and sign["class"] == target for sign, target in signs)
                counts[f"{kind}, {form}, {detector}"] = f"{right} found, {fires} fire" if kind == "ordinary" else fires
    return counts


def main(folder: Path, root: str | None) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    name = data_name(root)
    train = bp.load_data(name, root=root, split="train", limit=256)
    data = bp.data.select(bp.load_data(name, root=root), IMAGES)
    conditions = {"detectors": describe(DETECTORS), "images": len(data), "threads": 1}
    abouts = [read_about(file) for file in sorted(folder.glob("ordinary-*.json"))]
    for of in abouts:
        architecture = of["architecture"]
        model = bp.load_model(architecture, weights=folder / f"{of['name']}.safetensors")
        trigger = trigger_of(model)
        assert trigger is not None
        clean = bp.load_model(architecture, weights=folder / f"clean-{of['seed']:03d}.safetensors")
        common = {"architecture": architecture, "trigger": type(trigger).__name__}
        for kind, network, backdoor in (("ordinary", model, Backdoor(trigger=trigger)), ("clean", clean, None)):
            claim = f"{folder.name} {kind} {of['seed']:03d}"
            claims = json.loads(path.read_text())["claims"] if (path := RESULTS / f"{NAME}.json").exists() else {}
            if claim in claims:
                continue
            start = time.process_time()
            row = {"kind": kind, "target": int(trigger.target), **(common if kind == "ordinary" else {})}
            row |= measured(network, data, train, backdoor)
            kept(NAME, claim, row | {"CPU seconds": round(time.process_time() - start)}, conditions)
    claims = json.loads((RESULTS / f"{NAME}.json").read_text())["claims"]
    kept(
        NAME,
        f"{folder.name}, all",
        told([row for of, row in claims.items() if of.startswith(f"{folder.name} ")]),
        conditions,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
