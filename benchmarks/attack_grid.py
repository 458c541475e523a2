"""What the adversarial grid of RobustMQ (Xiao et al. 2023) costs: five attacks at three budgets each, in passes.

python benchmarks/attack_grid.py DATA MODEL WEIGHTS [N]

on the first N images of DATA, which is written as for `bitproof eval`: cifar10:ROOT, or imagenet:ROOT as in the paper.
Against the same fifteen attacks each started from all examples (`independent=True`), and against fifteen runs that
take all steps on all examples, as libraries without an active set do (AutoAttack: the reference's 7864 forwards and
1910 backwards on examples that stand, and 212 forwards on those that fall at once).
"""

import sys

import bitproof as bp
from bitproof.core.memory import keep_freed_memory
from bitproof.data import parse_data
from bitproof.experiment.suites import robustmq_attacks
from bitproof.store import Store
from common import record


def main(source: str, model: str, weights: str, count: int) -> None:
    keep_freed_memory()
    name, root, options = parse_data(source)
    data = bp.load_data(name, root=root, limit=count, **options)
    models = {"float": bp.load_model(model, weights=weights)}
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
    record(f"attack_grid_{network}", claims, {"model": model, "images": count, "correct": right})


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]) if len(sys.argv) > 4 else 64)
