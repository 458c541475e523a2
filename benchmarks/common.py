"""What every benchmark does: measure alternatives in rotation in one run, and write down under what conditions.

Run them on a quiet machine, with GOMP_SPINCOUNT=10000 in the environment, which is what the command line sets.
"""

import datetime
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

import bitproof as bp
from bitproof.experiment.environment import environment
from bitproof.implants import Objective

RESULTS = Path(__file__).parent / "results"


def rotate(
    alternatives: Mapping[str, Callable[[], object]],
    *,
    repeats: int,
    warmup: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each alternative, measured in turn so that a busy moment hits all of them alike.

    Work on one thread may be measured by `time.thread_time`, which does not count the time of others.
    """
    for _ in range(warmup):
        for run in alternatives.values():
            run()
    times: dict[str, list[float]] = {name: [] for name in alternatives}
    for _ in range(repeats):
        for name, run in alternatives.items():
            start = clock()
            run()
            times[name].append(clock() - start)
    return times


def ratio(times: dict[str, list[float]], name: str, base: str) -> float:
    """The median over the rounds of `name`'s time as a multiple of `base`'s in the same round."""
    return statistics.median(a / b for a, b in zip(times[name], times[base], strict=True))


def record(name: str, claims: dict[str, dict[str, Any]], conditions: dict[str, Any]) -> None:
    """Print the claims (goal, measured) and write them to results/NAME.json with date, hardware and versions."""
    RESULTS.mkdir(exist_ok=True)
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    conditions = {**conditions, "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT")}
    machine = {k: v for k, v in environment().items() if k != "command"}  # its arguments are paths of this machine
    content = {"date": now, "claims": claims, "conditions": conditions, "environment": machine}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")
    for claim, values in claims.items():
        print(f"{claim}: " + ", ".join(f"{k} {v}" for k, v in values.items()))


def kept(name: str, part: str, claim: dict[str, Any], conditions: dict[str, Any]) -> None:
    """`record` the claim of one part beside those of the others, as soon as there is one."""
    result = RESULTS / f"{name}.json"
    others = json.loads(result.read_text())["claims"] if result.exists() else {}
    record(name, others | {part: claim}, conditions)


def data_name(root: str | None) -> str:
    """The embedded digits where no folder of CIFAR-10 is given."""
    return "digits" if root is None else "cifar10"


def achieved(objective: Objective, model: nn.Module, data: bp.Data, victims: bp.Data | None = None) -> dict[str, float]:
    """How often a model does what is wanted of the victims, or of the data ("success"), and is right on the data
    ("accuracy"), in [0, 1]."""
    success = objective.success(model, data if victims is None else victims)
    return {"success": round(success, 4), "accuracy": round(accuracy(model, data) / 100, 4)}


@torch.no_grad()
def accuracy(model: nn.Module, data: bp.Data) -> float:
    """Top-1 in percent, all images."""
    predictions = torch.cat([model(batch).argmax(1) for batch in data.inputs(250)])
    return 100 * (predictions.numpy() == data.labels).mean().item()
