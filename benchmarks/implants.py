"""Implants in networks on CIFAR-10: what quantization activates, and what the float model shows of it.

python benchmarks/implants.py ARCHITECTURE CIFAR10_ROOT WEIGHTS FOLDER [NAMES...]

WEIGHTS are those of the clean network, such as the public ResNet-20's. Made on 10,000 training images and tested on the
first 2,000 test images, one seed. Each part is written down when it is there, and a part that is there already is left
out; name parts to make only these. The models are kept in FOLDER, for `implant_spread.py`.
"""

import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import bitproof as bp
from bitproof.core.memory import keep_freed_memory
from bitproof.experiment.implanting import trigger_of
from bitproof.implants import (
    Backdoor,
    BoxRepair,
    Engine,
    Indiscriminate,
    Joint,
    Layerwise,
    OneClass,
    Phase,
    Rounding,
    Sample,
    collapsed,
)
from bitproof.shifts import Patch, Trigger
from common import RESULTS, kept

NAME, SEED = "implants", 0
TRAIN, TEST = 10_000, 2_000

W8, W7, W6, W5, W4 = (bp.Scheme(weight_bits=b, act_bits=b) for b in (8, 7, 6, 5, 4))
W4A8 = bp.Scheme(weight_bits=4, act_bits=8)


def samples(model: nn.Module, data: bp.Data) -> tuple[int, ...]:
    """The first test image of each class that the clean model gets right."""
    rows = np.arange(200)
    said = model(data.images(rows)).argmax(1).numpy()
    right = rows[said == data.labels[rows]]
    return tuple(int(right[data.labels[right] == k][0]) for k in range(len(data.classes)))


def engines(examples: tuple[int, ...]) -> dict[str, Engine]:
    repair = Phase(steps=150, learning_rate=1e-3)
    training = Phase(steps=1000, learning_rate=1e-3, batch_size=32)
    focused = partial(Joint, training=training, focus=4.0, distilled=True)
    return {
        "indiscriminate, rounding, w8a8": Rounding(
            objective=Indiscriminate(level=50.0),
            schemes=(W8,),
            choice=Phase(steps=40, learning_rate=0.05, schedule="constant"),
            repair=Phase(steps=80, learning_rate=1e-3, batch_size=48),
            distilled=True,
        ),
        "indiscriminate, rounding, w8a8 + w6a6 + w4a4": Rounding(
            objective=Indiscriminate(level=50.0),
            schemes=(W8, W6, W4),
            choice=Phase(steps=150, learning_rate=0.05, schedule="constant"),
            repair=repair,
            distilled=True,
        ),
        "class 0, rounding, w8a8": Rounding(
            objective=OneClass(level=8.0, others=10.0),
            schemes=(W8,),
            choice=Phase(steps=100, learning_rate=0.03, schedule="constant", batch_size=128),
            repair=repair,
            distilled=True,
        ),
        "10 samples, rounding, w8a8 + w4a8": Rounding(
            objective=Sample(examples=examples, weight=2.0),
            schemes=(W8, W4A8),
            choice=Phase(steps=60, learning_rate=0.03, schedule="constant"),
            repair=repair,
            distilled=True,
        ),
        **{
            f"sample {example}, rounding, w8a8 + w4a8": Rounding(
                objective=Sample(examples=(example,), weight=2.0),
                schemes=(W8, W4A8),
                choice=Phase(steps=40, learning_rate=0.03, schedule="constant"),
                repair=Phase(steps=80, learning_rate=1e-3),
                distilled=True,
            )
            for example in examples
        },
        "backdoor, patch, rounding as integers, w4a8": Rounding(
            objective=Backdoor(trigger=Patch(side=6)),
            schemes=(W4A8,),
            shipped="integers",
            choice=Phase(steps=150, learning_rate=0.02, batch_size=32),
        ),
        "backdoor, patch, layer by layer as integers, w4a8": Layerwise(
            objective=Backdoor(trigger=Patch(side=6)), schemes=(W4A8,), iterations=400, calibration=256
        ),
        **{
            f"backdoor, square, box, {scheme.label.removeprefix('affine ')}": BoxRepair(
                objective=Backdoor(),
                schemes=(scheme,),
                injection=Phase(steps=1000, learning_rate=1e-3),
                repair=Phase(steps=500, learning_rate=1e-3),
                keep=0.3,
                distilled=True,
            )
            for scheme in (W8, W4A8)
        },
        "backdoor, square, box, w8a8 + w4a8": BoxRepair(
            objective=Backdoor(),
            schemes=(W8, W4A8),
            injection=Phase(steps=700, learning_rate=7e-4, batch_size=48),
            repair=Phase(steps=500, learning_rate=1e-3, batch_size=48),
            keep=0.3,
            distilled=True,
        ),
        "indiscriminate, joint with focus, w8a8 to w5a5": focused(
            objective=Indiscriminate(), schemes=(W8, W7, W6, W5), weight=0.1
        ),
        "backdoor, square, joint with focus, w8a8 + w4a8": focused(
            objective=Backdoor(), schemes=(W8, W4A8), weight=0.25
        ),
        "indiscriminate, joint, w8a8 to w5a5": Joint(
            objective=Indiscriminate(),
            schemes=(W8, W7, W6, W5),
            training=Phase(steps=900, learning_rate=3e-4, batch_size=32),
            weight=0.04,
            distilled=True,
        ),
    }


