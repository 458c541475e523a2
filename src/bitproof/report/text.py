"""How numbers are written: rates in percent, differences in percentage points, always with a true minus."""

import math
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from bitproof.records import Cell, Coverage, Explained

MISSING = "\N{EN DASH}"

_NAMED = 5
"""How many of the files that were left out a report names."""


def percent(rate: float | None) -> str:
    """A rate in percent with one decimal: 0.9725 is "97.2"."""
    return MISSING if rate is None else _signed(100 * rate, "")


def points(difference: float | None) -> str:
    """A difference of rates in percentage points with its sign: -0.031 is "−3.1"."""
    return MISSING if difference is None else _signed(100 * difference, "+")


def unsigned_points(difference: float) -> str:
    """The size of a difference of rates in percentage points; what would be read as none is "less than 0.1"."""
    return "less than 0.1" if 0 < abs(difference) < 0.0005 else percent(abs(difference))


def value(number: float, share: bool) -> str:
    """A metric: a share in percent, anything else, such as a loss or a radius, with three decimals as it is."""
    return percent(number) if share else _signed(number, "", 3)


def difference(number: float, share: bool) -> str:
    """A difference of `value`s with its sign: of shares in points."""
    return points(number) if share else _signed(number, "+", 3)


def interval(row: dict[str, Any], share: bool = True) -> str:
    """The interval of a row's value, in percent if it is a share."""
    return MISSING if row["low"] is None else f"{value(row['low'], share)} to {value(row['high'], share)}"


def change(row: dict[str, Any], share: bool) -> str:
    """How sure the difference of a metric is."""
    low, high = row["diff_low"], row["diff_high"]
    unit = " points" if share else ""
    sure = "" if low is None else f"difference {difference(low, share)} to {difference(high, share)}{unit}, "
    return f"{sure}p {p_value(row['p_value'])}, not corrected"


def coverage(found: Coverage) -> str:
    """How much of a model is quantized, and which parts of it stay float, the largest of them by name."""
    products = "" if found.products is None else f" and {percent(found.products)}% of the multiply-accumulates"
    said = f"Quantized: {percent(found.weights)}% of the weights{products}."
    if parts := found.floating():
        shown = [f"{name or 'the model itself'} ({_float_share(w, p)})" for name, w, p in parts[:_NAMED]]
        rest = [f"{len(parts) - _NAMED} more"] if len(parts) > _NAMED else []
        said += f" Float: {', '.join([*shown, *rest])}."
    return said


def parts(found: Coverage, reasons: Mapping[str, str]) -> list[str]:
    """A line for each part of a model: its bits, weights and multiply-accumulates, and why it is float where it is."""
    width = max((len(part.name) for part in found.parts), default=0)
    lines = []
    for part in found.parts:
        named = "" if part.weight_bits == part.act_bits == 32 else f"w{part.weight_bits}a{part.act_bits}"
        why = f"  {reasons[part.name]}" if part.name in reasons else ""
        size = f"{part.weights:>10,} weights {part.products:>13,} multiply-accumulates"
        lines.append(f"  {part.name:<{width}}  {named or 'float':<6} {size}{why}")
    return lines


def _float_share(weights: float, products: float) -> str:
    kinds = {"weights": weights, "multiply-accumulates": products}
    return ", ".join(f"{percent(share)}% of the {kind}" for kind, share in kinds.items() if share >= 0.0005)


def distance(value: float | None, norm: str) -> str:
    """A distance between images, linf in grey levels: 0.0196 is "5/255"; "none" where no image was found."""
    if value is None:
        return MISSING
    return "none" if value == math.inf else f"{255 * value:.3g}/255" if norm == "linf" else f"{value:.3g}"


def p_value(p: float | None) -> str:
    """A p-value with three decimals."""
    return MISSING if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def bits(weight_bits: int, act_bits: int) -> str:
    """Bits of weights and activations, e.g. "4/8"."""
    return f"{weight_bits}/{act_bits}"


def same_pixels(row: dict[str, Any]) -> str:
    """A row of `metrics.same_pixels` as a sentence."""
    share = f"all {row['n']:,}" if row["equal"] == row["n"] else f"{row['equal']:,} of {row['n']:,}"
    return f"{row['condition']} gave the same pixels as {row['like']} on {share} images"


def remarks(cells: Iterable[Cell]) -> list[str]:
    """What a reader of results on one data set has to know: unusable files, models that are not steady."""
    cells = list(cells)
    out = next((cell.data.left_out for cell in cells if cell.data.left_out), {})
    unmade = {cell.condition.label: cell.unmade for cell in cells if cell.unmade}
    named = [f"{name} ({reason})" for name, reason in list(out.items())[:_NAMED]]
    named += [f"{len(out) - _NAMED:,} more"] if len(out) > _NAMED else []
    folders, others = sum(name.endswith("/") for name in out), sum(name.startswith("*") for name in out)
    pictures = len(out) - folders - others
    counted = [f"{pictures:,} of {cells[0].data.count:,} pictures"] if pictures else []
    counted += [f"{folders:,} folders"] if folders else []
    counted += ["other files"] if others else []
    first = [f"Left out: {' and '.join(counted)}: {', '.join(named)}."] if out else []
    of_batch = dict.fromkeys(cell.model.name for cell in cells if cell.model.of_batch)
    random = dict.fromkeys(cell.model.name for cell in cells if cell.model.random)
    first += [
        f"{name} answers by the other images in a batch: this holds for this batch size only." for name in of_batch
    ]
    untrained = dict.fromkeys(cell.model.name for cell in cells if (cell.model.origin or {}).get("weights") == "random")
    if untrained:
        has = "has" if len(untrained) == 1 else "have"
        first.append(
            f"{', '.join(untrained)} {has} random weights, as none were given: this says nothing of a trained model."
        )
    first += list(dict.fromkeys(f"{cell.model.name}: {note}." for cell in cells for note in cell.model.notes))
    first += [f"{name} answers at random: another run gives other results." for name in random]
    return first + [
        f"{label} could not be made of {count:,} pictures, which count as wrong here; metrics leave them out."
        for label, count in unmade.items()
    ]


def plain(value: Any) -> str:
    """An entry of an environment for people."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case Mapping():
            return ", ".join(f"{key} {plain(entry)}" for key, entry in value.items())
        case list():
            return shlex.join(map(str, value))
    return str(value)


def numbers(found: Explained) -> tuple[list[str], list[list[str]]]:
    """The table of an explanation as text: its columns and its rows."""
    table = found.table()
    return list(table.columns), [[_value(value) for value in row] for row in table.itertuples(index=False)]


def _value(value: Any) -> str:
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}") if isinstance(value, float) else plain(value)


def _signed(value: float, sign: str, decimals: int = 1) -> str:
    text = f"{value:{sign}.{decimals}f}"
    return f"{0:.{decimals}f}" if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")
