"""What lanes are worth: attacks by `evaluate`, parts of a batch side by side, against one operator on all cores.

python benchmarks/lanes.py CIFAR10_ROOT WEIGHTS
"""

import sys
from functools import partial
from unittest import mock

import torch

import bitproof as bp
from bitproof.attacks import CW, PGD, AutoAttack
from bitproof.core.memory import keep_freed_memory
from common import ratio, record, rotate


def one_lane(run):
    with mock.patch("bitproof.judging.crafted.lane_count", lambda model, batch_size: 1):
        run()


def main(root: str, weights: str) -> None:
    keep_freed_memory()
    cases = {
        "resnet20, cifar10, 256 images": (
            bp.load_model("resnet20", weights=weights),
            bp.load_data("cifar10", root=root, limit=256),
            [PGD(eps=1 / 255), AutoAttack(eps=8 / 255)],
        ),
        "digits_cnn, digits, 300 images": (
            bp.load_model("digits_cnn"),
            bp.load_data("digits", limit=300),
            [PGD(eps=0.1), CW(steps=20, search_steps=2), AutoAttack(eps=0.05, steps=20, queries=300)],
        ),
    }
    claims = {}
    for case, (model, data, attacks) in cases.items():
        for attack in attacks:
            run = partial(bp.evaluate, {"model": model}, data, conditions=[attack], progress=False)
            times = rotate({"lanes": run, "one lane": partial(one_lane, run)}, repeats=5, warmup=1)
            measured = round(ratio(times, "lanes", "one lane"), 3)
            claims[f"{case}, {attack.label}: time over that of one lane"] = {"measured": measured}
    record("lanes", claims, {"rounds": 5, "threads": torch.get_num_threads()})


if __name__ == "__main__":
    main(*sys.argv[1:])
