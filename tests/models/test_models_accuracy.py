"""Real weights on real pictures: the accuracies measured when the shared data were gathered come back."""

import csv
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image

from bitproof.data import load_data
from bitproof.models import build_model

COUNT = 256


@pytest.fixture(scope="module")
def cifar(tmp_path_factory, shared):
    """The first 256 real test images in the official binary layout, read back as a user would."""
    sheet = np.asarray(Image.open(shared / "data" / "cifar10" / "test.webp").convert("RGB"))
    tiles = sheet.reshape(100, 32, 100, 32, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 3072)[:COUNT]
    with np.load(shared / "data" / "cifar10" / "labels.npz") as stored:
        labels, classes = stored["test"][:COUNT], stored["classes"]
    folder = tmp_path_factory.mktemp("cifar") / "cifar-10-batches-bin"
    folder.mkdir()
    np.concatenate([labels.astype(np.uint8)[:, None], tiles], axis=1).tofile(folder / "test_batch.bin")
    (folder / "batches.meta.txt").write_text("\n".join(classes.tolist()))
    return load_data("cifar10", root=folder.parent)


def correct(model, data):
    with torch.no_grad():
        predictions = torch.cat([model(batch).argmax(1) for batch in data.inputs(64)])
    return int((predictions.numpy() == data.labels).sum())


@pytest.mark.parametrize(("name", "expected"), [("resnet20", 233), ("resnet32", 238)])
def test_cifar_resnets_reach_their_accuracy(name, expected, cifar, shared):
    """Measured on all 10,000: 91.73 % and 92.63 %; here on the first 256, up to ties in the arithmetic."""
    model = build_model(name, weights=shared / "data" / "weights" / f"cifar10_{name}.safetensors")
    assert abs(correct(model, cifar) - expected) <= 1


@pytest.mark.skipif(find_spec("torchvision") is None, reason="the extra `zoo` is not installed")
def test_squeezenet_reaches_its_accuracy_on_photographs(tmp_path, shared):
    """Measured on all 240: 159 right; here 24 of them."""
    sample = shared / "data" / "imagenet_sample"
    with (sample / "classes.csv").open(newline="") as file:
        classes = [row["wnid"] for row in csv.DictReader(file)]
    for path in (sample / "jpeg").iterdir():
        folder = tmp_path / path.name.split("_")[0]
        folder.mkdir()
        (folder / path.name).symlink_to(path)
    data = load_data("folder", root=tmp_path, classes=classes, limit=24)
    weights = shared / "data" / "weights" / "imagenet_squeezenet1_0.safetensors"
    assert abs(correct(build_model("torchvision:squeezenet1_0", weights=weights), data) - 16) <= 1
