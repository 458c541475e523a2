"""What the tests of the command line share: a trained network's weights, and a call in this process."""

import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import bitproof as bp
from bitproof import cli
from bitproof.train import standard


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A trained digits network as a weights file."""
    torch.manual_seed(0)
    train = bp.load_data("digits", split="train")
    model = standard(epochs=2)(bp.load_model("digits_cnn"), train, rng=bp.Rng(0, np.zeros(1, np.int64)))
    path = tmp_path_factory.mktemp("weights") / "digits.safetensors"
    save_file({k: v.contiguous() for k, v in model.backbone.state_dict().items()}, path)  # pyright: ignore
    return path


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command in this process: (exit code, standard output, standard error)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["bitproof", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    return call
