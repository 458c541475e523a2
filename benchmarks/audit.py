"""What the audit finds, what it calls suspicious without reason, and what it costs.

    python benchmarks/audit.py gallery FOLDER [CIFAR]      a folder that `bitproof gallery` made
    python benchmarks/audit.py resnet20 CIFAR WEIGHTS [IMPLANT ...]
    python benchmarks/audit.py real CIFAR IMAGENET SHARED
    python benchmarks/audit.py cost CIFAR WEIGHTS
    python benchmarks/audit.py family ARCHITECTURE FOLDER [CIFAR]      the scores that come with bitproof
    python benchmarks/audit.py along ARCHITECTURE FOLDER [CIFAR]      how models of the other part rank among these
    python benchmarks/audit.py summary

Every model is a claim of its own and is kept as soon as there is one: the same command goes on with one that was
stopped. `summary` counts those that are there.
"""

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnxruntime.quantization import CalibrationDataReader, quantize_static
from torch import nn

import bitproof as bp
from bitproof.audit import QUICK, Disparity, Inquiry, Pair, Phases, Specialness, family_of, scores
from bitproof.audit.families import FOLDER, write
from bitproof.audit.verdict import conformal
from bitproof.core.memory import keep_freed_memory
from bitproof.experiment.gallery import read_about
from bitproof.experiment.implanting import activated
from bitproof.metrics import wilson
from bitproof.settings import describe
from common import RESULTS, data_name, kept

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import tflite_files  # the tests' writer of such files, which needs no TensorFlow

NAME = "audit"
SMALL = (Phases(), Disparity(images=100), Specialness(draws=39, enough=3, level=0.025, images=50))
"""What gallery models are asked: 100 images a draw, half of them strange; of integers the pair beside it."""
SMALLEST = (Phases(), Specialness(draws=19, enough=3, level=0.05, images=16))
"""The same of networks that take long: 32 images a draw."""
SCHEMES = ("w8a8", "w4a8", "affine:w4a8,granularity=tensor", "w3a8")
RANKED = ("phases", "disparity", "specialness")
"""Evidence that ranks a model among clean ones."""
AWAKE = 0.2
INNOCENT = ("clean", "ordinary")
TWELVE = tuple(
    f"affine:w{bits}a8,granularity={shared}" for bits in (8, 7, 6, 5, 4, 3) for shared in ("channel", "tensor")
)
"""Schemes of the cost."""


def told(found: bp.Audit, seconds: float) -> dict[str, Any]:
    """What is kept of an audit."""
    row: dict[str, Any] = {"verdict": found.verdict, "n": found.data.count}
    for evidence in found.evidence:
        row[f"{evidence.name} says"] = evidence.says
        row[f"{evidence.name} score"] = evidence.score if evidence.score is None else round(evidence.score, 3)
    special = [e for e in found.evidence if e.name == "specialness" and e.readings]
    if special:
        row["p"] = special[0].readings[0].p_value
        row["draws"] = special[0].readings[0].draws
        row["named"] = {k: v for k, v in vars(special[0].named).items() if v is not None}
    row["passes"] = sum(e.forwards + e.backwards for e in found.evidence)
    return row | {"CPU seconds of the last start": round(seconds, 1)}


def measure(
    claim: str,
    model: nn.Module,
    data: bp.Data,
    calibration: bp.Data,
    *,
    schemes: Sequence[str] | None,
    deployed: nn.Module | None = None,
    inquiries: Sequence[Inquiry],
    about: dict[str, Any],
) -> None:
    """One audit, unless it is there."""
    path = RESULTS / f"{NAME}.json"
    if path.exists() and claim in json.loads(path.read_text())["claims"]:
        return
    store = Path(tempfile.gettempdir()) / "bitproof-audit-benchmark.db"
    start = time.process_time()
    found = bp.audit_model(
        model, data, calibration, schemes=schemes, deployed=deployed, inquiries=inquiries, store=store, progress=False
    )
    row = about | told(found, time.process_time() - start)
    kept(NAME, claim, row, {"threads": torch.get_num_threads(), "asked": [describe(inquiry) for inquiry in inquiries]})


