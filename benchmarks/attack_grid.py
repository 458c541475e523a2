"""What the adversarial grid of RobustMQ (Xiao et al. 2023) costs: five attacks at three budgets each, in passes.

python benchmarks/attack_grid.py DATA MODEL WEIGHTS [n=64] [mean=0.5] [std=0.5]

on the first n images of DATA, which is written as for `bitproof evaluate`: cifar10:ROOT, or imagenet:ROOT as in the
paper. `mean` and `std` are the weights' normalisation where it is not the usual one.
Against the same fifteen attacks each started from all examples (`independent=True`), and against fifteen runs that
take all steps on all examples, as libraries without an active set do (AutoAttack: the reference's 7864 forwards and
1910 backwards on examples that stand, and 212 forwards on those that fall at once).
"""

import sys

import bitproof as bp
from bitproof.conditions.suites import robustmq_attacks
from bitproof.core.memory import keep_freed_memory
from bitproof.data import parse_data
from bitproof.store import Store
from common import record


def main(source: str, model: str, weights: str, n: str = "64", **normalisation: str) -> None:
    keep_freed_memory()
    name, root, options = parse_data(source)
    count, levels = int(n), {key: [float(value)] * 3 for key, value in normalisation.items()}
    data = bp.load_data(name, root=root, limit=count, **options)
    models = {"float": bp.load_model(model, weights=weights, **levels)}
    attacks = [a for budget in ("small", "middle", "large") for a in robustmq_attacks(data, budget)]
    passes, standing = {}, {}
    store = Store(None)  # the smallest budgets are the same cells
    for name, independent in (("in order", False), ("separate", True)):
        result = bp.evaluate(models, data, conditions=attacks, independent=independent, store=store)
        cells = [cell for cell in result.cells if cell.condition.kind == "attack"]
        passes[name] = sum(cell.forwards + cell.backwards for cell in cells) / count
        standing[name] = {c.condition.label: int(c.correct.sum()) for c in cells}
    right = int(result.cells[0].correct.sum())
    full = 0.0
    for attack in attacks:
        if attack.label.startswith("autoattack"):
            stand = standing["separate"][attack.label]
            full += (stand * (7864 + 1910) + (right - stand) * 212) / count
        else:
            full += right * (2 * attack.steps + 1) / count
    claims = {
        "passes over those of fifteen separate runs": {
            "goal": "at most 0.4",
            "measured": round(passes["in order"] / passes["separate"], 3),
        },
        "over those of fifteen runs without active sets": {"measured": round(passes["in order"] / full, 3)},
        "passes an image": {**{k: round(v) for k, v in passes.items()}, "without active sets": round(full)},
        "correct after": standing["in order"],
        "correct after, separate": standing["separate"],
    }
    network = model.rpartition(":")[-1]
    record(f"attack_grid_{network}", claims, {"model": model, **normalisation, "images": count, "correct": right})


if __name__ == "__main__":
    given = [argument for argument in sys.argv[1:] if "=" not in argument]
    main(*given, **dict(argument.split("=") for argument in sys.argv[1:] if "=" in argument))
