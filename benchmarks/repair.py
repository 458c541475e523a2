"""What repairs make of implants in the public ResNet-20 on CIFAR-10: accuracy and success before and after.

python benchmarks/repair.py CIFAR10_ROOT WEIGHTS FOLDER PART...

FOLDER holds implants as `bitproof implant` makes them, NAME.safetensors; a part is NAME:SCHEME:REMEDY, with a remedy of
`bitproof list remedies` alone, `nearest`, or `all` for the whole of `bitproof repair`, whose own searches for triggers
choose. Repaired with 500 training images that no implant was made with, judged on test images. Each part is written
down when it is there.
"""

import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

import bitproof as bp
from bitproof.audit import REMEDIES
from bitproof.core.memory import keep_freed_memory
from bitproof.settings import build, parse
from bitproof.shifts import Trigger
from common import accuracy, kept

FIRST, COUNT, TEST, SEED = 20_000, 500, 1_000, 0
NAME = "repair"


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


def main(root: str, weights: str, folder: Path, parts: list[str]) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
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


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
