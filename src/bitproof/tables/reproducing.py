"""Making a table: its models, its experiment, its numbers beside the paper's."""

import datetime
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Any

from bitproof.conditions import Clean
from bitproof.conditions.base import as_condition
from bitproof.data import Data, load_data
from bitproof.errors import lookup
from bitproof.experiment.environment import environment
from bitproof.experiment.experiment import Experiment
from bitproof.experiment.made import made_beside
from bitproof.models import preprocessing
from bitproof.records import Cell
from bitproof.settings import describe, digest
from bitproof.store import Store
from bitproof.tables.catalogue import table_of
from bitproof.tables.claims import judge
from bitproof.tables.making import Workshop
from bitproof.tables.outcome import Entry, Outcome
from bitproof.tables.papers import PAPERS
from bitproof.tables.printed import UNITS, Key, Printed
from bitproof.tables.readings import Reading
from bitproof.tables.table import CLEAN, SCALES, Measured, Study, Table, source_of
from bitproof.tables.verdicts import judge_number
from bitproof.train import Diverged


def reproduce(
    paper: str,
    table: str,
    *,
    scale: str = "smoke",
    setting: str | None = None,
    root: str | Path | None = None,
    weights: Mapping[str, str | Path] | None = None,
    store: str | Path | None = None,
    images: int | None = None,
    seed: int = 0,
    device: str | None = None,
    progress: bool = True,
) -> Outcome:
    """Make a table of a paper and put its numbers beside the printed ones.

    Args:
        paper: one of `PAPERS`, such as "xiao2023".
        table: "table3" or "figure1", see `bitproof list tables`.
        scale: "smoke", "reduced" or "full".
        setting: which experiment of the table, such as "ResNet50"; None = its first.
        root: where the data set lies.
        weights: files of trained float models by architecture, such as {"resnet20": "resnet20.safetensors"}.
        store: keeps results, and beside it the models: what another table made is found again, and a call that was
            stopped goes on. None keeps nothing.
        images: so many random test images instead of the scale's own number.
        seed: of all randomness.
        device: where models are made and tested, such as "cuda"; None = on the CPU.
        progress: show bars.

    Raises:
        InputError: an unknown table, scale or setting, or data or weights that are missing.
    """
    chosen = table_of(paper, table)
    study = study_of(chosen, scale, setting)
    setting = setting or chosen.settings[0]
    begun = time.perf_counter()
    with ExitStack() as stack:
        folder = made_beside(store) if store else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        shop = Workshop(
            makings=study.models,
            train=_part(_data(study, root, "train"), study.training, seed),
            test=_part(_data(study, root, "test"), images or study.images, seed),
            folder=folder,
            weights={name: Path(path) for name, path in (weights or {}).items()},
            seed=seed,
            device=device,
            progress=progress,
        )
        measured = _measured(study, shop, stack.enter_context(Store(store)), setting)
        readings = {found.key: found for found in chosen.read(measured)} if measured.models else {}
        claims = chosen.claims(measured) if measured.models else ()
    printed = chosen.printed(setting)
    entries = [*_entries(readings, printed, chosen, study), *_not_converged(readings, printed, measured, study)]
    return Outcome(
        paper=paper,
        number=chosen.number,
        title=chosen.title,
        setting=setting,
        citation=PAPERS[paper].citation,
        scale=scale,
        data=f"{shop.test.name} {shop.test.split}, n = {len(shop.test):,}",
        training=f"{shop.train.name} {shop.train.split}, n = {len(shop.train):,}",
        network=study.network,
        differs=study.differs,
        entries=tuple(entries),
        claims=tuple(judge(claim, readings) for claim in claims),
        unmeasured=sum(value.value is not None for value in printed.values())
        - sum(entry.difference is not None for entry in entries),
        diverged=measured.diverged,
        passes=sum({cell.key: cell.forwards + cell.backwards for cell in measured.cells.values()}.values()),
        seconds=round(time.perf_counter() - begun, 1),
        written=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        environment={key: value for key, value in environment().items() if key in _KEPT},
    )


