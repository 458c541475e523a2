"""Cells with known outcomes to report on."""

from dataclasses import replace

import numpy as np

from bitproof.records import Cell, ConditionRecord, DataRecord, ModelRecord, Pictures

N, SHOWN = 40, 5
MODELS = {"float": 32, "w8a8": 8, "w2a2": 2}


def model(name: str, width: int = 32, fingerprint: str | None = None) -> ModelRecord:
    scheme = None if width == 32 else {"weight_bits": width}
    return ModelRecord(
        name=name, fingerprint=fingerprint or f"print of {name}", scheme=scheme, weight_bits=width, act_bits=width
    )


def attack(eps: int, **setting) -> ConditionRecord:
    return ConditionRecord(
        kind="attack",
        label=f"pgd-20 linf {eps}/255",
        group="pgd-20 linf",
        variant=f"{eps}/255",
        setting={"type": "PGD", "eps": eps / 255, "steps": 20, **setting},
        norm="linf",
        eps=eps / 255,
    )


def jpeg(severity: int) -> ConditionRecord:
    return ConditionRecord(
        kind="corruption",
        label=f"jpeg {severity}",
        group="jpeg",
        variant=str(severity),
        setting={"type": "JPEG", "severity": severity},
        severity=severity,
    )


def resize(mode: str) -> ConditionRecord:
    return ConditionRecord(
        kind="systematic",
        label=f"resize {mode}",
        group="resize",
        variant=mode,
        setting={"type": "Resize", "mode": mode},
    )


def transfer(source: str, kappa: int = 0) -> ConditionRecord:
    return ConditionRecord(
        kind="transfer",
        label=f"cw-9 l2 {kappa} from {source}",
        group=f"cw-9 l2 {kappa}",
        setting={"type": "CW", "kappa": kappa},
        norm="l2",
        source=source,
    )


def tilt(difficulty: int) -> ConditionRecord:
    return ConditionRecord(
        kind="sequence",
        label=f"tilt {difficulty}",
        group=f"tilt {difficulty}",
        setting={"type": "Tilt", "difficulty": difficulty},
        severity=difficulty,
        compared="previous",
        step=difficulty,
    )


CLEAN = ConditionRecord(kind="clean", label="clean", group="clean", setting={"type": "Clean"})
CONDITIONS = (CLEAN, attack(16), attack(8), jpeg(2), jpeg(1), resize("box"), resize("area"), resize("nearest"))
DATA = DataRecord(
    name="digits", split="test", fingerprint="0d", count=N, classes=tuple(f"class-{i}" for i in range(10))
)


def cell(
    tested: ModelRecord,
    condition: ConditionRecord,
    wrong: int = 0,
    *,
    data: DataRecord = DATA,
    seed: int = 0,
    channels: int = 1,
    side: int = 4,
) -> Cell:
    """A cell whose last `wrong` examples are wrong; its pictures are the last `SHOWN` examples."""
    ids = np.arange(100, 100 + data.count)
    labels = ids % 10
    predictions = np.where(np.arange(data.count) < data.count - wrong, labels, (labels + 1) % 10)
    clean = np.random.default_rng(0).uniform(0.3, 0.7, (SHOWN, channels, side, side))
    own = tested.name if condition.kind == "attack" else ""
    noise = np.random.default_rng(list(f"{condition.label}{own}".encode(errors="surrogatepass"))).choice(
        [-0.02, 0.02], clean.shape
    )
    images = clean if condition.kind == "clean" else clean + noise
    zeros = np.zeros(data.count, np.float32)
    return Cell(
        model=tested,
        condition=condition,
        data=data,
        seed=seed,
        ids=ids,
        labels=labels,
        predictions=predictions,
        confidences=np.linspace(0.5, 0.99, data.count, dtype=np.float32),
        linf=zeros,
        l2=zeros,
        l1=zeros,
        forwards=3 * data.count,
        backwards=2 * data.count,
        seconds=0.25,
        pictures=Pictures(rows=np.arange(data.count - SHOWN, data.count), images=images.astype(np.float16)),
    )


def grid(**options) -> list[Cell]:
    """Every model under every condition. Wrong examples: 0, 1, 2, ... for float, 0 to 28 more for w2a2."""
    worse = {"float": 0, "w8a8": 1, "w2a2": 4}
    return [
        cell(model(name, width), condition, wrong=i * (1 + worse[name]) if i < 7 else 3, **options)
        for i, condition in enumerate(CONDITIONS)
        for name, width in MODELS.items()
    ]


def nearest(tested: ModelRecord, label: str, far: list[float]) -> Cell:
    """A cell of an attack without a budget that finds wrong images of the first examples `far` off, and no others."""
    norm = label.split()[1]
    condition = ConditionRecord(
        kind="minimum", label=label, group=label, setting={"type": label}, norm=norm, eps=float("inf")
    )
    found = cell(tested, condition)
    moved = np.pad(np.array(far, np.float32), (0, N - len(far)))
    predictions = np.where(np.arange(N) < len(far), found.labels + 1, found.labels)
    return replace(found, predictions=predictions, **{norm: moved})
