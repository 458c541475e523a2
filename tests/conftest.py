"""Shared test set-up: shape annotations are checked, and the real data are found where they lie."""

import os
import random
from pathlib import Path

import shape_checks

with shape_checks.installed():
    # Two test workers share the cores, and so do the processes that they start: said before torch is imported.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // 2)))
    import bitproof.experiment
    import bitproof.train  # noqa: F401

import numpy as np
import pytest
import torch

from bitproof.core.rng import Rng

pytest_plugins = ["browser", "command_line", "masked_models", "report_page", "trained_digits"]
"""Modules here whose fixtures the tests of more than one file share."""

SHARED = Path(__file__).resolve().parents[2] / "shared"


def _seed():
    """The global generators, which initial weights come from: else a test's network differs with what ran before."""
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


def pytest_collectstart():
    _seed()  # models that a module makes when it is imported, in a list of parameters say


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup():
    _seed()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call():
    _seed()


@pytest.fixture
def one_thread():
    """As many as a process that the test starts has: sums depend on it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def rng() -> Rng:
    return Rng(seed=0, ids=np.arange(8))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data beside the checkout; tests that need it skip where it is missing."""
    if not SHARED.is_dir():
        pytest.skip("needs the shared data folder beside the checkout")
    return SHARED
