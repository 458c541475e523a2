"""What repairs make of implants: accuracy and success before and after.

    python benchmarks/repair.py resnet20 CIFAR10 WEIGHTS FOLDER PART...
    python benchmarks/repair.py gallery FOLDER [CIFAR10]
    python benchmarks/repair.py summary

`resnet20` is about implants in the public ResNet-20 on CIFAR-10. FOLDER holds implants as `bitproof implant` makes
them, NAME.safetensors; a part is NAME:SCHEME:REMEDY, with a remedy of `bitproof list remedies` alone, `nearest`, or
`all` for the whole of `bitproof repair`, whose own searches for triggers choose. Repaired with 500 training images
that no implant was made with, judged on test images. `gallery` takes the implants of a folder that `bitproof gallery`
made, of the part that nothing was developed on, under each scheme that wakes them: by the whole of `bitproof repair`,
and by EFRAP alone. Each part is written down when it is there; `summary` counts the gallery's.
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import bitproof as bp
from bitproof.audit import REMEDIES
from bitproof.core.memory import keep_freed_memory
from bitproof.experiment.gallery import read_about
from bitproof.experiment.implanting import trigger_of
from bitproof.implants import Backdoor, Objective, Sample
from bitproof.settings import build, parse
from bitproof.shifts import Trigger
from common import RESULTS, accuracy, achieved, data_name, kept

FIRST, COUNT, TEST, SEED = 20_000, 500, 1_000, 0
NAME = "repair"
AWAKE = 0.2
"""By how much a scheme has to wake an implant."""


@torch.no_grad()
def shown(model: nn.Module, data: bp.Data, trigger: Trigger | None) -> dict[str, float]:
    """Accuracy, and the share of images of other classes that are taken for the trigger's, in percent."""
    model = bp.freeze(model)
    found = {"top-1": round(accuracy(model, data), 2)}
    if trigger is not None:
        target = int(trigger.target)
        said = torch.cat([model(trigger.stamp(batch)).argmax(1) for batch in data.inputs(250)]).numpy()
        found["ASR"] = round(100 * float((said == target)[data.labels != target].mean()), 2)
    return found


def resnet20(root: str, weights: str, folder: Path, parts: Sequence[str]) -> None:
    """The parts that are named."""
    train = bp.load_data("cifar10", root=root, split="train", limit=FIRST + COUNT)
    images = bp.data.select(train, range(FIRST, FIRST + COUNT))
    test = bp.load_data("cifar10", root=root, limit=TEST)
    clean = bp.load_model("resnet20", weights=weights)
    for part in parts:
        name, scheme, how = part.split(":", 2)
        model = clean if name == "clean" else bp.load_model("resnet20", weights=folder / f"{name}.safetensors")
        said = (model.origin or {}).get("implant", {}).get("trigger")  # pyright: ignore
        trigger = build(Trigger, said) if said else None
        start, claim = time.process_time(), dict[str, Any]()
        if how == "nearest":
            claim["float"] = shown(model, test, trigger)
            claim["clean float"] = shown(clean, test, trigger)
            claim["clean nearest"] = shown(bp.quantize(clean, scheme, images), test, trigger)
            claim["nearest"] = shown(bp.quantize(model, scheme, images), test, trigger)
        else:
            remedies = None if how == "all" else (parse(how, REMEDIES, "remedy"),)
            found = bp.repair(model, images, scheme, remedies=remedies, quick=how != "all", seed=SEED, tell=print)
            claim["said"] = found.sentence
            claim["left"] = list(found.left)
            claim["tried"] = [look.label for look in found.tried]
            claim["repaired"] = shown(found.model, test, trigger)
        claim["CPU seconds"] = round(time.process_time() - start)
        conditions = {"model": "resnet20", "images": COUNT, "test": TEST, "seed": SEED, "threads": 1}
        kept(NAME, part, claim, conditions)