def study_of(table: Table, scale: str, setting: str | None = None) -> Study:
    """The experiment of a table at a scale.

    Raises:
        InputError: one that there is not.
    """
    lookup(SCALES, scale, "scale")
    if setting is not None:
        lookup(dict.fromkeys(table.settings), setting, f"setting of {table.name}")
    return table.study[scale](setting or table.settings[0])


_KEPT = ("bitproof", "commit", "dirty", "python", "packages", "processor", "threads")
"""What of the environment says something of a number; arguments are paths of a machine."""


def _data(study: Study, root: str | Path | None, split: str) -> Data:
    return load_data(
        study.data, root=root if study.data != "digits" else None, split=split, **preprocessing(study.network)
    )


def _part(data: Data, count: int | None, seed: int) -> Data:
    return data if count is None else data.sample(count, seed=seed)


def _measured(study: Study, shop: Workshop, store: Store, setting: str) -> Measured:
    """The models made and tested."""
    models, diverged = dict[str, Any](), dict[str, int]()
    for name in study.tested:
        try:
            models[name] = shop.model(name)
        except Diverged as nc:
            diverged[name] = nc.epoch
    given = {CLEAN: Clean(), **study.conditions(shop.test)}
    wanted = {name: as_condition(condition) for name, condition in given.items()}
    usable = {name: condition for name, condition in wanted.items() if source_of(condition) in (None, *models)}
    cells = dict[tuple[str, str], Cell]()
    if models:
        experiment = Experiment(
            models=models,
            data=shop.test,
            conditions=tuple(usable.values()),
            seed=shop.seed,
            independent=True,
            device=shop.device,
        )
        result = experiment.run(store, progress=shop.progress)
        places = {digest(describe(c, sources=True)): place for place, c in enumerate(experiment.all_conditions)}
        of = dict(zip(product(models, range(len(places))), result.cells, strict=True))
        for name, condition in usable.items():
            place = places[digest(describe(condition, sources=True))]
            cells |= {(model, name): of[model, place] for model in models}
    return Measured(
        cells=cells, models=tuple(models), diverged=diverged, setting=setting, test=shop.test, open=shop.model
    )


def _entries(
    readings: Mapping[Key, Reading], printed: Mapping[Key, Printed], table: Table, study: Study
) -> Iterator[Entry]:
    units = {column: value.unit for (_, column), value in printed.items()}
    for key, reading in readings.items():
        theirs, found = printed.get(key), reading.estimate
        unit = theirs.unit if theirs else units.get(reading.column, table.unit)
        ours = [None if end is None else UNITS[unit] * end for end in found] if found else [None, None, None]
        verdict = judge_number(
            theirs, found, n=reading.n, images=study.printed_images, differs=study.reasons(reading.column)
        )
        known = theirs is not None and theirs.value is not None and ours[0] is not None
        yield Entry(
            row=reading.row,
            column=reading.column,
            unit=unit,
            value=ours[0],
            low=ours[1],
            high=ours[2],
            n=reading.n,
            printed=(theirs.text or theirs.note) if theirs else "",
            difference=ours[0] - theirs.value if known else None,  # pyright: ignore - both are there
            verdict=verdict.word,
            reason=verdict.reason,
        )


def _not_converged(
    readings: Mapping[Key, Reading], printed: Mapping[Key, Printed], measured: Measured, study: Study
) -> Iterator[Entry]:
    """The printed numbers of models that did not converge here."""
    for (row, column), theirs in printed.items():
        if row in measured.diverged and (row, column) not in readings:
            verdict = judge_number(theirs, None, n=0, images=None, differs=study.reasons(column))
            yield Entry(
                row=row,
                column=column,
                unit=theirs.unit,
                value=None,
                low=None,
                high=None,
                n=0,
                printed=theirs.text or theirs.note,
                difference=None,
                verdict=verdict.word,
                reason=verdict.reason,
            )
