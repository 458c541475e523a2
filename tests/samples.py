"""Small cells to test storage and presentation with."""

import numpy as np

from bitproof.records import Cell, ConditionRecord, DataRecord, Diagnosis, ModelRecord, Pictures, Signal


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


def make_diagnosis(model: ModelRecord, data: DataRecord, *, seed: int = 0, fires: bool = True) -> Diagnosis:
    """A diagnosis of masked gradients with one signal that was looked for and one that was not."""
    return Diagnosis(
        model=model,
        twin=None,
        data=data,
        seed=seed,
        setting={"eps": 0.25},
        eps=8 / 255,
        attacked=90,
        accuracy={"clean": 0.9, "gradients": 0.6, "all": 0.2},
        signals=(
            Signal(
                name="no gradient at all",
                effect=0.4 if fires else 0.0,
                limit=0.05,
                numbers={"share": 0.4},
                p_value=0.001,
                p_holm=0.002,
                fires=fires,
                sentence=f"{model.name} has none on 40% of its examples.",
            ),
            Signal(
                name="a twin does better",
                effect=None,
                limit=0.05,
                numbers={},
                p_value=None,
                p_holm=None,
                fires=None,
                sentence="There was no twin.",
            ),
        ),
        forwards=10,
        backwards=5,
        seconds=1.0,
    )
