"""A Ray cluster gives the results of this process, whatever happens to its workers."""

import contextlib
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest

import bitproof as bp
from bitproof.errors import InputError

pytestmark = pytest.mark.slow
KILLS = 20


@pytest.fixture(scope="module")
def models():
    model = bp.load_model("digits_cnn", seed=0)
    images = bp.load_data("digits", split="train", limit=64)
    return {"float": model, "w4a4": bp.quantize(model, "w4a4", images)}


def results(models, **how):
    data = bp.load_data("digits", limit=48)
    result = bp.evaluate(models, data, suite="quick", transfer=["fgsm:eps=0.1"], progress=False, batch_size=16, **how)
    return {cell.key: (cell.predictions.tolist(), cell.confidences.tolist()) for cell in result.cells}


def workers():
    """The processes of a cluster that do tasks of a run now."""
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and (process / "cmdline").read_bytes().startswith(b"ray::_do"):
                found.append(int(process.name))
    return found


def test_results_are_those_of_this_process(models, one_thread):
    pytest.importorskip("ray")
    assert results(models, executor="ray", jobs=2) == results(models)


def test_killed_workers_change_nothing(models, one_thread, tmp_path):
    pytest.importorskip("ray")
    kills, over = [], threading.Event()

    def kill():
        choose = random.Random(0)
        while not over.is_set() and len(kills) < KILLS:
            time.sleep(choose.uniform(0, 0.3))
            if alive := workers():
                os.kill(choose.choice(alive), signal.SIGKILL)
                kills.append(time.monotonic())
                time.sleep(1.5)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        rounds, found = 0, {}
        while len(kills) < KILLS and rounds < 20:
            rounds += 1
            found = results(models, executor="ray", jobs=2, store=tmp_path / f"{rounds}.db")
    finally:
        over.set()
        killer.join()
    assert len(kills) == KILLS
    assert found == results(models)


def test_an_address_without_a_cluster_is_said(models):
    pytest.importorskip("ray")
    with pytest.raises(InputError, match="no Ray cluster at 127.0.0.1:1"):
        results(models, executor="ray", address="127.0.0.1:1")


def test_an_address_is_that_of_a_ray_cluster(models):
    with pytest.raises(InputError, match="an address is that of a Ray cluster"):
        results(models, address="auto")
