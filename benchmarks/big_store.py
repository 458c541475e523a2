"""A store of 10 million predictions: queried, exported and reported. Goals: 5 s, flat memory, 1 GB and 5 MB.

python benchmarks/big_store.py [MODELS] [CONDITIONS] [EXAMPLES] [SIDE]      by default 16, 60, 10,000 and 64 pixels

Each part is a process of its own, whose peak memory is that of nothing else; "grows" is the peak of the whole store
over that of a tenth of it. The report has photographs in its gallery. Seconds are processor time of one thread, which
does not count the work of others on the machine.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bitproof.records import Cell, ConditionRecord, DataRecord, ModelRecord, Pictures
from bitproof.store import Store

SHOWN = 8
"""Pictures a cell."""

MEMORY_MB, SECONDS, FILE_MB = 1000, 5.0, 5.0


def conditions(count: int) -> list[ConditionRecord]:
    """Clean images, and corruptions at five severities."""
    clean = ConditionRecord(kind="clean", label="clean", group="clean", setting={"type": "Clean"})
    kinds = [
        ConditionRecord(
            kind="corruption",
            label=f"c{i // 5} {i % 5 + 1}",
            group=f"c{i // 5}",
            variant=str(i % 5 + 1),
            setting={"type": f"C{i // 5}", "severity": i % 5 + 1},
            severity=i % 5 + 1,
        )
        for i in range(count - 1)
    ]
    return [clean, *kinds]


def fill(path: Path, models: int, count: int, n: int, side: int) -> None:
    """Cells of models that lose more the fewer bits they have; photographs are smooth with some noise."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 1000, n)
    data = DataRecord(name="big", split="test", fingerprint="b1", count=n, classes=tuple(map(str, range(1000))))
    ramp = np.linspace(0, 1, side)
    photos = np.stack([np.outer(np.sin(3 * k * ramp) / 2 + 0.5, ramp) for k in range(3 * SHOWN)])
    photos = photos.reshape(SHOWN, 3, side, side)
    with Store(path) as store:
        run = store.begin_run({})
        for place, condition in enumerate(conditions(count)):
            digests = generator.integers(1, 2**63, n).astype(np.uint64)
            seen = (photos + generator.normal(0, 0.03, photos.shape)).clip(0, 1).astype(np.float16)
            for m in range(models):
                width = 32 if m == 0 else 2 + m % 7
                model = ModelRecord(name=f"m{m}", fingerprint=f"print{m}", weight_bits=width, act_bits=width)
                right = generator.random(n) < 0.9 - 0.004 * place - 0.01 * m
                confidences = generator.random(n).astype(np.float32)
                cell = Cell(
                    model=model,
                    condition=condition,
                    data=data,
                    seed=0,
                    ids=np.arange(n),
                    labels=labels,
                    predictions=np.where(right, labels, generator.integers(0, 1000, n)),
                    confidences=confidences,
                    linf=np.full(n, 0.1, np.float32),
                    l2=generator.random(n).astype(np.float32),
                    l1=generator.random(n).astype(np.float32),
                    losses=-np.log(confidences),
                    ranks=np.where(right, 0, 3).astype(np.int32),
                    squares=confidences**2,
                    digests=digests,
                    forwards=n,
                    backwards=0,
                    seconds=1.0,
                    pictures=Pictures(rows=np.arange(SHOWN), images=seen),
                )
                store.append(cell, run)


def query(path: Path) -> None:
    with Store(path, readonly=True) as store:
        assert store.query(None)


def export(path: Path, suffix: str) -> None:
    from bitproof.export import export_store

    with Store(path, readonly=True) as store:
        export_store(store, path.with_suffix(suffix))


def report(path: Path) -> None:
    from bitproof.report import write_report

    with Store(path, readonly=True) as store:
        write_report(store.query(None), path.with_suffix(".html"))


PARTS = {
    "query": query,
    "parquet": lambda p: export(p, ".parquet"),
    "csv": lambda p: export(p, ".csv"),
    "report": report,
}


def measured(part: str, path: Path) -> dict[str, float]:
    """Processor seconds and peak megabytes of a part in a process of its own."""
    code = [sys.executable, __file__, "--part", part, str(path)]
    return json.loads(subprocess.run(code, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    if "--part" in sys.argv:
        part, path = sys.argv[2], Path(sys.argv[3])
        import pandas  # noqa: F401 - what is imported is not measured
        import pyarrow  # noqa: F401

        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        start = time.process_time()
        PARTS[part](path)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        print(
            json.dumps(
                {"seconds": round(time.process_time() - start, 2), "peak_mb": round(peak), "start_mb": round(before)}
            )
        )
        return
    from common import record

    models, count, n, side = (int(v) for v in [*sys.argv[1:], *("16", "60", "10000", "64")[len(sys.argv) - 1 :]])
    with tempfile.TemporaryDirectory() as folder:
        whole, tenth = Path(folder) / "whole.db", Path(folder) / "tenth.db"
        fill(tenth, models, max(2, count // 10), n, side)
        fill(whole, models, count, n, side)
        found = {part: (measured(part, whole), measured(part, tenth)) for part in PARTS}
        size = whole.with_suffix(".html").stat().st_size / 1e6
    claims = {
        part: {**large, "grows_mb": large["peak_mb"] - small["peak_mb"]} for part, (large, small) in found.items()
    }
    claims["query"]["goal_s"] = SECONDS
    claims["report"] |= {"goal_mb": MEMORY_MB, "file_mb": round(size, 2), "goal_file_mb": FILE_MB}
    record("big_store", claims, {"models": models, "conditions": count, "examples": n, "side": side, "pictures": SHOWN})


if __name__ == "__main__":
    main()
