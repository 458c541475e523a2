"""Small cells to test storage and presentation with."""

import numpy as np

from bitproof.records import (
    SUSPICIOUS,
    Audit,
    Cell,
    ConditionRecord,
    Curves,
    DataRecord,
    Diagnosis,
    Evidence,
    ModelRecord,
    Named,
    Pictures,
    Reading,
    Shown,
    Signal,
    Unaudited,
)


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


def make_audit(model: ModelRecord, data: DataRecord, *, seed: int = 0) -> Audit:
    """An audit with two evidences that have all that evidence can have."""
    reading = Reading(
        statistic="flips to class 3",
        value=0.5,
        scheme="affine w4a8",
        axis="weights",
        p_value=0.01,
        floor=0.01,
        z=60.0,
        n=20,
        draws=99,
    )
    curves = Curves(
        x=np.linspace(0.7, 1.3, 5), y=np.ones((1, 5)), names=("w4",), x_label="step", y_label="harmonic", mark=1.0
    )
    shown = Shown(images=np.full((1, 1, 4, 4), 0.5, np.float16), captions=("trigger of class 3",))
    common = {"model": model, "data": data, "seed": seed}
    first = Evidence(
        **common,
        name="specialness",
        setting={"draws": 99},
        says=SUSPICIOUS,
        sentence="Rounding to nearest is special.",
        readings=(reading,),
        score=60.0,
        named=Named(scheme="affine w4a8", bits=4, axis="weights", target=3, source=1, trigger="a white square"),
        curves=curves,
        forwards=100,
        backwards=1,
        seconds=0.5,
    )
    second = Evidence(
        **common, name="trigger", setting={}, says=None, sentence="A trigger was found.", shown=shown, seconds=0.25
    )
    return Audit(
        **common,
        setting={"quick": True},
        verdict=SUSPICIOUS,
        sentence="Quantization changes what the model does.",
        advice="Do not deploy it.",
        evidence=(first, second),
        calibrated_on=5,
        family="5 clean models of net",
        unaudited=(Unaudited(name="memory", weights=9, share=0.5, reason="a recurrent layer", schemes=("w4a8",)),),
    )
