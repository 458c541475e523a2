"""ImageNet folders: labels, layouts, sizes, and what is left out."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import bitproof as bp
from bitproof.data import load_data
from bitproof.data.imagenet import wnids
from bitproof.errors import InputError


@pytest.fixture
def root(tmp_path):
    """Two pictures of each of three classes, in `val`."""
    for place, wnid in enumerate(("n15075141", "n01440764", "n02096437")):
        folder = tmp_path / "val" / wnid
        folder.mkdir(parents=True)
        for number in range(2):
            colour = (60 * place, 100 * number, 30)
            Image.new("RGB", (50, 40), colour).save(folder / f"ILSVRC2012_val_0000000{2 * place + number}.JPEG")
    return tmp_path


def test_the_order_of_the_classes_is_timms():
    data = pytest.importorskip("timm.data", reason="the extra `zoo` is not installed")
    assert list(wnids()) == data.ImageNetInfo().label_names()


def test_a_part_of_the_classes_maps_to_all_outputs(root):
    data = load_data("imagenet", root=root)
    assert (data.name, data.split, len(data), len(data.classes)) == ("imagenet", "test", 6, 1000)
    labels = {name.split("/")[0]: int(label) for name, label in zip(data.files, data.labels, strict=True)}
    assert labels == {"n01440764": 0, "n15075141": 999, "n02096437": wnids().index("n02096437")}
    assert load_data("imagenet", root=root / "val").fingerprint == data.fingerprint


def test_any_size(root):
    data = load_data("imagenet", root=root, size=299)
    assert data.images([0]).shape == (1, 3, 299, 299) and data.framing.shorter == 342
    assert load_data("imagenet", root=root).fingerprint != data.fingerprint


def test_files_are_read_when_they_are_asked_for(root):
    data = load_data("imagenet", root=root)
    for name in data.files[1:]:
        (root / "val" / name).unlink()
    assert data.images([0]).shape == (1, 3, 224, 224)
    assert data.encoded(0) == (root / "val" / data.files[0]).read_bytes()


def test_no_model_is_calibrated_on_what_it_is_tested_on(root):
    with pytest.raises(InputError, match=r"has no folder train.*ROOT/train.*folder:OTHER"):
        load_data("imagenet", root=root, split="train")
    with pytest.raises(InputError, match="has no folder train"):
        load_data("imagenet", root=root / "val", split="train")
    (root / "val" / "n02096437").rename(root / "spared")
    (root / "train").mkdir()
    (root / "spared").rename(root / "train" / "n02096437")
    assert len(load_data("imagenet", root=root, split="train")) == 2
    assert len(load_data("imagenet", root=root / "train", split="train")) == 2
    assert len(load_data("imagenet", root=root)) == 4


def test_folders_that_are_no_wnid_are_left_out_by_name(root):
    (root / "val" / "n02096437").rename(root / "val" / "terrier")
    data = load_data("imagenet", root=root)
    assert len(data) == 4 and data.left_out == {"terrier/": "is none of the 1,000 classes"}


@pytest.mark.parametrize(
    ("where", "options", "message"),
    [
        ("val/n02096437", {}, r"holds no images.*one sub-folder a class"),
        (".", {"split": "val"}, r"unknown split of imagenet 'val': known are test, train"),
        (None, {}, r"imagenet needs a root.*Write imagenet:ROOT"),
    ],
)
def test_mistakes_are_named(root, where, options, message):
    with pytest.raises(InputError, match=message):
        load_data("imagenet", root=root / where if where else None, **options)


def test_the_sample_gets_imagenets_labels(tmp_path, shared):
    sample = shared / "data" / "imagenet_sample"
    with (sample / "labels.csv").open(newline="") as file:
        wanted = {f"{row['wnid']}/{row['file']}": int(row["class_index"]) for row in csv.DictReader(file)}
    for name in wanted:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).symlink_to(sample / "jpeg" / name.split("/")[1])
    data = load_data("imagenet", root=tmp_path)
    assert dict(zip(data.files, data.labels.tolist(), strict=True)) == wanted
    read = data.read(np.arange(4))
    rows, images = read.rows, read.images
    assert images.shape == (4, 3, 224, 224) and 0 <= images.min() < images.max() <= 1
    assert len(rows) == 4 and torch.equal(images, data.images(rows)) and not read.left_out


@pytest.mark.slow
def test_a_damaged_first_picture_stops_neither_suites_nor_attacks_nor_the_diagnosis(tmp_path):
    draws = np.random.default_rng(0)
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(4):
            Image.fromarray(draws.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(tmp_path / name / f"{i}.png")
    first = tmp_path / bp.load_data("folder", root=tmp_path, size=16).files[0]
    first.write_bytes(first.read_bytes()[:1000])
    data = bp.load_data("folder", root=tmp_path, size=16)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 2))
    for crafting in ("exact", "folded"):
        options = {"crafting": crafting, "diagnose": crafting == "exact", "progress": False}
        result = bp.evaluate(network, data, suite="quick", **options)
        assert {len(cell.ids) for cell in result.cells} == {7}
        assert all(list(cell.data.left_out) == [data.files[0]] for cell in result.cells)
    diagnosis = bp.diagnose_masking(network, data, queries=3)
    assert diagnosis.accuracy["clean"] == diagnosis.attacked / 7
