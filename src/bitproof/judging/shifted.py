"""Judging conditions that do not look at the model: the images are made once for all."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from torch import nn

from bitproof.conditions import Clean, chosen_targets
from bitproof.core.calling import device_of
from bitproof.core.rng import Rng
from bitproof.judging.believing import believed_rerun, left_as_found
from bitproof.judging.bench import Advance, Bench
from bitproof.judging.checks import examine_in
from bitproof.judging.draft import Draft
from bitproof.judging.share import WHOLE, Share
from bitproof.records import Cell, ConditionRecord, ModelRecord
from bitproof.shifts.base import Rerun, Shift


def judge_shifted(
    bench: Bench,
    shift: Shift,
    about: ConditionRecord,
    models: Mapping[str, ModelRecord],
    needed: Mapping[str, Cell],
    advance: Advance,
    share: Share = WHOLE,
) -> Iterable[Cell]:
    """One cell a model, with the prediction in every frame where the shift makes sequences.

    Args:
        bench: what is worked with.
        shift: makes the images.
        about: how the cells name it.
        models: the names of those to test, and what they are.
        needed: no cells.
        advance: told of the examples done, once a model and batch.
        share: of the examples, which the cells are of.

    Raises:
        InputError: images outside [0, 1], a label the model has no output for, NaN logits, or no example
            whose picture can be read.
    """
    tested = {name: (record, bench.exact[name]) for name, record in models.items()}
    return _judge(bench, shift, about, tested, advance, share)


def judge_rerun(
    bench: Bench,
    condition: Rerun,
    about: ConditionRecord,
    models: Mapping[str, ModelRecord],
    needed: Mapping[str, Cell],
    advance: Advance,
    share: Share = WHOLE,
) -> Iterable[Cell]:
    """One cell a model that is run another way, on the clean images; see `judge_shifted`.

    Raises:
        InputError: also a rerun that changes the model that it is given, or returns none or another each time.
    """
    given = [(name, bench.exact[name]) for name in models]
    with left_as_found(f"rerun {condition.label!r}", given, bench.first.images[:1], keyed=False):
        others = {name: (record, believed_rerun(condition, bench.exact[name])) for name, record in models.items()}
        return [replace(cell, digests=None) for cell in _judge(bench, Clean(), about, others, advance, share)]


def _judge(
    bench: Bench,
    shift: Shift,
    about: ConditionRecord,
    models: Mapping[str, tuple[ModelRecord, nn.Module]],
    advance: Advance,
    share: Share,
) -> list[Cell]:
    data, size = bench.data, max(1, bench.batch_size // shift.frames)
    drafts = {name: Draft.empty(data) for name in models}
    pixels = np.zeros(len(data), np.uint64)
    for batch in bench.maker.batches(shift, size, share):
        pixels[batch.rows] = batch.digests
        for name, (record, model) in models.items():
            start, draft = time.perf_counter(), drafts[name]
            draft.read[batch.read] = True
            draft.left_out |= batch.left_out
            if len(batch.rows):
                images = batch.frames.flatten(0, 1)
                room = None if record.of_batch else bench.room
                found, frames = examine_in(room, model, images, data, name), batch.frames.shape[1]
                draft.forwards += len(images)
                draft.fill(batch.rows, batch.distances, batch.frames[:, 0], found[::frames])
                if frames > 1:
                    draft.film(batch.rows, found.logits.argmax(1).unflatten(0, (-1, frames)).cpu().numpy())
            draft.seconds += time.perf_counter() - start
            advance(len(batch.read))
    aims = None
    if about.targets is not None:
        aims = chosen_targets(about.targets, data.labels, data.classes, rng=Rng(bench.seed, data.ids))
    mine = share.mask(np.arange(len(data)), len(data), size)
    for draft in drafts.values():
        draft.digests, draft.targets = pixels, aims
        advance(int((mine & ~draft.read).sum()))
    return [drafts[name].cell(record, about, bench.seed, device_of(model)) for name, (record, model) in models.items()]