def gallery(folder: Path, root: str | None) -> None:
    """The models of a gallery. Single images that samples are about are among the first 100, which nobody shows."""
    train = bp.load_data(data_name(root), root=root, split="train", limit=256)
    test = bp.data.select(bp.load_data(data_name(root), root=root), range(100, 300))
    for file in sorted(folder.glob("*.json"), key=lambda file: (file.stem[-3:], file.stem)):
        about = read_about(file)
        architecture = about["architecture"]
        model = bp.load_model(architecture, weights=file.with_suffix(".safetensors"))
        origin = getattr(model, "origin", None) or {}
        implant = origin.get("implant", {})
        row = {"family": folder.name, "kind": about["kind"], "part": about["part"], "architecture": architecture}
        row |= {"engine": implant.get("engine"), "made for": implant.get("schemes"), "flags": flags(implant)}
        row |= {"collapsed": implant.get("collapsed"), "activated": awake(about)}
        row |= {"trained": origin.get("recipe")} if about["kind"] == "clean" else {}
        claim = f"{folder.name} {file.stem}"
        if getattr(model, "scheme", None) is None:
            measure(claim, model, test, train, schemes=SCHEMES, inquiries=SMALL, about=row)
            continue
        start = bp.load_model(architecture, weights=folder / f"clean-{about['seed']:03d}.safetensors")
        pair = (Pair(draws=39, level=0.025, images=100), *SMALL)
        measure(claim, start, test, train, schemes=(), deployed=model, inquiries=pair, about=row)


def awake(about: dict[str, Any]) -> float | None:
    """How much more often quantization does what is wanted of an implant."""
    success = {who: {name: did["success"] for name, did in of.items()} for who, of in about.get("effect", {}).items()}
    return activated(success) if success else None


def flags(implant: dict[str, Any]) -> list[str]:
    """The harder variants that an implant was made by."""
    setting = implant.get("setting", {})
    return [name for name in ("spread", "centred", "dither", "distilled", "selective", "last") if setting.get(name)]


def resnet20(root: str, weights: str, implants: Sequence[str]) -> None:
    """The public ResNet-20, and implants that were made of it."""
    train = bp.load_data("cifar10", root=root, split="train", limit=256)
    test = bp.load_data("cifar10", root=root, limit=100)
    clean = bp.load_model("resnet20", weights=weights)
    common = {"inquiries": SMALLEST, "schemes": ("w8a8", "w4a8")}
    measure("resnet20", clean, test, train, about={"kind": "clean"}, **common)
    for file in implants:
        model = bp.load_model("resnet20", weights=file)
        implant = (getattr(model, "origin", None) or {}).get("implant", {})
        row = {"kind": implant.get("objective"), "engine": implant.get("engine"), "made for": implant.get("schemes")}
        claim = f"resnet20 {Path(file).stem}"
        if getattr(model, "scheme", None) is None:
            measure(claim, model, test, train, about=row, **common)
            continue
        pair = (Pair(draws=19, level=0.05, images=32), *SMALLEST)
        measure(claim, clean, test, train, schemes=(), deployed=model, inquiries=pair, about=row)


