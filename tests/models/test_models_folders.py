"""Folders that timm writes: their weights, their preprocessing, and what is wrong with damaged ones."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import bitproof as bp
from bitproof.errors import InputError

timm = pytest.importorskip("timm")

from bitproof.models import preprocessing  # noqa: E402

OWN = {"input_size": (3, 64, 64), "crop_pct": 0.8, "interpolation": "bicubic", "mean": (0.1, 0.2, 0.3)}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A small network, written by timm itself."""
    path = tmp_path_factory.mktemp("timm")
    torch.manual_seed(1)
    network = timm.create_model("resnet10t", num_classes=4, act_layer="relu6", pretrained_cfg_overlay=OWN).eval()
    timm.models.save_for_hf(network, path / "net", model_args={"act_layer": "relu6"}, safe_serialization=True)
    return network, path / "net"


@pytest.fixture
def folder(written, tmp_path):
    """A copy of it that may be spoilt."""
    network, path = written
    return network, shutil.copytree(path, tmp_path / "net")


def test_it_answers_as_timms_own_loading_does(folder):
    network, path = folder
    model = bp.load_model(f"local-dir:{path}")
    images = torch.rand(2, 3, 64, 64)
    theirs = timm.create_model(f"local-dir:{path}", pretrained=True).eval()
    mean, std = torch.tensor(OWN["mean"]).view(3, 1, 1), torch.tensor(network.pretrained_cfg["std"]).view(3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(model(images), theirs((images - mean) / std), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(model(images), network((images - mean) / std), rtol=1e-4, atol=1e-4)
    assert preprocessing(f"local-dir:{path}") == {"size": 64, "shorter": 80, "resize": "pillow-cubic"}


def test_the_command_tests_it(folder, run, tmp_path):
    _, path = folder
    for name in "abcd":
        (tmp_path / "data" / name).mkdir(parents=True)
        pixels = np.random.default_rng(0).integers(0, 255, (70, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "data" / name / "x.png")
    code, out, err = run("evaluate", f"local-dir:{path}", "--data", f"folder:{tmp_path / 'data'}", "--suite", "clean")
    assert code == 0, err
    assert "config.json" in out + err
    assert "random" not in out + err  # the folder brings its weights


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: (path / "config.json").unlink(), "lacks config.json"),
        (lambda path: (path / "model.safetensors").unlink(), "lacks model.safetensors"),
        (lambda path: (path / "config.json").write_text("{"), "config.json .*cannot be read"),
        (lambda path: (path / "config.json").write_text("[]"), "config.json .*cannot be read"),
        (lambda path: changed(path, architecture="resnet10x"), "unknown timm model 'resnet10x'"),
        (lambda path: changed(path, num_classes=10**9), "classes is"),
        (lambda path: changed(path, input_size=[3, 10**6, 64]), "config.json .*cannot be read"),
        (lambda path: (path / "model.safetensors").write_bytes(b"no"), "model.safetensors"),
    ],
)
def test_damaged_folders_are_refused_in_words(folder, change, words):
    _, path = folder
    change(path)
    with pytest.raises(InputError, match=words):
        bp.load_model(f"local-dir:{path}")


def changed(path, **to):
    about = json.loads((path / "config.json").read_text())
    about["pretrained_cfg"].update({k: v for k, v in to.items() if k in about["pretrained_cfg"]})
    about.update({k: v for k, v in to.items() if k in about})
    (path / "config.json").write_text(json.dumps(about))
