"""Searches for triggers in the public ResNet-20 on CIFAR-10: an implant beside honest copies, and what detectors say.

python benchmarks/trigger_search.py CIFAR10_ROOT WEIGHTS FOLDER PART...

FOLDER holds implants as `bitproof implant` makes them, NAME.safetensors; a part is NAME:SCHEME:INQUIRY, with NAME
`clean` for the honest model and an inquiry of `bitproof.audit.INQUIRIES` as text. What is quantized itself (integers
whose float model is the clean one) is taken as deployed. 300 training images that no implant was made with. Each part
is written down when it is there.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch

import bitproof as bp
from bitproof.audit import INQUIRIES, Case
from bitproof.core.memory import keep_freed_memory
from bitproof.settings import parse
from common import kept

FIRST, COUNT, SEED = 20_000, 300, 0
NAME = "trigger_search"


def main(root: str, weights: str, folder: Path, parts: list[str]) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    train = bp.load_data("cifar10", root=root, split="train", limit=FIRST + COUNT)
    images = bp.data.select(train, range(FIRST, FIRST + COUNT))
    calibration = train.take(256)
    clean = bp.load_model("resnet20", weights=weights)
    for part in parts:
        name, scheme, how = part.split(":", 2)
        inquiry = parse(how, INQUIRIES, "inquiry")
        model = clean if name == "clean" else bp.load_model("resnet20", weights=folder / f"{name}.safetensors")
        shipped = getattr(model, "scheme", None) is not None
        case = Case.of(
            clean if shipped else model,
            images,
            calibration,
            schemes=() if shipped else (bp.Scheme.parse(scheme),),
            deployed=model if shipped else None,
        )
        start, wall = time.process_time(), time.perf_counter()
        found = inquiry(case, rng=bp.Rng(SEED, np.zeros(1, np.int64)))
        claim = {
            "says": found.says,
            "sentence": found.sentence,
            "score": found.score,
            "readings": {f"{r.statistic}, {r.scheme or 'float'}": [r.value, r.z, r.p_value] for r in found.readings},
            "passes": found.forwards + found.backwards,
            "CPU seconds": round(time.process_time() - start),
            "seconds": round(time.perf_counter() - wall),
        }
        kept(NAME, part, claim, {"model": "resnet20", "images": COUNT, "seed": SEED, "threads": 1})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