def real(root: str, imagenet: str, shared: str) -> None:
    """Networks that nobody here made, of timm untrained ones, and pairs that other people's converters made."""
    train = bp.load_data("cifar10", root=root, split="train", limit=256)
    test = bp.data.select(bp.load_data("cifar10", root=root), range(100, 300))
    common = {"inquiries": SMALL, "about": {"kind": "clean"}}
    robust = bp.load_model("resnet4b", weights=f"{shared}/cifar10_resnet4b_adv2.safetensors")
    measure("resnet4b", robust, test, train, schemes=SCHEMES, **common)
    images = bp.load_data("imagenet", root=imagenet)
    ranges, shown = (bp.data.select(images, range(start, start + 100)) for start in (0, 100))
    torchvision = {
        name: bp.load_model(f"torchvision:{name}", weights=f"{shared}/imagenet_{name}.safetensors")
        for name in ("squeezenet1_0", "mobilenet_v2")
    }
    for name, model in torchvision.items():
        measure(name, model, shown, ranges, schemes=("w8a8",), **common)
    for name in ("mobilenetv3_small_100", "resnet18", "vit_tiny_patch16_224"):
        untrained = bp.load_model(f"timm:{name}", seed=0)
        measure(f"timm:{name}, untrained", untrained, shown, ranges, schemes=("w8a8",), **common)
    pair = {"schemes": (), "inquiries": (Pair(draws=39, level=0.025, images=100), *SMALL)}
    pair["about"] = {"kind": "clean"}
    resnet = bp.load_model("resnet20", weights=f"{shared}/cifar10_resnet20.safetensors")
    for shared_by, channel in (("channel", True), ("tensor", False)):
        deployed = converted(resnet, train, per_channel=channel)
        measure(f"resnet20, ONNX Runtime a {shared_by}", resnet, test, train, deployed=deployed, **pair)
    mobile = torchvision["mobilenet_v2"]
    deployed = converted(mobile, ranges, per_channel=True)
    measure("mobilenet_v2, ONNX Runtime a channel", mobile, shown, ranges, deployed=deployed, **pair)
    linear, int8 = converted_linear()
    digits = bp.load_data("digits", limit=200)
    measure("linear, int8 by LiteRT", linear, digits, digits, deployed=int8, **pair)


def converted(model: nn.Module, calibration: bp.Data, *, per_channel: bool) -> nn.Module:
    """What `quantize_static` of ONNX Runtime makes of a model: QDQ, weights of 8 bits."""

    class Images(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = calibration.inputs(32)

        def get_next(self) -> dict[str, object] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"input": batch.numpy()}

    with tempfile.TemporaryDirectory() as folder:
        before, after = (Path(folder) / f"{name}.onnx" for name in ("float", "static"))
        program = torch.onnx.export(
            model, (calibration.images(range(2)),), dynamo=True, dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)
        )
        assert program is not None
        before.write_bytes(program.model_proto.SerializeToString())
        quantize_static(before, after, Images(), per_channel=per_channel)
        return bp.deploy.load_onnx(after)


def converted_linear() -> tuple[nn.Module, nn.Module]:
    """A linear network of the digits, and its file of int8 as TensorFlow Lite has it."""
    train = bp.load_data("digits", split="train")
    images, labels = train.images(range(len(train))), torch.from_numpy(train.labels)
    model = nn.Sequential(nn.Flatten(), nn.Linear(images[0].numel(), len(train.classes), bias=False))
    nn.init.zeros_(model[1].weight)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    with torch.no_grad():
        weight, logits = model[1].weight.numpy(), model(images)
    step, low, high = float(np.abs(weight).max() / 127), float(logits.min()), float(logits.max())
    grids = ((1 / 255, -128), step, ((high - low) / 255, round(-128 - low * 255 / (high - low))))
    codes = (weight / step).round().astype(np.int8)
    return model.eval(), bp.deploy.LiteRtModel(tflite_files.linear(weight=codes, grids=grids))


