"""The site: a page with all rankings, a page a model, and the same as files for programs."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitproof.errors import InputError
from bitproof.files import check_folder, written
from bitproof.leaderboard import citing, figures
from bitproof.leaderboard.board import Board, Place, Source, board
from bitproof.leaderboard.entry import entries
from bitproof.leaderboard.pages import Detail, conditions, details
from bitproof.leaderboard.submission import read_submission
from bitproof.records import Record
from bitproof.report import text
from bitproof.report.page import world
from bitproof.store import Store

MARK = '<meta name="generator" content="bitproof leaderboard">'
"""In each page, so that a folder of somebody's own is not written over."""

_PAGE = re.compile(r"m-[0-9a-f]{12}\.html")


@dataclass(frozen=True, kw_only=True)
class _Read:
    """What the sources hold: the records of stores, and sources of entries."""

    records: Sequence[Record]
    sources: Sequence[Source]


def write_leaderboard(
    sources: Sequence[str | Path | Store], folder: str | Path = "site", *, title: str = "Leaderboard"
) -> Path:
    """Write a leaderboard into a folder: `index.html`, a page a model, `board.csv` and `board.json`.

    The pages work from the disk, read without scripts, and load nothing from anywhere. Equal sources give equal bytes.

    Args:
        sources: stores, and submissions (.json files). A result that stores and submissions hold alike is "reproduced".
        folder: made where it is missing; pages of an older board in it are replaced.
        title: of the board.

    Returns:
        The path of `index.html`.

    Raises:
        InputError: nothing to show, a source that cannot be read, or a folder that cannot be written.
    """
    found = _read(sources)
    made = board(found.sources)
    if not made.rankings:
        raise InputError(
            "there are no results to rank",
            rule="a leaderboard shows models that were tested at least on clean images",
            remedy="Run `bitproof evaluate ... --store PATH` first",
        )
    folder = Path(folder)
    _check_place(folder)
    (folder / "models").mkdir(parents=True, exist_ok=True)
    pages = world("bitproof.leaderboard")
    pages.globals |= {"look": figures.look, "mark": MARK, "conditions": conditions}
    shared = {"title": title, "board": made, "architectures": _architectures(made)}
    index = {"figures": figures.figures, "cite": citing.bibtex(title), "csv": citing.table(made)}
    _write(folder / "index.html", pages, "board.html.j2", "board.js", {**shared, **index})
    kept = {f"{place.slug}.html" for place in made.places.values()}
    for old in (folder / "models").iterdir():
        if _PAGE.fullmatch(old.name) and old.name not in kept:
            old.unlink()
    shown: Mapping[str, Detail] = details(made, found.records)
    for place in made.places.values():
        own = {"place": place, "detail": shown.get(place.entry.identity), "rows": _rows_of(made, place)}
        own |= {"cite": citing.bibtex_of(place), "command": citing.command(place), "about": _about(place)}
        _write(folder / "models" / f"{place.slug}.html", pages, "model.html.j2", "script.js", {**shared, **own})
    with written(folder / "board.csv", "the table") as draft:
        draft.write_text(index["csv"], encoding="utf-8", errors="replace")
    with written(folder / "board.json", "the table") as draft:
        draft.write_text(json.dumps(citing.rows(made), indent=1) + "\n")
    return folder / "index.html"


def _read(sources: Sequence[str | Path | Store]) -> _Read:
    records, found = list[Record](), list[Source]()
    for source in sources:
        if isinstance(source, Store):
            held = source.query(None)
            found.append(Source(entries=tuple(entries(held, source.environments(), source.started()))))
            records += held
        elif Path(source).suffix == ".json":
            said = read_submission(source)
            found.append(Source(entries=said.entries, by=said.by, link=said.link, licence=said.licence))
        else:
            with Store(source, readonly=True) as store:
                inner = _read([store])
            records, found = [*records, *inner.records], [*found, *inner.sources]
    return _Read(records=records, sources=found)


def _check_place(folder: Path) -> None:
    """Refuse a folder that cannot be written, or that is somebody's own page.

    Raises:
        InputError: such a folder.
    """
    check_folder(folder, "a leaderboard")
    index = folder / "index.html"
    if index.is_file() and MARK.encode() not in index.read_bytes():
        raise InputError(
            f"{str(index)!r} is there already, and no leaderboard",
            rule="a leaderboard is written into a folder of its own",
            remedy="Choose another folder",
        )


def _write(path: Path, pages: Any, template: str, script: str, shown: Mapping[str, Any]) -> None:
    """A page whose policy allows this one script and these styles, by their hashes, and nothing else."""
    styles = pages.get_template("style.css").render() + pages.get_template("board.css").render()
    code = pages.get_template("copy.js").render() + pages.get_template(script).render()
    policy = (
        f"default-src 'none'; script-src {_hash(code)}; style-src-elem {_hash(styles)}; "
        "style-src-attr 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    html = pages.get_template(template).render(**shown, styles=styles, script=code, policy=policy)
    with written(path, "the leaderboard") as draft:
        draft.write_text(html, encoding="utf-8", errors="replace")


def _hash(code: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"


def _architectures(made: Board) -> list[str]:
    return list(dict.fromkeys(place.entry.architecture for place in made.places.values()))


def _rows_of(made: Board, place: Place) -> list[tuple[Any, Any]]:
    """Each ranking that a model stands in, with its row."""
    return [(ranking, row) for ranking in made.rankings for row in ranking.rows if row.place is place]


def _about(place: Place) -> dict[str, str]:
    """What is known of a model and of its run, for people."""
    entry, model = place.entry, place.entry.model
    said = {
        "architecture": model.architecture,
        "quantization": entry.method,
        "bits of weights and activations": text.bits(model.weight_bits, model.act_bits),
        "bytes": None if model.bytes is None else f"{model.bytes:,}",
        "fingerprint": model.fingerprint,
        "origin": text.plain(dict(model.origin)) if model.origin else None,
        "tags": text.plain(dict(model.tags)) if model.tags else None,
        "data": f"{entry.data.name} {entry.data.split}, n = {entry.n:,}, seed {entry.seed}",
        "data fingerprint": entry.data.fingerprint,
        "tested": entry.date,
        "parts": text.coverage(model.coverage) if model.coverage else None,
    }
    ran = {key.replace("_", " "): text.plain(value) for key, value in entry.environment.items() if key != "command"}
    return {key: value for key, value in (said | ran).items() if value}
