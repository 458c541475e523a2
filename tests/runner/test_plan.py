"""A plan is made of values: what needs what decides the order, and another process can do the work."""

import multiprocessing
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

import bitproof as bp
from bitproof.attacks import FGSM, PGD
from bitproof.conditions import Crafted
from bitproof.core.processes import worker_pool
from bitproof.experiment import Experiment, Masking
from bitproof.experiment.apart import told_apart
from bitproof.records import ARRAYS
from bitproof.runner import run
from bitproof.runner.run import in_order
from bitproof.shifts import GaussianNoise, RotateSequence
from bitproof.store import Store


@pytest.fixture
def experiment():
    model, data = bp.load_model("digits_cnn"), bp.load_data("digits", limit=24)
    w4 = bp.quantize(model, bp.Scheme("affine", weight_bits=4, act_bits=32))
    attacks = [PGD(eps=eps / 255, steps=3) for eps in (16, 4, 8)]
    transfer = Crafted(attack=FGSM(eps=8 / 255), source="w4")
    return Experiment(
        models={"float": model, "w4": w4},
        data=data,
        conditions=(*attacks, transfer, GaussianNoise(), RotateSequence(profile="scaled")),
        analyses=(Masking(queries=2, draws=2, steps=2, directions=1),),
    )


def test_needs_decide_the_order(experiment):
    with experiment.bench() as bench, Store() as store:
        plan = experiment.plan(bench, told_apart(bench, store))
        for order in (plan, plan[::-1], [plan[i] for i in np.random.default_rng(0).permutation(len(plan))]):
            done: set[str] = set()
            for task in in_order(order):
                assert set(task.needs.values()) <= done
                done |= task.yields.keys()
            assert len(done) == sum(len(task.yields) for task in plan)
        backwards = Store()
        tally = run(plan[::-1], bench, backwards, dict, progress=False)
        assert tally.computed == len(backwards) == len(done)
    forwards = experiment.run(Store(), progress=False)
    for cell in forwards.cells:
        other = backwards.get(cell.key)
        assert all(np.array_equal(getattr(cell, name), getattr(other, name)) for name in ARRAYS)


@pytest.mark.slow
def test_several_processes_do_the_same_work(experiment):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # what each of the processes gets
    try:
        alone = experiment.run(Store(), progress=False)
    finally:
        torch.set_num_threads(threads)
    together = replace(experiment, jobs=2, device="cpu").run(Store(), progress=False)
    assert together.computed == alone.computed and len(together.diagnoses) == 2
    for here, there in zip(alone.cells, together.cells, strict=True):
        assert here.key == there.key
        assert all(np.array_equal(getattr(here, name), getattr(there, name)) for name in ARRAYS)


@pytest.mark.slow
def test_what_a_process_warns_of_is_said_here():
    model, data = bp.load_model("digits_cnn"), bp.load_data("digits", limit=12)
    with pytest.warns(UserWarning, match="clusters is left out") as warned:
        bp.evaluate(model, data, suite="clean", analyses=["clusters"], jobs=2, device="cpu", progress=False)
    assert sum("left out" in str(warning.message) for warning in warned) == 1


@pytest.mark.slow
def test_an_experiment_can_be_run_twice_with_workers(experiment):
    experiment = replace(experiment, conditions=(GaussianNoise(),), analyses=(), workers=1)
    first, second = (experiment.run(Store(), progress=False) for _ in range(2))
    assert first.computed == second.computed == 4
    assert all((a.predictions == b.predictions).all() for a, b in zip(first.cells, second.cells, strict=True))


def test_an_analysis_is_stored_and_found_like_everything_else(experiment, tmp_path):
    with Store(tmp_path / "runs.db") as store:
        first = experiment.run(store, progress=False)
        assert [d.model.name for d in first.diagnoses] == ["float", "w4"] and first.diagnoses[1].twin is not None
        assert experiment.run(store, progress=False).computed == 0
        assert len(store.query("masking")) == 2 and len(store.query(None)) == len(store)


@pytest.mark.slow
def test_processes_that_end_before_they_have_read_their_work_are_told(tmp_path):
    script = """
import sys, numpy as np, bitproof as bp
pixels = np.zeros((64, 3, 32, 32), np.uint8)
data = bp.data.from_arrays(pixels, np.zeros(64, np.int64))
settings = {"jobs": 2} if sys.argv[1] == "jobs" else {"workers": 1}
bp.evaluate(bp.models.build_model("resnet20"), data, conditions=["gaussian-noise"], progress=False, **settings)
"""
    for what in ("jobs", "workers"):  # a script from standard input is none that a worker can import
        told = subprocess.run(
            [sys.executable, "-", what], input=script, capture_output=True, text=True, timeout=60, cwd=tmp_path
        )
        assert "a worker process ended before its work was done" in told.stderr


def test_a_script_without_a_guard_is_told_what_it_lacks(monkeypatch):
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(SystemExit, match="below the line `if __name__ == '__main__':`"):
        worker_pool(1, print)


def test_a_model_that_cannot_be_sent_is_refused_in_a_sentence(experiment):
    experiment = replace(experiment, models={"mine": lambda x: x.flatten(1)[:, :10]}, conditions=(GaussianNoise(),))
    with pytest.raises(bp.InputError, match=r"cannot be sent to them .*jobs=1"):
        replace(experiment, analyses=(), jobs=2).run(Store(), progress=False)
