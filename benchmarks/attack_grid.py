"""What the adversarial grid of RobustMQ (Xiao et al. 2023) costs: five attacks at three budgets each, in passes.

python benchmarks/attack_grid.py CIFAR10_ROOT WEIGHTS [N]

Against the same fifteen attacks each started from all examples (`independent=True`), and against fifteen runs that
take all steps on all examples, as libraries without an active set do (AutoAttack: the reference's 7864 forwards and
1910 backwards on examples that stand, and 212 forwards on those that fall at once).
"""

import sys

import bitproof as bp
from bitproof.core.memory import keep_freed_memory
from bitproof.experiment.suites import robustmq_attacks
from bitproof.store import Store
from common import record


def main(root: str, weights: str, count: int) -> None:
    keep_freed_memory()
    data = bp.load_data("cifar10", root=root, limit=count)
    models = {"float": bp.load_model("resnet20", weights=weights)}
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
    record("attack_grid", claims, {"model": "resnet20", "images": count, "correct": right})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 64)
