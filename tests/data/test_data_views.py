"""Views keep each example's number, so that results stay paired with those of the whole."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import bitproof as bp
from bitproof.data import mapped, select
from bitproof.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Noisy:
    strength: float = 0.1

    def __call__(self, images, *, rng):
        return (images + self.strength * rng.normal(tuple(images.shape[1:]))).clamp(0, 1)


@dataclass(frozen=True, kw_only=True)
class Broken:
    def __call__(self, images, *, rng):
        return images + 1


@pytest.fixture(scope="module")
def data():
    return bp.load_data("digits", limit=30)


@settings(deadline=None)
@given(rows=st.lists(st.integers(0, 29), min_size=1, max_size=12, unique=True))
def test_a_selection_holds_what_the_whole_holds_there(rows):
    data = bp.load_data("digits", limit=30)
    some = select(data, rows)
    assert some.ids.tolist() == rows and (some.labels == data.labels[rows]).all()
    assert torch.equal(some.images(range(len(rows))), data.images(rows))
    assert [some.encoded(i) for i in range(len(rows))] == [data.encoded(row) for row in rows]
    inner = select(some, [len(rows) - 1])
    assert inner.ids.tolist() == rows[-1:] and torch.equal(inner.images([0]), data.images(rows[-1:]))


def test_results_on_a_selection_are_those_of_the_whole(data):
    model = bp.load_model("digits_cnn")
    conditions = ["gaussian-noise", "pgd:eps=32/255,steps=3"]
    whole = bp.evaluate(model, data, conditions=conditions, progress=False)
    some = bp.evaluate(model, select(data, [20, 3, 11]), conditions=conditions, progress=False)
    for a, b in zip(whole.cells, some.cells, strict=True):
        assert b.ids.tolist() == [20, 3, 11] and a.key != b.key
        np.testing.assert_array_equal(a.predictions[[20, 3, 11]], b.predictions)
        np.testing.assert_allclose(a.linf[[20, 3, 11]], b.linf, atol=1e-6)


def test_a_mapped_view_changes_images_and_labels(data):
    changed = mapped(data, Noisy(), labels=(data.labels + 1) % 10)
    images = changed.images(range(30))
    assert (images != data.images(range(30))).any() and (changed.labels != data.labels).all()
    assert torch.equal(changed.images([7]), images[7:8])  # keyed by example, not by batch
    assert torch.equal(select(changed, [7]).images([0]), images[7:8])
    assert torch.equal(mapped(select(data, [7]), Noisy()).images([0]), images[7:8])
    prints = {data.fingerprint, changed.fingerprint, mapped(data, Noisy()).fingerprint}
    prints |= {mapped(data, Noisy(strength=0.2)).fingerprint, mapped(data, Noisy(), seed=1).fingerprint}
    assert len(prints) == 5
    assert bp.evaluate(bp.load_model("digits_cnn"), changed, suite="shifts", progress=False).cells[
        0
    ].ids.tolist() == list(range(30))


@pytest.mark.parametrize("rows", [[], [30], [-1], [1, 1], [0.5], [[1]]])
def test_rows_that_are_not_there_are_refused(data, rows):
    with pytest.raises(InputError, match=r"positions 0\.\.29"):
        select(data, rows)


def test_a_change_has_to_be_a_setting_and_stay_in_range(data):
    with pytest.raises(InputError, match="is no setting"):
        mapped(data, lambda images, rng: images)
    with pytest.raises(InputError, match="gave shape"):
        mapped(data, Broken()).images([0])
    mask = np.arange(30) % 2 == 0
    assert len(select(data, mask)) == 15


def test_reading_notes_nothing(tmp_path):
    from PIL import Image

    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.fromarray(np.full((8, 8, 3), 40 * i, np.uint8)).save(tmp_path / name / f"{i}.png")
    (tmp_path / "a" / "0.png").write_bytes(b"torn")
    data = bp.load_data("folder", root=tmp_path, size=8)
    read = data.read(range(6))
    assert list(read.left_out) == ["a/0.png"] and not data.left_out and len(read.rows) == 5
    some = select(data, [data.files.index("a/0.png"), data.files.index("b/1.png")])
    assert some.read([0, 1]).rows.tolist() == [1] and list(some.read([0]).left_out) == ["a/0.png"]


def test_data_print_themselves_in_a_line():
    data = bp.load_data("digits", limit=40)
    assert repr(data) == "ArrayData: digits test, 40 of 10 classes, 1x20x20"
    assert repr(select(data, [1, 2])) == "Selected: digits test, 2 of 10 classes, 1x20x20"
