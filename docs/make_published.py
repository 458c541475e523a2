"""Makes the published values that bitproof ships, of a folder of transcribed tables: `PAPER_tableN.csv`, a value a row.

    python docs/make_published.py FOLDER

What is kept of a value is where it stands (setting, row, column), the number as it is printed, its unit, and a word
where it is missing or uncertain. A setting is a data set and a network: one experiment.
"""

import csv
import re
import sys
from collections.abc import Callable
from pathlib import Path

PUBLISHED = Path(__file__).parents[1] / "src" / "bitproof" / "tables" / "published"
FIELDS = ("setting", "row", "column", "value", "unit", "note")

Raw = dict[str, str]
Place = tuple[str, str, str]

_SIGNS = {"+": "1", "-": "-1", "~": "0"}
_STARTS = {"Random Parameters": "random", "Non-Robust Parameters": "non-robust", "Robust Parameters": "robust"}


def _bits(raw: Raw) -> str:
    return f"w{raw['weight_bits']}a{raw['act_bits']}"


def _bernhard2019(raw: Raw) -> Place:
    row = raw.get("model") or raw["source_model"]
    if "target_model" in raw and "ensemble" not in raw["target_model"]:
        row = raw["target_model"]
    if "ensemble" in row:
        row = "ensemble"
    if raw["metric"] == "rate_other_four_models_agree":
        kind = raw["prediction_on_source"].replace("correctly classified", "right").replace("misclassified", "wrong")
        return raw["dataset"], row, f"{'FGSM' if raw['attack'] == 'FGSM' else 'clean'} {kind}"
    attack = "clean" if raw["attack"] == "none" else raw["attack"]
    metric = "acc" if raw["metric"] == "accuracy" else raw["metric"]
    return raw["dataset"], row, f"{attack} {metric}"


def _xiao2023(raw: Raw) -> Place:
    row = "float" if raw["method"] == "FP" else f"{raw['method']} {_bits(raw)}"
    noise, metric = raw.get("noise", ""), raw["metric"].replace("clean_accuracy", "ACC")
    if metric in ("NR", "FP"):
        return raw["model"], row, noise
    if metric == "ACCs" and not noise.startswith("mean"):
        return raw["model"], row, " ".join((raw["noise_group"].replace(" resize", ""), noise))
    return raw["model"], row, metric.replace("ACCs_mean", "ACCs")


def _li2024(raw: Raw) -> Place:
    ways = {"PTQ": "ptq", "vanilla": "vanilla", "adversarial training": "adversarial", "transfer": "matching"}
    said = f"{raw['method']} {raw.get('training_strategy', '')}"
    way = next(way for word, way in reversed(ways.items()) if word.lower() in said.lower())
    start, setting = _STARTS[raw["initial_parameters"]], f"{raw['dataset']} {raw['model']}"
    if raw["unit"] == "sign":
        return setting, f"{start} {way}", "trend"
    share = f" {raw['train_set_percent']}%" if "train_set_percent" in raw else ""
    return setting, f"{start} {way}{share}", f"{_bits(raw)} {raw['metric']}"


def _lin2019(raw: Raw) -> Place:
    method = raw["method"].replace("Vanilla Quantization", "vanilla").replace("Defensive Quantization", "DQ")
    setting, row = f"{raw['dataset']} {raw['model'].split(' (')[0].split(',')[0]}", method
    if raw["metric"] == "clean_accuracy_difference":
        return setting, method, "ReLU1 less ReLU6"
    column = "clean" if raw["attack"] == "none" else raw["attack"]
    if raw["attack_setting"] == "black-box":
        column += " black-box"
    if "ReLU1" in raw["model"] or "ReLU6" in raw["model"]:
        return setting, method, f"{raw['model'].split(', ')[1]} {column}"
    if raw["method"] in ("Vanilla", "DQ"):
        row = f"DQ {raw['beta']}" if raw["beta"] else "vanilla"
        if raw["metric"] in ("quantize_gain", "best_adversarial_accuracy"):
            return setting, row, raw["metric"].replace("_adversarial_accuracy", "").replace("_", " ")
        return setting, row, f"{column} {raw['act_bits']} bits"
    return setting, row, f"{column} {raw['eps']}".strip()


def _hong2021(raw: Raw) -> Place:
    setting = f"{raw['dataset']} {raw['model']}"
    if raw["method"] in ("full precision", "post-training quantization"):
        row = raw["model_state"].split(" (")[0]
    else:
        row = f"{raw['method']} {raw['attack']}"
    names = {
        "test_accuracy": "accuracy",
        "test_accuracy_all": "accuracy",
        "test_accuracy_target_class": "class",
        "test_accuracy_rest": "rest",
        "target_sample_accuracy_towards_y": "sample right",
        "target_sample_accuracy_towards_yt": "sample turned",
        "attack_success_rate": "ASR",
    }
    return setting, row, f"{raw['weight_bits']} bits {names[raw['metric']]}"


PLACES: dict[str, Callable[[Raw], Place]] = {
    "bernhard2019": _bernhard2019,
    "xiao2023": _xiao2023,
    "li2024": _li2024,
    "lin2019": _lin2019,
    "hong2021": _hong2021,
}


def _note(raw: Raw) -> str:
    for word in ("NC", "undefined", "uncertain", "missing", "not reported", "not applicable"):
        if raw["note"].startswith(word):
            return word
    return "uncertain" if "probable" in raw["note"] or "misprint" in raw["note"] else ""


def converted(path: Path) -> list[Raw]:
    """The values of one transcribed table, as they are shipped."""
    place = PLACES[path.stem.partition("_")[0]]
    rows: list[Raw] = []
    with path.open(newline="", encoding="utf-8") as file:
        for raw in csv.DictReader(file):
            if "loose" in raw["note"] and raw["value"]:
                continue  # printed without a place
            value = _SIGNS.get(raw["value"], raw["value"]).lstrip("+")
            unit = {"percentage points": "percent"}.get(raw["unit"], raw["unit"])
            rows.append(dict(zip(FIELDS, (*place(raw), value, unit, _note(raw)), strict=True)))
    return rows


def main(folder: Path) -> None:
    PUBLISHED.mkdir(exist_ok=True)
    for path in sorted(folder.glob("*_table*.csv")):
        name = re.sub("table0", "table", path.name)
        with (PUBLISHED / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(converted(path))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
