"""kill -9 in the middle of every recipe and objective: the same call goes on to the same weights, bit for bit."""

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.train import OBJECTIVES, RECIPES, standard, state

RUN = bp.Rng(0, np.zeros(1, np.int64))
SMALL = {"epochs": 2, "batch_size": 20, "holdout": 14}

WAYS = {name: recipe(**SMALL) for name, recipe in RECIPES.items()}
WAYS |= {name: standard(**SMALL, objective=objective()) for name, objective in OBJECTIVES.items()}
WAYS |= {
    "free, replayed": standard(**SMALL, objective=bp.train.Free(), replays=2),
    "averaged, orthogonal, a share": standard(**SMALL, averaging=0.9, orthogonality=1e-3, share=0.7),
    "watched": standard(**SMALL, objective=bp.train.NFGSM(), alarm=bp.train.Alarm(every=2, images=8, steps=2)),
}


STEPS = 4
"""Six make two epochs (more with replays): killed in the second, after which it goes on."""


def data() -> bp.Data:
    return bp.load_data("digits", split="train", limit=74)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 5, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 10))


def kill_all(folder: Path) -> None:
    """Start every way in a process of its own, which kills itself after `STEPS` steps, its state written after each."""
    importlib.import_module("torch._dynamo")  # seconds, which every optimizer would spend in every process
    torch.set_num_threads(1)
    state._SAVE_EVERY = 0.0
    images, start = data(), network()
    for number, recipe in enumerate(WAYS.values()):
        if pid := os.fork():  # this process has never asked for a gradient, and so has no threads to lose
            _, status = os.waitpid(pid, 0)
            assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            continue
        steps = []

        def die(_, words, steps=steps):
            steps.append(bool(words))
            if sum(steps) > STEPS:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            recipe(start, images, rng=RUN, state=folder / f"{number}.pt", advance=die)
        finally:
            os._exit(1)  # it was not killed


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    # What conftest does to functions, to check their shapes, is done there, too: a state knows those of its run.
    code = f"import conftest, pathlib, test_kills; test_kills.kill_all(pathlib.Path({str(folder)!r}))"
    paths = os.pathsep.join(str(path) for path in (Path(__file__).parents[1], Path(__file__).parent))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", WAYS)
def test_a_killed_run_ends_with_the_same_weights(name, killed, one_thread):
    recipe, kept = WAYS[name], killed / f"{list(WAYS).index(name)}.pt"
    straight = recipe(network(), data(), rng=RUN)
    resumed = recipe(network(), data(), rng=RUN, state=kept)
    left, right = straight.state_dict(), resumed.state_dict()
    assert left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)
