"""Time of all metrics, comparisons and tests. Goal: `summary()` takes at most a tenth of a bootstrap's time.

python benchmarks/metrics_speed.py [EXAMPLES] [REPEATS]      3 models x 18 conditions, made up; one thread

The bootstrap is what these metrics had before: 1,000 draws of the same scores, all conditions of a draw together.
"""

import sys
import time
from collections.abc import Sequence

import numpy as np

from bitproof import metrics
from bitproof.metrics.metric import select
from bitproof.metrics.table import METRICS, selections
from bitproof.records import Cell, ConditionRecord, DataRecord, ModelRecord, Pictures
from common import ratio, record, rotate


def cells(n: int) -> list[Cell]:
    """Three models under a clean, two attacked, four corrupted and eleven resized conditions."""
    draw = np.random.default_rng(0)
    hard = draw.random(n)
    conditions = [("clean", "clean", 0.92), ("attack", "fgsm", 0.3), ("attack", "pgd", 0.03)]
    conditions += [("corruption", f"c{i}", 0.35 + 0.15 * i) for i in range(4)]
    conditions += [("systematic", f"resize {i}", 0.9 + 0.002 * i) for i in range(11)]
    return [
        Cell(
            model=ModelRecord(name=model, fingerprint=model, weight_bits=bits, act_bits=bits),
            condition=ConditionRecord(kind=kind, label=label, group=label.split()[0], setting={"label": label}),
            data=DataRecord(name="made", split="test", fingerprint="made", count=n, classes=("a", "b")),
            seed=0,
            ids=np.arange(n),
            labels=np.arange(n) % 2,
            predictions=np.where(hard + 0.05 * draw.standard_normal(n) < rate, np.arange(n) % 2, 1 - np.arange(n) % 2),
            confidences=draw.uniform(0.5, 1, n).astype(np.float32),
            linf=np.zeros(n, np.float32),
            l2=np.zeros(n, np.float32),
            l1=np.zeros(n, np.float32),
            forwards=n,
            backwards=0,
            seconds=0.0,
            pictures=Pictures(rows=np.zeros(0, np.int64), images=np.zeros((0, 1, 1, 1), np.float16)),
        )
        for model, bits in (("float", 32), ("w8a8", 8), ("w4a4", 4))
        for kind, label, rate in conditions
    ]


def bootstrap(found: Sequence[Cell], draws: int = 1000) -> None:
    """Percentiles of every metric of every model, but plain rates, by multinomial weights over distinct scores."""
    for model in dict.fromkeys(cell.model.name for cell in found):
        own = {cell.condition.label: cell for cell in found if cell.model.name == model}
        for metric in (metric for metric in METRICS.values() if not metric.compares):
            for _, chosen in selections(metric, own):
                scores = metric.scores(select(list(chosen.values())))
                if scores.dtype == bool and len(scores) == 1:
                    continue
                columns, counts = np.unique(scores, axis=1, return_counts=True)
                n, rng = scores.shape[1], np.random.default_rng(0)
                size = max(1, 2**21 // counts.size)
                for start in range(0, draws, size):
                    weights = rng.multinomial(n, counts / n, min(size, draws - start))
                    metric.statistic.value(weights @ columns.T.astype(float) / n)


def main(n: int, repeats: int) -> None:
    found = cells(n)
    alternatives = {
        "bootstrap": lambda: bootstrap(found),
        "summary": lambda: metrics.summary(found),
        "summary with comparisons": lambda: metrics.summary(found, "float"),
        "compare": lambda: metrics.compare(found, "float"),
        "verdicts": lambda: metrics.verdicts(found, "float"),
    }
    times = rotate(alternatives, repeats=repeats, warmup=1, clock=time.thread_time)
    claims = {f"{name}, s": {"measured": round(float(np.median(values)), 3)} for name, values in times.items()}
    claims["bootstrap as a multiple of summary"] = {
        "measured": round(ratio(times, "bootstrap", "summary"), 1),
        "goal": "at least 10",
    }
    record("metrics_speed", claims, {"examples": n, "models": 3, "conditions": 18, "repeats": repeats})


if __name__ == "__main__":
    main(*(int(sys.argv[i]) if len(sys.argv) > i else default for i, default in ((1, 10_000), (2, 5))))
