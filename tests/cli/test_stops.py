"""Ctrl-C and SIGTERM end a command in order, with a word on what is kept."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import bitproof as bp
from bitproof.core.leaving import _leave_with
from bitproof.core.processes import CONTEXT
from bitproof.experiment import implanting


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_says_what_is_kept(number, run, weights, tmp_path, monkeypatch):
    def stopped(*_, **__):
        os.kill(os.getpid(), number)

    for owner, name in ((bp, "evaluate"), (bp, "quantize"), (bp.experiment, "train")):
        monkeypatch.setattr(owner, name, stopped)
    start = ["--weights", weights, "--data", "digits"]
    kept = {
        (
            "evaluate",
            "digits_cnn",
            *start,
            "--store",
            tmp_path / "runs.db",
        ): "finished results are in .*runs.db, the same",
        ("evaluate", "digits_cnn", *start): "without --store nothing is kept",
        (
            "train",
            "standard",
            "digits_cnn",
            *start,
            "-o",
            tmp_path / "run",
        ): "the run is in .*run, the same command goes on",
        ("quantize", "digits_cnn", *start, "-o", tmp_path / "q.safetensors"): "no file is left half written",
    }
    before = signal.getsignal(number)
    code, _, err = run(*next(iter(kept)))
    assert code == 128 + number and "stopped: nothing is finished so far" in err
    (tmp_path / "runs.db").touch()
    (tmp_path / "run").mkdir()
    for line, words in kept.items():
        code, out, err = run(*line)
        assert (code, out) == (128 + number, "")
        assert err.count("stopped: ") == 1 and "Traceback" not in err
        assert re.search(f"stopped: {words}", err), err
    assert signal.getsignal(number) is before


def test_a_stop_of_an_implant_says_what_is_kept(run, tmp_path, monkeypatch):
    making = tmp_path / "i.safetensors.making"
    monkeypatch.setattr(implanting, "implant", lambda *_, **__: os.kill(os.getpid(), signal.SIGINT))
    line = ["implant", "box:objective=indiscriminate,schemes=w4a8", "digits_cnn", "--data", "digits", "--limit", 8]
    for words in ("nothing is finished so far", f"what is done is in {making}"):
        code, _, err = run(*line, "-o", tmp_path / "i.safetensors")
        assert code == 130 and f"stopped: {words}" in err, err
        making.mkdir(exist_ok=True)


def test_a_stop_that_other_code_makes_an_error_of_is_one_still(run, weights, tmp_path, monkeypatch):
    def converted(*_, **__):
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except SystemExit as stop:  # as readers do whose errors all become one
            raise bp.InputError("a file cannot be read", rule="it is whole", remedy="Check it") from stop

    monkeypatch.setattr(bp, "evaluate", converted)
    line = ["evaluate", "digits_cnn", "--weights", weights, "--data", "digits", "--store", tmp_path / "runs.db"]
    (tmp_path / "runs.db").touch()
    code, _, err = run(*line)
    assert code == 130 and err.startswith("stopped: finished results are in") and "error" not in err


def test_a_stop_is_heard_before_anything_is_imported():
    code = (
        "import os, signal, sys, bitproof.cli as c; assert 'typer' not in sys.modules;"
        "sys.meta_path.insert(0, type('F', (), {'find_spec': lambda *a: os.kill(os.getpid(), signal.SIGTERM)})());"
        "c.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (143, "stopped: no file is left half written\n")


def test_a_worker_whose_parent_died_while_it_started_ends():
    process = os.fork()
    if not process:
        signal.alarm(5)
        _leave_with(2**22 + 1)  # no process has this number
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 1


@pytest.mark.slow
def test_a_worker_that_imports_for_long_leaves_with_its_parent(tmp_path):
    """Also where the parent is killed while what the worker needs is imported."""
    (tmp_path / "slow.py").write_text(
        "import os, pathlib, time\n"
        "if not os.environ.get('PARENT') == str(os.getpid()):\n"
        "    pathlib.Path('number').write_text(str(os.getpid()))\n"
        "    time.sleep(60)\n"
        "def work(): pass\n"
    )
    code = (
        "import os, time\n"
        "from bitproof.core.leaving import Leaving\n"
        "if __name__ == '__main__':\n"
        "    os.environ['PARENT'] = str(os.getpid())\n"
        "    import slow\n"
        "    Leaving(target=slow.work).start(); time.sleep(60)\n"
    )
    (tmp_path / "main.py").write_text(code)
    parent = subprocess.Popen([sys.executable, "main.py"], cwd=tmp_path)
    number = _soon(lambda: (tmp_path / "number").read_text() if (tmp_path / "number").exists() else "")
    assert Path(f"/proc/{number}/cwd").readlink() == tmp_path
    parent.kill()
    parent.wait()
    assert _soon(lambda: not Path(f"/proc/{number}").exists())


def _soon(find):
    deadline = time.monotonic() + 20
    while not (found := find()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def test_what_is_started_in_a_pool_does_not_hear_ctrl_c():
    process = CONTEXT.Process(target=int)
    process.start()
    blocked = re.search(r"SigBlk:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text())
    process.kill()
    process.join()
    assert blocked is not None and int(blocked[1], 16) >> (signal.SIGINT - 1) & 1
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