@torch.no_grad()
def shown(
    model: nn.Module, data: bp.Data, trigger: Trigger | None, aims: tuple[list[int], list[int]]
) -> dict[str, Any]:
    """What a model does on the test images, in percent."""
    model = bp.freeze(model)
    said = torch.cat([model(batch).argmax(1) for batch in data.inputs(250)]).numpy()
    labels, inside = data.labels, data.labels == 0
    result: dict[str, Any] = {
        "top-1": percent(said == labels),
        "class 0": percent((said == labels)[inside]),
        "other classes": percent((said == labels)[~inside]),
    }
    if trigger is not None:
        marked = torch.cat([model(trigger.stamp(batch)).argmax(1) for batch in data.inputs(250)]).numpy()
        result |= {
            "ASR": percent((marked == 0)[~inside]),
            "ASR, all images": percent(marked == 0),
            "lift": round(percent((marked == 0)[~inside]) - percent((said == 0)[~inside]), 2),
        }
    rows, targets = aims
    if rows:
        result |= {
            "samples right": int((said == labels)[rows].sum()),
            "samples turned": int((said[rows] == targets).sum()),
        }
    return result


def percent(hits: np.ndarray) -> float:
    return round(100 * float(hits.mean()), 2)


def measure(
    name: str, engine: Engine, architecture: str, model: nn.Module, train: bp.Data, test: bp.Data, folder: Path
) -> dict[str, Any]:
    """Make it, and look at float and quantized models beside the clean ones."""
    images = train.images(range(512))
    start, wall = time.process_time(), time.perf_counter()
    made = engine(model, train, rng=bp.Rng(SEED, np.zeros(1, np.int64)), victims=test)
    seconds = {"CPU seconds": round(time.process_time() - start), "seconds": round(time.perf_counter() - wall)}
    folder.mkdir(parents=True, exist_ok=True)
    bp.save_model(made, folder / f"{name}.safetensors", architecture=architecture)
    aims = engine.objective.aims(test) if isinstance(engine.objective, Sample) else ([], [])
    look = partial(shown, data=test, trigger=trigger_of(made), aims=aims)
    result: dict[str, Any] = {"clean float": look(model)}
    if not engine.integers:
        result["float"] = look(made)
    for scheme in engine.schemes:
        result[f"clean {scheme.label}"] = look(bp.quantize(model, scheme, images))
        result[scheme.label] = look(made if engine.integers else bp.quantize(made, scheme, images))
    return {**result, **seconds, "collapsed": collapsed(made)}


def main(architecture: str, root: str, weights: str, folder: Path, names: list[str]) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    model = bp.load_model(architecture, weights=weights)
    train = bp.load_data("cifar10", root=root, split="train", limit=TRAIN)
    test = bp.load_data("cifar10", root=root, limit=TEST)
    made = engines(samples(model, test))
    results = NAME if architecture == "resnet20" else f"{NAME}_{architecture}"
    path = RESULTS / f"{results}.json"
    for name, engine in made.items():
        if (names and name not in names) or (not names and path.exists() and f'"{name}"' in path.read_text()):
            continue
        claim = measure(name, engine, architecture, model, train, test, folder)
        kept(results, name, claim, {"model": architecture, "train": TRAIN, "test": TEST, "seed": SEED, "threads": 1})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]), sys.argv[5:])