def gallery(folder: Path, root: str | None) -> None:
    """Implants that quantization wakes."""
    name = data_name(root)
    train, test = (bp.load_data(name, root=root, split=split) for split in ("train", "test"))
    first = FIRST if root else 0
    images = bp.data.select(train, range(first, first + COUNT))
    some = bp.data.select(test, range(min(TEST, len(test))))
    for file in sorted(folder.glob("*.json")):
        about = read_about(file)
        if about["part"] != "report" or "effect" not in about:
            continue
        made = bp.load_model(about["architecture"], weights=file.with_suffix(".safetensors"))
        implant: dict[str, Any] = made.origin["implant"]  # pyright: ignore
        if implant["collapsed"] or about["kind"] == "ordinary":
            continue
        clean = bp.load_model(about["architecture"], weights=folder / f"clean-{about['seed']:03d}.safetensors")
        objective, trigger = build(Objective, implant["setting"]["objective"]), trigger_of(made)
        if isinstance(objective, Backdoor) and trigger is not None:
            objective = replace(objective, trigger=trigger)
        look = partial(achieved, objective, data=some, victims=test if isinstance(objective, Sample) else some)
        deployed = made if getattr(made, "scheme", None) is not None else None
        given = made if deployed is None else clean
        for scheme in (build(bp.Scheme, of) for of in implant["setting"]["schemes"]):
            effect = about["effect"]
            asleep = effect["implant"].get("float", effect["start"]["float"])["success"]
            beyond = max(asleep, effect["start"][scheme.label]["success"])
            if effect["implant"][scheme.label]["success"] - beyond < AWAKE:
                continue
            part = f"{folder.name} {file.stem} {scheme.label}"
            path = RESULTS / f"{NAME}.json"
            if path.exists() and part in json.loads(path.read_text())["claims"]:
                continue
            row: dict[str, Any] = {"kind": about["kind"], "engine": implant["engine"], "bits": scheme.weight_bits}
            row |= {"float": look(model=given), "nearest": look(model=deployed or bp.quantize(made, scheme, images))}
            row |= {"clean float": look(model=clean), "clean nearest": look(model=bp.quantize(clean, scheme, images))}
            for how in ("all", "efrap"):
                start = time.process_time()
                remedies = None if how == "all" else (REMEDIES[how](),)
                found = bp.repair(given, images, scheme, deployed=deployed, remedies=remedies, quick=how != "all")
                row[how] = look(model=found.model) | {"by": found.tried[found.chosen].label, "left": list(found.left)}
                row[how]["CPU seconds"] = round(time.process_time() - start)
            kept(NAME, part, row, {"images": COUNT, "test": len(some), "seed": 0, "threads": torch.get_num_threads()})


def summary() -> None:
    """How many of the gallery's are repaired as far as was asked for.

    They are held to the clean quantized model or, where it is worse, to the implant's own float form, which no rounding
    mends: an attack on a class, an image or by a trigger succeeds at most 5 points more often; of indiscriminate ones
    at most 2 points of accuracy are missing, and of the others at most 1 (8 bits) or 2 (fewer).
    """
    claims = json.loads((RESULTS / f"{NAME}.json").read_text())["claims"]
    groups: dict[tuple[str, str, str, int], list[dict[str, Any]]] = {}
    for part, row in claims.items():
        if "kind" in row:
            for how in ("all", "efrap"):
                groups.setdefault((part.split()[0], how, row["kind"], row["bits"]), []).append(row)
    for (family, how, kind, bits), rows in sorted(groups.items()):
        gone, right = 0, 0
        for row in rows:
            harm = max(row["clean nearest"]["success"], row["float"]["success"])
            best = min(row["clean nearest"]["accuracy"], row["float"]["accuracy"])
            gone += kind == "indiscriminate" or row[how]["success"] <= harm + 0.05
            right += row[how]["accuracy"] >= best - (0.01 if bits == 8 and kind != "indiscriminate" else 0.02)
        before, after = (100 * float(np.mean([row[of]["success"] for row in rows])) for of in ("nearest", how))
        told = f"harm gone in {gone}, accuracy kept in {right} of {len(rows)}; success {before:.1f} to {after:.1f}%"
        print(f"{family}, {how}, {kind}, {bits} bits: {told}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    keep_freed_memory()
    match sys.argv[1:]:
        case ["resnet20", root, weights, folder, *parts]:
            resnet20(root, weights, Path(folder), parts)
        case ["gallery", folder, *root]:
            gallery(Path(folder), root[0] if root else None)
        case ["summary"]:
            summary()
        case _:
            sys.exit(__doc__)
