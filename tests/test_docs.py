"""Every command and every Python example in README and docs is run."""

import re
import runpy
import shlex
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bitproof as bp
from bitproof.models import MODELS, build_model
from bitproof.models.cifar_resnet import CifarResNet

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
IDS = [page.name for page in PAGES]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[list[str]]:
    lines = "\n".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


@pytest.fixture(autouse=True)
def _metrics():
    """Metrics that a page adds are gone after it."""
    before = dict(bp.metrics.METRICS)
    yield
    bp.metrics.METRICS.clear()
    bp.metrics.METRICS.update(before)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with what the pages name: CIFAR-10 in the official layout (a few random images) and weights.

    What they call resnet20 has 8 layers here, as they are read for what runs, not for its numbers.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(MODELS, "resnet20", replace(MODELS["resnet20"], build=partial(CifarResNet, 8)))
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name in ("test_batch", *(f"data_batch_{i}" for i in range(1, 6))):
        rows = generator.integers(0, 256, (40, 3073), np.uint8)
        rows[:, 0] %= 10
        rows.tofile(folder / f"{name}.bin")
    (folder / "batches.meta.txt").write_text("\n".join("abcdefghij") + "\n")
    from safetensors.torch import save_file

    save_file(build_model("resnet20").state_dict(), tmp_path / "cifar10_resnet20.safetensors")
    for page in PAGES:  # a block that starts with the name of a file is that file
        for block in blocks(page, "python"):
            if name := re.match(r"# (\w+\.py)\n", block):
                (tmp_path / name[1]).write_text(block)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


SLOW = (
    "attacks.md",
    "defences.md",
    "deploy.md",
    "deployed.md",
    "evaluate.md",
    "implants.md",
    "index.md",
    "post-training.md",
    "reproduce.md",
)
"""Pages whose commands take more than eight seconds."""

LONG = ("defences.md", "python.md")
"""Pages whose Python does."""


def _slow(page: Path, *names: str) -> Any:
    return pytest.param(page, marks=pytest.mark.slow if page.name in names else ())


@pytest.mark.parametrize("page", [_slow(page, *SLOW) for page in PAGES], ids=IDS)
def test_commands(page, workplace, run):
    for words in commands(page):
        if words[0] == "make":  # run by continuous integration; here it is checked that the target exists
            assert subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True).returncode == 0
        elif words[0] == ".venv/bin/python":
            assert words[1:3] == ["-m", "pytest"]
            assert (ROOT / words[3]).exists(), words
        else:
            assert words[0] == "bitproof", words
            short = ["--limit", "4"] if words[1] == "evaluate" and "--limit" not in words else []
            code, out, err = run(*words[1:], *short)
            judged = (0, 1, 3) if words[1] in ("audit", "check", "repair") else (0,)  # so few images may decide nothing
            assert code in judged, (words, err)
            assert out, words


@pytest.mark.parametrize("page", [_slow(page, *LONG) for page in PAGES], ids=IDS)
def test_python(page, workplace):
    if page.name == "results.md":
        bp.evaluate(
            bp.load_model("digits_cnn"),
            bp.load_data("digits", limit=8),
            conditions=["fgsm"],
            store="runs.db",
            progress=False,
        )
    source = "\n".join(blocks(page, "python"))
    exec(compile(source, str(page), "exec"), {})


def test_readme_starts_with_what_it_does_and_the_two_commands():
    text = (ROOT / "README.md").read_text()
    assert {"make", "demo"} <= set(text.split()[:400])
    assert [c for c in commands(ROOT / "README.md") if c[0] == "make"] == [["make", "demo"], ["make", "test"]]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_page_of_methods_is_what_the_code_says():
    made = runpy.run_path(str(ROOT / "docs" / "make_methods.py"))["page"]()
    assert (ROOT / "docs" / "methods.md").read_text() == made, "run python docs/make_methods.py"
