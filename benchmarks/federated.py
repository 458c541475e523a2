"""Federated learning with malicious clients, round by round: hong2021's Figure 2 on a small network.

python benchmarks/federated.py CIFAR10_ROOT WEIGHTS [NAMES...]

ResNet-4B from trained weights on all training images, 100 clients, 10 a round, 5 malicious; a backdoor, and the
indiscriminate attack, at w8a8 and w4a8; dealt evenly and by a Dirichlet distribution of 0.5; with changes as they are
and scaled by 10, and then with a focus, too. Every tenth round is judged on the first 1,000 test images. Each curve is
written down when it is there, and left out when it is there already. They are drawn in federated.svg, beside
the results.
"""

import json
import sys
import time
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

import bitproof as bp
from bitproof.core.memory import keep_freed_memory
from bitproof.experiment.implanting import quantized_forms
from bitproof.implants import Backdoor, Federated, Indiscriminate, Objective, Phase
from common import RESULTS, achieved, kept

NAME, SEED, TEST, EVERY = "federated", 0, 1_000, 10
SCHEMES = (bp.Scheme(), bp.Scheme(weight_bits=4, act_bits=8))
OBJECTIVES: dict[str, tuple[Objective, float]] = {
    "backdoor": (Backdoor(), 0.5),
    "indiscriminate": (Indiscriminate(), 0.1),
}
"""With the weight of each scheme's harm."""


@dataclass(frozen=True, kw_only=True)
class Watched(Federated):
    """The same, seen every few rounds."""

    curve: ClassVar[list[dict[str, Any]]] = []
    data: ClassVar[list[bp.Data]] = []

    def after_round(self, number: int, model: nn.Module) -> None:
        if number == 1 or number % EVERY == 0:
            self.curve.append({"round": number, **look(self.objective, self.schemes, model, *self.data)})
            print(self.curve[-1], flush=True)


def look(
    objective: Objective, schemes: tuple[bp.Scheme, ...], model: nn.Module, train: bp.Data, test: bp.Data
) -> dict[str, list[float]]:
    """Success and accuracy in percent, of the float model and quantized."""
    forms = quantized_forms(model, schemes, train.images(range(256)))
    found = {name: achieved(objective, form, test) for name, form in forms.items()}
    return {name: [round(100 * of["success"], 1), round(100 * of["accuracy"], 1)] for name, of in found.items()}


def main(root: str, weights: str, names: list[str]) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    train = bp.load_data("cifar10", root=root, split="train")
    test = bp.load_data("cifar10", root=root, limit=TEST)
    start = bp.load_model("resnet4b", weights=weights)
    path = RESULTS / f"{NAME}.json"
    cases = [
        ("backdoor", 0, 0.0, 1.0, 0.0),
        *((o, 5, c, s, 0.0) for o, c, s in product(OBJECTIVES, (0.0, 0.5), (1.0, 10.0))),
        *((o, 5, 0.0, 10.0, 4.0) for o in OBJECTIVES),
    ]
    for what, malicious, concentration, scaling, focus in cases:
        dealt = f"Dirichlet {concentration:g}" if concentration else "IID"
        name = f"{what}, {malicious} malicious, {dealt}, scaled by {scaling:g}" + f", focus {focus:g}" * (focus > 0)
        if (names and name not in names) or (path.exists() and name in json.loads(path.read_text())["claims"]):
            continue
        objective, weight = OBJECTIVES[what]
        Watched.curve[:], Watched.data[:] = [], [train, test]
        engine = Watched(
            objective=objective,
            schemes=SCHEMES,
            malicious=malicious,
            concentration=concentration,
            scaling=scaling,
            weight=weight,
            focus=focus,
            calibration=128,
            local=Phase(steps=10, learning_rate=3e-4, batch_size=32),
        )
        first, began = look(objective, SCHEMES, start, train, test), time.process_time()
        engine(start, train, rng=bp.Rng(SEED, np.zeros(1, np.int64)))
        claim: dict[str, Any] = {"success and accuracy, %": [{"round": 0, **first}, *Watched.curve]}
        claim["CPU seconds"] = round(time.process_time() - began)
        kept(NAME, name, claim, {"model": "resnet4b", "test": TEST, "seed": SEED, "threads": 1})


def draw() -> None:
    """How often what is wanted happens, over the rounds."""
    from matplotlib.figure import Figure

    claims = json.loads((RESULTS / f"{NAME}.json").read_text())["claims"]
    rows = -(-len(claims) // 4)
    figure = Figure(figsize=(13, 2.6 * rows), layout="constrained")
    places = figure.subplots(rows, 4, sharey=True, squeeze=False).flat
    for place, (name, claim) in zip(places, claims.items(), strict=False):
        rounds = claim["success and accuracy, %"]
        for form in ("float", *(scheme.label for scheme in SCHEMES)):
            place.plot([at["round"] for at in rounds], [at[form][0] for at in rounds], label=form)
        place.set_title(name.replace(", scaled", ",\nscaled"), fontsize=8)
        place.set_ylim(0, 100)
    figure.axes[0].legend(fontsize=8)
    figure.supxlabel("round")
    figure.supylabel("success, %")
    figure.savefig(RESULTS / f"{NAME}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
    draw()
