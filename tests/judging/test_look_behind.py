"""What something was tuned on is told from what it is tested on, by one reading of the images."""

import numpy as np
import pytest
import torch

import bitproof as bp
from bitproof.errors import InputError
from bitproof.judging import Unseen
from bitproof.pictures.pixels import ids


@pytest.fixture
def data():
    pictures = np.random.default_rng(0).random((200, 1, 4, 4), np.float32)
    return bp.from_arrays(pictures, np.zeros(200, np.int64), classes=["a", "b"])


def test_all_images_are_read_once_whatever_is_checked_and_not_at_all_for_nothing(data, monkeypatch):
    unseen, others, readings, inputs = Unseen(data), ids(torch.rand(64, 1, 4, 4)), [], type(data).inputs
    monkeypatch.setattr(type(data), "inputs", lambda self: [readings.append(1), inputs(self)][1])
    unseen.check(np.zeros(0, np.int64), "the threshold was chosen on", "Choose others")
    assert not readings
    for _ in range(3):
        unseen.check(others, "it was made on", "Make it on others")
    assert len(readings) == 1


@pytest.mark.parametrize(("shared", "refused"), [(1, False), (2, False), (3, True), (200, True)])
def test_one_in_a_hundred_may_be_there_twice(data, shared, refused):
    own = Unseen(data).own[:shared]
    tuned = np.concatenate([own, ids(torch.rand(300, 1, 4, 4))])
    if refused:
        with pytest.raises(InputError, match=f"at least {shared} of 200 images of .* among those that it was made on"):
            Unseen(data).check(tuned, "it was made on", "Make it on others")
    else:
        Unseen(data).check(tuned, "it was made on", "Make it on others")


def test_a_sample_of_what_was_seen_counts_by_its_own_size(data):
    own = Unseen(data).own
    with pytest.raises(InputError, match="at least 2 of 200"):
        Unseen(data).check(own[:2], "it was made on", "Make it on others")


def test_a_picture_that_the_test_holds_often_counts_as_often():
    pictures = np.repeat(np.random.default_rng(0).random((20, 1, 4, 4), np.float32), 5, axis=0)
    unseen = Unseen(bp.from_arrays(pictures, np.zeros(100, np.int64), classes=["a", "b"]))
    with pytest.raises(InputError, match="at least 5 of 100"):
        unseen.check(np.concatenate([unseen.own[:1], ids(torch.rand(99, 1, 4, 4))]), "it was made on", "Use others")
