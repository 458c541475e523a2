"""Judging attacks: what comes back is checked (shape, range, budget), predicted again, and only then believed."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bitproof.attacks import Attack
from bitproof.conditions import Crafted
from bitproof.core.calling import device_of
from bitproof.core.copying import copied
from bitproof.core.defended import Beside
from bitproof.core.devices import sent
from bitproof.core.passes import Counted
from bitproof.core.room import Room
from bitproof.errors import InputError
from bitproof.judging.aims import reached, targets_of, to_attack
from bitproof.judging.asking import check_same_again, craft, part_size
from bitproof.judging.believing import left_as_found
from bitproof.judging.bench import Advance, Bench
from bitproof.judging.checks import check_steady, examine_in, predict_in
from bitproof.judging.copies import ROUGH
from bitproof.judging.draft import Draft
from bitproof.judging.lanes import in_lanes, lane_count
from bitproof.judging.making import chunks, keyed, measured
from bitproof.judging.share import WHOLE, Share
from bitproof.records import KEPT, Cell, ConditionRecord, ModelRecord


def judge_crafted(
    bench: Bench,
    crafted: Crafted,
    about: ConditionRecord,
    models: Mapping[str, ModelRecord],
    needed: Mapping[str, Cell],
    advance: Advance,
    share: Share = WHOLE,
) -> Iterable[Cell]:
    """One cell a model: of the one that is attacked, or of all that are given what was made on the source.

    Args:
        bench: what is worked with.
        crafted: the attack, what it goes for, where it is made.
        about: how the cells name it.
        models: the names of those to test, and what they are.
        needed: "clean", the cell of the attacked model on the clean images; "kept", that of the model beside it, where
            there is one; "after", its cell under the same attack with a smaller budget, where there is one; or "same",
            its cell under an attack that is the same on it.
        advance: told of every batch's passes, and at the end of those that were spared.
        share: of the examples, which the cells are of.

    Raises:
        InputError: the attack returned something else than images in [0, 1] within its budget, or the model
            is randomised and the attack does not expect that, or the attack changes the model, or draws random numbers
            that are not keyed.
    """
    if "same" in needed:
        advance(len(bench.data) * crafted.passes)
        return [replace(needed["same"], model=record, condition=about) for record in models.values()]
    name = crafted.source or next(iter(models))
    _require_gradients(bench, crafted.attack, name)
    check_steady(crafted.attack, bench.probes[name], name)
    targets = targets_of(bench, crafted, name)
    if crafted.source:
        return _transferred(bench, crafted, about, models, needed["clean"], targets, advance, share)
    return [_attacked(bench, crafted, about, models[name], needed, targets, advance, share)]


def _attacked(
    bench: Bench,
    crafted: Crafted,
    about: ConditionRecord,
    model_record: ModelRecord,
    needed: Mapping[str, Cell],
    targets: NDArray[np.int64] | None,
    advance: Advance,
    share: Share,
) -> Cell:
    """The cell of the model that is attacked.

    Unless all examples are asked for, only those that the model gets right are attacked, and in either case no more
    those that a smaller budget broke: the others are lost already, keep what that cell says of them, and cost nothing.
    What only a faster copy gets wrong is attacked again on the model itself; where the copy is another function, so is
    everything that stands.
    """
    data, name, attack, batch_size = bench.data, model_record.name, crafted.attack, bench.batch_size
    exact = _beside(bench, crafted, bench.exact[name])
    crafted_on = exact if bench.crafting == "exact" else _beside(bench, crafted, bench.crafted_on[name])
    draft = Draft.like(needed.get("after", needed["clean"]), data)
    draft.targets = targets
    if "kept" in needed and "after" not in needed:
        draft.values[KEPT] = Draft.like(needed["kept"], data).predictions
    device = device_of(exact)
    rng = keyed(attack, data, bench.seed)
    chosen = to_attack(crafted, data, needed, targets)
    every = np.flatnonzero(chosen)
    lanes = min(lane_count(crafted_on, batch_size), max(len(every), 1)) if attack.averaged == 1 else 1
    batch_size //= lanes
    size = part_size(attack, data, batch_size, len(every), lanes, share)
    mine = share.mask(every, len(data), size)
    draft.read &= mine
    attacked = np.flatnonzero(chosen & mine)
    advance((int(mine.sum()) - len(attacked)) * (attack.passes + 1))
    room = Room(batch_size)

    def judge(models: _Models, rows: NDArray[np.int64], advance: Advance) -> None:
        counted, crafting = Counted(models.exact, advance), Counted(models.crafting, advance)
        inputs = sent(data.images(rows), device)
        adversarial = craft(attack, crafting, inputs, data, rows, targets, rng, room)
        for part in chunks(np.arange(len(rows)), batch_size):
            found = examine_in(room, counted, adversarial[part], data, name)
            draft.fill(rows[part], measured(inputs[part], adversarial[part]), adversarial[part], found)
        if models.crafting is not models.exact:
            standing = np.flatnonzero(~reached(draft.predictions[rows], data.labels[rows], targets, rows))
            for part in chunks(standing, batch_size):
                if bench.crafting not in ROUGH:
                    seen = predict_in(room, crafting, adversarial[part], data, name).argmax(1).cpu().numpy()
                    part = part[reached(seen, data.labels[rows[part]], targets, rows[part])]
                if len(part):
                    again = craft(attack, counted, inputs[part], data, rows[part], targets, rng, room)
                    found = examine_in(room, counted, again, data, name)
                    draft.fill(rows[part], measured(inputs[part], again), again, found)
        models.forwards += counted.forwards + crafting.forwards
        models.backwards += counted.backwards + crafting.backwards
        advance(len(rows) * (attack.passes + 1) - _passes(counted) - _passes(crafting))

    start = time.perf_counter()
    tools = [_Models.of(exact, crafted_on, own=lanes > 1) for _ in range(lanes)]
    parts = chunks(attacked, size)
    given = [(name, model) for models in tools for model in models.apart]
    check_same_again(bench, attack, given, crafted_on, attacked, targets, rng)
    with left_as_found(f"attack {attack.label!r}", given, bench.first.images[:1]):
        in_lanes(judge, tools, parts, advance)
    draft.seconds = time.perf_counter() - start
    draft.forwards = sum(models.forwards for models in tools)
    draft.backwards = sum(models.backwards for models in tools)
    return draft.cell(model_record, about, bench.seed, device)


@dataclass
class _Models:
    """What a lane has for itself: an attack may hang hooks on the model."""

    exact: nn.Module
    crafting: nn.Module
    forwards: int = 0
    backwards: int = 0

    @property
    def apart(self) -> list[nn.Module]:
        """Each once."""
        return [self.exact] if self.crafting is self.exact else [self.exact, self.crafting]

    @staticmethod
    def of(exact: nn.Module, crafting: nn.Module, *, own: bool) -> "_Models":
        both = nn.ModuleList([exact, crafting])
        return _Models(*(copied(both) if own else both))  # pyright: ignore[reportArgumentType]


def _transferred(
    bench: Bench,
    crafted: Crafted,
    about: ConditionRecord,
    models: Mapping[str, ModelRecord],
    clean: Cell,
    targets: NDArray[np.int64] | None,
    advance: Advance,
    share: Share,
) -> list[Cell]:
    """One cell a model under the images that the attack made on the source; they are made once for all.

    Each cell counts the passes that it would take alone: those of the attack, and one forward an example.
    """
    data, attack = bench.data, crafted.attack
    assert crafted.source is not None
    source = _beside(bench, crafted, bench.exact[crafted.source])
    device, batch_size = device_of(source), bench.batch_size
    room = Room(batch_size)
    crafting = Counted(source, lambda passes: advance(passes * len(models)))
    drafts = {name: Draft.empty(data) for name in models}
    rng = keyed(attack, data, bench.seed)
    attacked = to_attack(crafted, data, {"clean": clean}, targets)
    read = np.isin(data.ids, clean.ids)
    every = np.flatnonzero(read)
    size = part_size(attack, data, batch_size, len(every), 1, share)
    mine = share.mask(every, len(data), size)
    advance(int((mine & ~read).sum()) * (attack.passes + 1) * len(models))
    parts = chunks(np.flatnonzero(read & mine), size)
    given = list(({crafted.source: source} | {name: bench.exact[name] for name in models}).items())
    check_same_again(bench, attack, given, source, np.flatnonzero(attacked & mine), targets, rng)
    with left_as_found(f"attack {attack.label!r}", given, bench.first.images[:1]):
        for rows in parts:
            before, start = _passes(crafting), time.perf_counter()
            inputs, hit = sent(data.images(rows), device), attacked[rows]
            adversarial = inputs.clone()
            if hit.any():
                some = torch.from_numpy(hit).to(device)
                adversarial[some] = craft(attack, crafting, inputs[some], data, rows[hit], targets, rng, room)
            seconds = time.perf_counter() - start
            for name in models:
                start, draft, model = time.perf_counter(), drafts[name], bench.exact[name]
                counted, there = Counted(model), device_of(model)
                for part in chunks(np.arange(len(rows)), batch_size):
                    tested = adversarial[part].to(there)
                    distances = measured(inputs[part].to(there), tested)
                    draft.fill(rows[part], distances, tested, examine_in(room, counted, tested, data, name))
                draft.forwards += counted.forwards
                draft.seconds += time.perf_counter() - start + seconds
                advance(counted.forwards)
            spared = len(rows) * attack.passes - (_passes(crafting) - before)
            advance(spared * len(models))
    for draft in drafts.values():
        draft.read, draft.targets, draft.left_out = read & mine, targets, dict(clean.data.left_out)
        draft.forwards += crafting.forwards
        draft.backwards += crafting.backwards
    there = {name: device_of(bench.exact[name]) for name in models}
    return [drafts[name].cell(record, about, bench.seed, there[name]) for name, record in models.items()]


def _beside(bench: Bench, crafted: Crafted, model: nn.Module) -> nn.Module:
    """The model, beside the one whose answers are kept where there is one."""
    return model if crafted.keeps is None else Beside(model, bench.exact[crafted.keeps])


def _require_gradients(bench: Bench, attack: Attack, name: str) -> None:
    if not attack.asks_only and not bench.subjects[name].gradients:
        raise InputError(
            f"attack {attack.label!r} on model {name!r}",
            rule="it follows gradients, and a session of a runtime has no gradients",
            remedy="Attack its twin (--twin file, bp.deploy.Twin), or use attacks that only ask (noise, square, "
            "spsa, zoo, hopskipjump) and conditions without any, such as --suite shifts",
        )


def _passes(counted: Counted) -> int:
    return counted.forwards + counted.backwards
