"""What an objective learns from has to have learned something itself."""

import numpy as np
import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.errors import InputError
from bitproof.implants import ENGINES
from bitproof.settings import parse
from bitproof.train import Adversarial, CrossEntropy, Distillation, Matching, SharedBits, changed, qat, standard
from bitproof.train.teaching import FEWEST, check_start, learns_from_model


@pytest.fixture(scope="module")
def digits():
    return bp.load_data("digits", split="train", limit=200)


def test_objectives_say_whether_they_learn_from_a_model():
    assert [learns_from_model(o) for o in (CrossEntropy(), Adversarial(), SharedBits())] == [False] * 3
    taught = (Matching(), Distillation(), Adversarial(objective=Distillation()), SharedBits(objective=Matching()))
    assert all(map(learns_from_model, taught))


@pytest.mark.parametrize(
    "recipe",
    [standard(objective=Matching(), epochs=1), qat(distillation=0.5, epochs=1)],
    ids=["matching", "distillation"],
)
def test_a_start_that_guesses_is_no_teacher_unless_it_is_given(recipe, digits):
    start = bp.load_model("digits_cnn")
    with pytest.raises(
        InputError, match=r"without a teacher, from a model that guesses \(right on \d+ of 200.*--teach"
    ):
        recipe(start, digits)
    few = digits.take(FEWEST - 1)
    recipe(start, few)  # too few to tell
    start.origin = {"weights": "random", "seed": 0}  # pyright: ignore
    with pytest.raises(InputError, match="without a teacher, from random weights.*has to be trained"):
        recipe(start, few)
    made = recipe(start, few, teacher=start)
    assert made.origin is None and start.origin is not None  # what is trained does not stay random


class Says(nn.Module):
    """Gives image i, all of whose pixels are i, the i-th answer."""

    answers: torch.Tensor

    def __init__(self, answers):
        super().__init__()
        self.register_buffer("answers", torch.from_numpy(answers))

    def forward(self, images):
        return nn.functional.one_hot(self.answers[(255 * images[:, 0, 0, 0]).round().long()], 10).float()


@pytest.mark.parametrize(
    ("classes", "right", "refused"),
    [(10, 20, True), (10, 21, False), (2, 75, True), (2, 76, False), (10, 100, False)],
)
def test_what_counts_as_a_guess(classes, right, refused):
    """Twice as often right as the most frequent class is; of two classes, three quarters."""
    labels = np.arange(100) % classes
    pixels = np.broadcast_to(np.arange(100, dtype=np.uint8)[:, None, None, None], (100, 1, 2, 2))
    data = bp.from_arrays(pixels, labels, classes=list("0123456789"))
    model = Says(np.where(np.arange(100) < right, labels, (labels + 1) % classes))
    if refused:
        with pytest.raises(InputError, match=f"right on {right} of 100"):
            check_start(model, data, np.arange(100), "it")
    else:
        check_start(model, data, np.arange(100), "it")


def test_an_implant_that_keeps_the_logits_of_a_guess_is_refused(digits):
    engine = parse("box:objective=backdoor,schemes=w8a8,distilled=true", ENGINES, "engine")
    with pytest.raises(InputError, match="box with distilled=true without a teacher, from a model that guesses"):
        engine(bp.load_model("digits_cnn"), digits)


def test_the_command_line_refuses_it_too(run, tmp_path):
    command = [
        "train",
        "li2024-matching:epochs=1",
        "digits_cnn",
        "--data",
        "digits",
        "--limit",
        40,
        "-o",
        tmp_path / "r",
    ]
    code, _, err = run(*command)
    assert code == 2 and "without a teacher, from random weights" in err and "--teacher FILE" in err
    assert changed(qat(), distillation=0.5).objective.taught
