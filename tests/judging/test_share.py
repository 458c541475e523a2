"""Parts of a task, done by themselves, are the whole of it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

import bitproof as bp
from bitproof.conditions import as_condition
from bitproof.errors import InputError
from bitproof.judging import Bench
from bitproof.judging.making import Maker
from bitproof.judging.share import Share
from bitproof.judging.task import JudgeTask
from bitproof.records import ARRAYS, FURTHER
from bitproof.runner.executor import Work, Workers
from bitproof.runner.progress import Progress
from bitproof.store import Store
from bitproof.subjects import Subject

N, BATCH = 24, 8


@given(n=st.integers(0, 60), chosen=st.sets(st.integers(0, 59)), size=st.integers(1, 12), of=st.integers(1, 9))
def test_each_example_is_one_shares_and_no_batch_is_parted(n, chosen, size, of):
    wanted = np.array(sorted(row for row in chosen if row < n), dtype=np.int64)
    masks = [Share(number=number, of=of).mask(wanted, n, size) for number in range(of)]
    assert np.array_equal(np.sum(masks, 0, dtype=int), np.ones(n, int))
    batches = [tuple(wanted[start : start + size]) for start in range(0, len(wanted), size)]
    again = [
        tuple(rows[s : s + size]) for rows in (wanted[m[wanted]] for m in masks) for s in range(0, len(rows), size)
    ]
    assert again == batches
    counts = [len([b for b in batches if m[b[0]]]) for m in masks]
    assert max(counts) - min(counts) <= 1


@pytest.fixture(scope="module")
def bench():
    net = bp.load_model("digits_cnn", seed=0)
    models = {"float": net, "w4a4": bp.quantize(net, "w4a4", bp.load_data("digits", split="train", limit=64))}
    data = bp.load_data("digits", limit=N)
    subjects = {name: Subject.of(model) for name, model in models.items()}
    with Bench(subjects=subjects, maker=Maker(data=data, seed=0), batch_size=BATCH) as found:
        yield found


def task(bench, text, needs=(), models=("float", "w4a4")):
    condition = as_condition(text)
    records = {name: bench.subjects[name].record(name) for name in models}
    return JudgeTask.of(
        condition, condition.record(), records, label=text, bench=bench, needs=dict.fromkeys(needs, "key")
    )


def done(task, bench, needed, told=lambda passes: None):
    return list(task(bench, needed, frozenset(task.yields), told))


def equal(one, other):
    for name in (*ARRAYS, *FURTHER):
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None and b is None) or (a.dtype == b.dtype and np.array_equal(a, b)), name
    assert one.values.keys() == other.values.keys()
    assert all(np.array_equal(one.values[name], other.values[name]) for name in one.values)
    assert np.array_equal(one.pictures.rows, other.pictures.rows)
    assert np.array_equal(one.pictures.images, other.pictures.images)
    assert (one.key, one.forwards, one.backwards, one.data) == (other.key, other.forwards, other.backwards, other.data)


@pytest.mark.parametrize(
    "text",
    [
        "clean",
        "gaussian-noise:severity=3",
        "tilt-sequence",
        "fgsm:eps=0.1",
        "crafted:attack=pgd(eps=0.1,steps=2),targets=likeliest",
    ],
)
def test_the_parts_are_the_whole_bit_for_bit(bench, one_thread, text):
    clean = {cell.model.name: cell for cell in done(task(bench, "clean"), bench, {})}
    crafted = as_condition(text).family == "crafted"
    whole = task(bench, text, ("clean",) if crafted else (), ("w4a4",) if crafted else ("float", "w4a4"))
    needed = {"clean": clean["w4a4"]} if crafted else {}
    told, told_parts = [], []
    expected = done(whole, bench, needed, told.append)
    parts = whole.parts(20)
    assert len(parts) == -(-N // BATCH)
    found = whole.joined([done(part, bench, needed, told_parts.append) for part in parts])
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        equal(one, other)
    assert sum(told_parts) == sum(told) == sum(whole.yields.values())


def test_what_was_made_on_another_model_is_parted_too(bench, one_thread):
    (clean,) = done(task(bench, "clean", models=("float",)), bench, {})
    whole = task(bench, "crafted:attack=fgsm(eps=0.1),source=float", ("clean",), ("w4a4",))
    parts = whole.parts(3)
    assert len(parts) == 3
    found = whole.joined([done(part, bench, {"clean": clean}) for part in parts])
    equal(*found, *done(whole, bench, {"clean": clean}))


def test_an_attack_that_fills_its_own_batches_gets_to_every_worker(bench, one_thread):
    (clean,) = done(task(bench, "clean", models=("float",)), bench, {})
    whole = task(bench, "square:eps=0.1,queries=10", ("clean",), ("float",))
    made = [done(part, bench, {"clean": clean}) for part in whole.parts(3)]
    assert all(cell.forwards > 0 for (cell,) in made)
    ((found,), (expected,)) = whole.joined(made), done(whole, bench, {"clean": clean})
    assert np.array_equal(found.predictions, expected.predictions)
    assert np.allclose(found.linf, expected.linf)


def test_a_cell_that_follows_from_another_is_not_parted(bench):
    whole = task(bench, "pgd:eps=0.1,steps=2", ("clean", "same"), ("w4a4",))
    assert whole.parts(4) == [whole]


@pytest.fixture
def pictures(tmp_path):
    """Twelve photographs of noise, of which those of a whole batch are cut off."""
    rng = np.random.default_rng(0)
    for number in range(12):
        path = tmp_path / "ab"[number % 2] / f"{number:02}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(path)
    data = bp.load_data("folder", root=tmp_path, size=16)
    spoil(tmp_path, data, range(4, 8))
    return tmp_path


def spoil(root, data, rows):
    for row in rows:
        path = root / data.files[row]
        path.write_bytes(path.read_bytes()[:300])


@pytest.fixture
def photographed(pictures):
    torch.manual_seed(0)
    net = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 2))
    maker = Maker(data=bp.load_data("folder", root=pictures, size=16), seed=0)
    with Bench(subjects={"float": Subject.of(net)}, maker=maker, batch_size=4) as found:
        yield found


@pytest.mark.parametrize("text", ["clean", "tilt-sequence"])
def test_a_part_without_a_picture_that_can_be_read_is_no_mistake(photographed, one_thread, text):
    whole = task(photographed, text, models=("float",))
    made = [done(part, photographed, {}) for part in whole.parts(3)]
    assert sorted(len(cell.ids) for (cell,) in made) == [0, 4, 4]
    equal(*whole.joined(made), *done(whole, photographed, {}))


def test_where_no_part_has_a_picture_it_is_said(photographed, pictures):
    whole = task(photographed, "gaussian-noise", models=("float",))
    photographed.exact, spoil(pictures, photographed.data, range(12))
    made = [done(part, photographed, {}) for part in whole.parts(3)]
    with pytest.raises(InputError, match="none of the 12 pictures of .* can be read"):
        whole.joined(made)


class Idle(Workers):
    """Four workers who do at once what they are given."""

    def __init__(self, bench):
        super().__init__(4)
        self.bench, self.given, self.made = bench, [], []

    def give(self, task, needed, missing):
        self.given.append(task)
        self.made.append(list(task(self.bench, needed, missing, lambda passes: None)))
        return len(self.made) - 1

    def ended(self, bar):
        return [next(iter(self.under_way))]

    def outcome(self, handle, task):
        return self.made[handle], []


def test_idle_workers_get_parts_and_busy_ones_whole_tasks(bench, one_thread):
    clean = task(bench, "clean", models=("float",))
    shifts = [task(bench, f"gaussian-noise:severity={level}", models=("float",)) for level in range(1, 6)]
    for tasks, shares in (([clean], [3]), ([clean, shifts[0]], [2, 2]), (shifts, [1, 1, 1, 1, 1])):
        workers = Idle(bench)
        works = [Work(task=task, wanted=frozenset(task.yields)) for task in tasks]
        with Store() as store, Progress(0, enabled=False) as bar:
            cells = list(workers.do(works, store, bar))
        given = [task.share.of for task in workers.given if task.share.number == 0]
        assert given[: len(shares)] == shares and not workers.under_way
        expected = {cell.key: cell for one in tasks for cell in done(one, bench, {})}
        assert expected.keys() == {cell.key for cell in cells}
        for cell in cells:
            equal(cell, expected[cell.key])
