"""The board as other programs and papers take it: rows, CSV, BibTeX, the command of a run."""

import csv
import io
import re
import shlex
from typing import Any

from bitproof.leaderboard.board import Board, Place
from bitproof.report.figure import latex

_FORMULA = re.compile(r"[=+\-@]")
"""How a text begins that a spreadsheet would compute."""


def rows(made: Board) -> list[dict[str, Any]]:
    """One row a model and threat; numbers are numbers, accuracies are fractions."""
    return [
        {
            "data": ranking.first.data.name,
            "split": ranking.first.data.split,
            "n": row.place.entry.n,
            "threat": ranking.threat.name,
            "how": ranking.threat.how,
            "rank_best": row.ranks[0],
            "rank_worst": row.ranks[1],
            "of": len(ranking.rows),
            "model": row.place.entry.model.name,
            "architecture": row.place.entry.architecture,
            "method": row.place.entry.method,
            "weight_bits": row.place.entry.model.weight_bits,
            "act_bits": row.place.entry.model.act_bits,
            "bytes": row.place.entry.model.bytes,
            "accuracy": row.rate.value,
            "low": row.rate.low,
            "high": row.rate.high,
            "clean": row.clean.value,
            "clean_low": row.clean.low,
            "clean_high": row.clean.high,
            "float": None if row.baseline is None else row.baseline[1].value,
            "difference": None if row.difference is None else row.difference.value,
            "diff_low": None if row.difference is None else row.difference.low,
            "diff_high": None if row.difference is None else row.difference.high,
            "masked": row.place.entry.masked,
            "tier": row.place.tier,
            "by": "; ".join(source.by for source in row.place.sources if source.by),
            "date": row.place.entry.date,
            "commit": row.place.entry.environment.get("commit"),
            "seed": row.place.entry.seed,
            "fingerprint": row.place.entry.model.fingerprint,
        }
        for ranking in made.rankings
        for row in ranking.rows
    ]


def table(made: Board) -> str:
    """The rows as CSV; no text of a stranger is a formula there."""
    found = rows(made)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(found[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _harmless(value) for key, value in row.items()} for row in found)
    return out.getvalue()


def _harmless(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    line = "".join(letter if letter.isprintable() else "?" for letter in value)
    return f"'{line}" if _FORMULA.match(line) else line


def bibtex(title: str) -> str:
    """How the board is cited."""
    return f"@misc{{bitproof-board,\n  title = {{{latex(title)}}},\n  note = {{made by bitproof}}\n}}"


def bibtex_of(place: Place) -> str:
    """How the results of one model are cited."""
    entry, source = place.entry, place.sources[0]
    lines = {
        "title": f"Robustness of {entry.model.name} on {entry.data.name} {entry.data.split}",
        "author": f"{{{latex(source.by)}}}" if source.by else "",
        "year": entry.date[:4],
        "note": f"n = {entry.n}, seed {entry.seed}, fingerprint {entry.model.fingerprint}",
    }
    said = [f"  {key} = {{{value if key == 'author' else latex(value)}}}" for key, value in lines.items() if value]
    said += [f"  howpublished = {{\\url{{{source.link}}}}}"] if source.link else []
    return f"@misc{{{place.slug},\n" + ",\n".join(said) + "\n}"


def command(place: Place) -> str:
    """What was typed to get these results; "" where it is not known."""
    words = place.entry.environment.get("command")
    return shlex.join(map(str, words)) if isinstance(words, list) else ""
