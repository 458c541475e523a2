"""Small cells to test storage and presentation with."""

import numpy as np

from bitproof.records import Cell, ConditionRecord, DataRecord, ModelRecord, Pictures


def make_cell(
    *, model: str = "float", kind: str = "clean", label: str = "clean", n: int = 20, seed: int = 0, forwards: int = 20
) -> Cell:
    """A cell with random content that depends on the model's name and the label."""
    rng = np.random.default_rng([seed, *f"{model}/{label}".encode(errors="surrogatepass")])
    labels = np.arange(n) % 10
    return Cell(
        model=ModelRecord(name=model, fingerprint=f"print of {model}"),
        condition=ConditionRecord(kind=kind, label=label, group=label, setting={"type": label}),
        data=DataRecord(name="sample", split="test", fingerprint="x", count=n, classes=tuple("0123456789")),
        seed=seed,
        ids=np.arange(n),
        labels=labels,
        predictions=np.where(rng.random(n) < 0.8, labels, (labels + 1) % 10),
        confidences=rng.random(n, np.float32),
        linf=rng.random(n, np.float32),
        l2=rng.random(n, np.float32),
        l1=rng.random(n, np.float32),
        forwards=forwards,
        backwards=0,
        seconds=0.5,
        pictures=Pictures(rows=np.arange(min(2, n)), images=rng.random((min(2, n), 1, 4, 4)).astype(np.float16)),
    )