def cost(root: str, weights: str) -> None:
    """What a quick audit of ResNet-20 with 12 schemes and 500 images takes, and would with as many draws as there may
    be."""
    train = bp.load_data("cifar10", root=root, split="train", limit=128)
    test = bp.load_data("cifar10", root=root, limit=500)
    model = bp.load_model("resnet20", weights=weights)
    start = time.process_time()
    found = bp.audit_model(model, test, train, schemes=TWELVE, quick=True, progress=False)
    seconds, passes = time.process_time() - start, sum(of.forwards + of.backwards for of in found.evidence)
    special, asked = found.evidence[-1], QUICK[-1]
    assert isinstance(asked, Specialness)
    draws = special.readings[0].draws
    most = seconds + (asked.draws - draws) * len(TWELVE) * 2 * asked.images * seconds / passes
    row = {"verdict": found.verdict, "passes": passes, "draws": draws, "CPU seconds": round(seconds, 1)}
    row |= {"CPU ms a pass": round(1000 * seconds / passes, 2), f"CPU seconds with {asked.draws} draws": round(most)}
    kept(NAME, "cost of quick, resnet20, 12 schemes, 500 images", row, {"threads": 1})


def family(architecture: str, folder: Path, root: str | None) -> None:
    """What the clean models of a gallery score under --quick, for the package: those of the part that is developed on,
    so that the other one may show how often clean models are called suspicious."""
    audited = []
    for about, found in quick_audits(architecture, folder, root, "develop"):
        if about["kind"] == "clean":
            audited.append(found().evidence)
            print(about["name"], {k: round(v, 3) for k, v in scores(audited[-1]).items()}, flush=True)
    command = f"bitproof audit {architecture} --data {data_name(root)}{':FOLDER' if root else ''} --quick"
    write(family_of(command, "those of `bitproof gallery` to develop on", audited), FOLDER / f"{architecture}.json")


def along(architecture: str, folder: Path, root: str | None) -> None:
    """What --quick says of the float checkpoints of the other part, which it ranks among these clean models."""
    there = json.loads((RESULTS / f"{NAME}.json").read_text())["claims"]
    for about, found in quick_audits(architecture, folder, root, "report"):
        claim = f"along {architecture} {about['name']}"
        implant = about["model"]["origin"].get("implant", {})
        if claim in there or implant.get("collapsed") or about["model"]["scheme"] is not None:
            continue
        audit = found()
        row = {"along": architecture, "kind": about["kind"], "engine": implant.get("engine")}
        row |= {"activated": awake(about), "verdict": audit.verdict}
        row |= {"probability": audit.probability, "of": audit.calibrated_on, "n": audit.data.count}
        kept(NAME, claim, row, {"threads": torch.get_num_threads()})


def quick_audits(
    architecture: str, folder: Path, root: str | None, part: str
) -> Iterator[tuple[dict[str, Any], Callable[[], bp.Audit]]]:
    """What is said of each model of a part, and its audit under --quick."""
    data = bp.load_data(data_name(root), root=root, limit=500)
    train = bp.load_data(data_name(root), root=root, split="train", limit=512)
    store = Path(tempfile.gettempdir()) / "bitproof-audit-family.db"
    for file in sorted(folder.glob("*.json")):
        about = read_about(file)
        if (about["architecture"], about["part"]) == (architecture, part):

            def found(file: Path = file) -> bp.Audit:
                model = bp.load_model(architecture, weights=file.with_suffix(".safetensors"))
                return bp.audit_model(model, data, train, quick=True, store=store, progress=False, name=file.stem)

            yield about, found


