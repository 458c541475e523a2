"""kill -9 in the middle of every recipe and objective: the same call goes on to the same weights, bit for bit."""

import os
import signal

import numpy as np
import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.train import OBJECTIVES, RECIPES, Recipe, standard

RUN = bp.Rng(0, np.zeros(1, np.int64))
SMALL = {"epochs": 2, "batch_size": 20, "holdout": 14}

WAYS = {name: recipe(**SMALL) for name, recipe in RECIPES.items()}
WAYS |= {name: standard(**SMALL, objective=objective()) for name, objective in OBJECTIVES.items()}
WAYS |= {
    "free, replayed": standard(**SMALL, objective=bp.train.Free(), replays=2),
    "averaged, orthogonal, a share": standard(**SMALL, averaging=0.9, orthogonality=1e-3, share=0.7),
    "watched": standard(**SMALL, objective=bp.train.NFGSM(), alarm=bp.train.Alarm(every=2, images=8, steps=2)),
}


@pytest.fixture(scope="module")
def digits():
    return bp.load_data("digits", split="train", limit=74)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 5, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 10))


def train_and_die(recipe: Recipe, network, digits, state, steps: int) -> None:
    """Train in a process of its own, which kills itself after so many steps."""
    if pid := os.fork():
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        return
    try:
        torch.set_num_threads(1)
        done = []

        def die(_, words):
            done.append(bool(words))
            if sum(done) > steps:
                os.kill(os.getpid(), signal.SIGKILL)

        recipe(network, digits, rng=RUN, state=state, advance=die)
    finally:
        os._exit(1)  # it was not killed


@pytest.mark.parametrize("name", WAYS)
def test_a_killed_run_ends_with_the_same_weights(name, digits, network, tmp_path, monkeypatch):
    """Six steps in two epochs (more with replays): killed in the second, after which it goes on."""
    recipe, state = WAYS[name], tmp_path / "state.pt"
    straight = recipe(network, digits, rng=RUN)
    monkeypatch.setattr("bitproof.train.state._SAVE_EVERY", 0.0)  # after every step
    train_and_die(recipe, network, digits, state, 4)
    assert state.exists()
    resumed = recipe(network, digits, rng=RUN, state=state)
    left, right = straight.state_dict(), resumed.state_dict()
    assert left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)
