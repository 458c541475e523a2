"""Which of the models of an experiment are one, and which of those that look alike are not."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from bitproof.conditions import Clean
from bitproof.deploy.sizes import bytes_on_disk
from bitproof.judging import Bench
from bitproof.quant.coverage import coverage
from bitproof.records import Cell, Coverage, ModelRecord, cell_key
from bitproof.store import Store
from bitproof.subjects import Probe, same_answers

MOST = 1000
"""Models of one fingerprint that are told apart by their answers."""


def told_apart(bench: Bench, store: Store) -> dict[str, ModelRecord]:
    """What each model is, by name. Where live answers are not those of a stored result, or of another model here, of
    the same fingerprint, the model is another one for some reason that no fingerprint sees: it gets one of its own."""
    found: dict[str, ModelRecord] = {}
    about = Clean().record()
    for name, subject in bench.subjects.items():
        probe = bench.probes[name]
        plain = replace(subject.record(name), random=probe.random, of_batch=probe.of_batch)
        if probe.of_batch:  # then the size of a batch is a part of what the model is
            plain = replace(plain, fingerprint=f"{plain.fingerprint}@{bench.batch_size}")
        for record in _namesakes(plain):
            here = [n for n, other in found.items() if other.identity == record.identity]
            key = cell_key(record, about, bench.data.record, bench.seed)
            stored = [] if store.missing([key]) else [store.get(key)]
            met = [*(bench.probes[n] for n in here), *(_probe_of(cell, bench.probed) for cell in stored)]
            found[name] = record
            if probe.random or all(same_answers(probe, other) for other in met):
                known = [*(found[n] for n in here), *(cell.model for cell in stored)]
                size = known[0].bytes if known else bytes_on_disk(subject.model)
                found[name] = replace(record, coverage=_coverage(bench, record, known), bytes=size)
                break
    return found


def _coverage(bench: Bench, model: ModelRecord, known: Sequence[ModelRecord]) -> Coverage | None:
    """What of a model is quantized; counted only where no record of the same model says it."""
    if model.is_float or known:
        return known[0].coverage if known else None
    return coverage(bench.exact[model.name], next(bench.data.inputs(1)))


def _namesakes(model: ModelRecord) -> Iterator[ModelRecord]:
    """The model, then others of its fingerprint with a number behind it."""
    yield model
    for number in range(2, MOST):
        yield replace(model, fingerprint=f"{model.fingerprint}~{number}")


def _probe_of(cell: Cell, ids: np.ndarray) -> Probe:
    """What a stored result says to the examples with these numbers, in their order."""
    places = {number: place for place, number in enumerate(cell.ids.tolist())}
    rows = [places[number] for number in ids.tolist() if number in places]
    return Probe(
        predictions=cell.predictions[rows],
        confidences=cell.confidences[rows],
        random=cell.model.random,
        of_batch=cell.model.of_batch,
    )