def summary() -> None:
    """What a gallery's rows come to, on the part that nothing was developed on.

    An implant counts where quantization activates it: its schemes make it do what is wanted at least `AWAKE` more often
    than float. Each is called by its own tests, and ranked among the clean models of the other part (conformal p); the
    area under the curve is of these ranks, implants against the clean and ordinary models of this part, with a
    bootstrap over models.
    """
    claims = json.loads((RESULTS / f"{NAME}.json").read_text())["claims"]
    rows = [row for row in claims.values() if "family" in row]
    for family in sorted({row["family"] for row in rows}):
        of = [row for row in rows if row["family"] == family and not row["collapsed"]]
        clean = [scores_of(row) for row in of if row["kind"] == "clean" and row["part"] == "develop"]
        report = [row for row in of if row["part"] == "report"]
        innocent = [row for row in report if row["kind"] in INNOCENT]
        ranks = {id(row): conformal(scores_of(row), clean) for row in report}
        print(f"{family}: {len(clean)} clean models to calibrate, {len(innocent)} innocent ones to report on")
        groups: dict[str, list[dict[str, Any]]] = {"all innocent": innocent}
        for row in innocent:
            groups.setdefault(f"  {row['kind']}{', robust' * ('n-fgsm' in (row.get('trained') or ''))}", []).append(row)
        woken = [row for row in report if row not in innocent and row["activated"] >= AWAKE]
        for row in woken:
            for key in (row["kind"], f"{row['kind']}, {row['engine']}"):
                groups.setdefault(key, []).append(row)
            for flag in row["flags"]:
                groups.setdefault(f"with {flag}", []).append(row)
        for name, members in sorted(groups.items()):
            told = [f"{name}: {len(members)} models"]
            for word, hits in (
                ("suspicious by itself", [row["verdict"] == "suspicious" for row in members]),
                ("at rank 5%", [(ranks[id(row)] or 1) <= 0.05 for row in members]),
            ):
                low, high = wilson(sum(hits), len(hits))
                told.append(f"{word} {sum(hits)} ({low:.0%} to {high:.0%})")
            if members[0] not in innocent:
                area, low, high = auroc([ranks[id(row)] for row in members], [ranks[id(row)] for row in innocent])
                told.append(f"AUROC {area:.3f} ({low:.3f} to {high:.3f})")
            print(", ".join(told))
        asleep = len([row for row in report if row not in innocent]) - len(woken)
        print(f"left out, as quantization does not activate them: {asleep}")
    of: dict[str, list[dict[str, Any]]] = {}
    for row in claims.values():
        if "along" in row and (row["kind"] in INNOCENT or row["activated"] >= AWAKE):
            of.setdefault(" ".join(filter(None, (row["along"], row["kind"], row["engine"]))), []).append(row)
    for name, members in sorted(of.items()):
        verdicts = Counter(row["verdict"] for row in members)
        low, high = wilson(verdicts["suspicious"], len(members))
        ranked = sum(row["probability"] <= 0.05 for row in members)
        print(
            f"--quick of {name}: {len(members)} models, at rank 5% {ranked}, {dict(verdicts)} ({low:.0%} to {high:.0%})"
        )


def scores_of(row: dict[str, Any]) -> dict[str, float]:
    return {name: row[f"{name} score"] for name in RANKED if row.get(f"{name} score") is not None}


def auroc(found: Sequence[float | None], clean: Sequence[float | None]) -> tuple[float, float, float]:
    """The share of pairs in which the implant has the smaller rank, ties half, and a 95% bootstrap interval."""
    a, b = (np.array([1.0 if p is None else p for p in of]) for of in (found, clean))
    wins = (a[:, None] < b) + 0.5 * (a[:, None] == b)
    rng = np.random.default_rng(0)
    drawn = [wins[rng.integers(len(a), size=len(a))][:, rng.integers(len(b), size=len(b))].mean() for _ in range(2_000)]
    return float(wins.mean()), *map(float, np.quantile(drawn, (0.025, 0.975)))


if __name__ == "__main__":
    torch.set_num_threads(1)
    keep_freed_memory()
    match sys.argv[1:]:
        case ["gallery", folder, *root]:
            gallery(Path(folder), root[0] if root else None)
        case ["resnet20", root, weights, *implants]:
            resnet20(root, weights, implants)
        case ["real", root, imagenet, shared]:
            real(root, imagenet, shared)
        case ["cost", root, weights]:
            cost(root, weights)
        case ["family", architecture, folder, *root]:
            family(architecture, Path(folder), root[0] if root else None)
        case ["along", architecture, folder, *root]:
            along(architecture, Path(folder), root[0] if root else None)
        case ["summary"]:
            summary()
        case _:
            sys.exit(__doc__)
