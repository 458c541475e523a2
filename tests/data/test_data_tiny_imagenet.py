"""Tiny ImageNet's folders: which label belongs to which picture, and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from bitproof.data import load_data
from bitproof.errors import InputError

WNIDS = [f"n{12345678 + 37 * i}" for i in range(200)]
SHUFFLED = [WNIDS[i] for i in np.random.default_rng(0).permutation(200)]  # wnids.txt is in no order


def save(path, seed, grey=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64) if grey else (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(path, "JPEG")


@pytest.fixture
def folder(tmp_path):
    """8 pictures of each split in 4 classes, in the official layout."""
    root = tmp_path / "tiny-imagenet-200"
    root.mkdir()
    (root / "wnids.txt").write_text("\n".join(SHUFFLED) + "\n")
    lines = []
    for i in range(8):
        wnid = WNIDS[(0, 3, 150, 199)[i % 4]]
        save(root / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", i)
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text(f"{wnid}_{i}.JPEG\t0\t0\t63\t63\n")
        save(root / "val" / "images" / f"val_{i}.JPEG", 100 + i, grey=i == 5)
        lines.append(f"val_{i}.JPEG\t{wnid}\t0\t32\t44\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    save(root / "test" / "images" / "test_0.JPEG", 200)
    return root


def test_validation_pictures_have_their_annotated_labels(folder):
    data = load_data("tiny_imagenet", root=folder)
    assert sorted(data.files) == [f"val_{i}.JPEG" for i in range(8)]
    for row, name in enumerate(data.files):
        i = int(name.removeprefix("val_").removesuffix(".JPEG"))
        assert data.labels[row] == (0, 3, 150, 199)[i % 4]
        picture = np.asarray(Image.open(folder / "val" / "images" / name).convert("RGB"))
        assert torch.equal(data.images([row])[0], torch.from_numpy(picture.copy()).permute(2, 0, 1).float() / 255)
    assert data.classes == tuple(WNIDS) and data.shape == (3, 64, 64) and data.framing.shorter is None
    assert (data.name, data.split) == ("tiny_imagenet", "test") == (data.record.name, data.record.split)


def test_grey_pictures_become_rgb(folder):
    data = load_data("tiny_imagenet", root=folder)
    image = data.images([data.files.index("val_5.JPEG")])[0]
    assert torch.equal(image[0], image[1]) and torch.equal(image[0], image[2])


def test_training_pictures_are_labelled_by_their_folder(folder):
    data = load_data("tiny_imagenet", root=folder.parent, split="train")
    assert len(data) == 8 and data.images(data.ids).shape == (8, 3, 64, 64)
    for name, label in zip(data.files, data.labels, strict=True):
        assert name.startswith(f"{WNIDS[label]}/images/{WNIDS[label]}_")
    assert (data.name, data.split, data.classes) == ("tiny_imagenet", "train", tuple(WNIDS))
    assert data.framing.shorter is None and not data.left_out


@pytest.mark.parametrize("split", ["test", "train"])
def test_a_limit_is_a_shuffled_beginning(folder, split):
    whole, few = (load_data("tiny_imagenet", root=folder, split=split, limit=limit) for limit in (None, 3))
    assert few.files == whole.files[:3] and few.labels.tolist() == whole.labels[:3].tolist()
    assert list(whole.files) != sorted(whole.files)


def test_damaged_pictures_are_left_out_by_name(folder):
    path = folder / "val" / "images" / "val_2.JPEG"
    path.write_bytes(path.read_bytes()[:400])
    data = load_data("tiny_imagenet", root=folder)
    read = data.read(range(8))
    assert len(read.rows) == 7 and list(read.left_out) == ["val_2.JPEG"]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("../../secret.JPEG\tn12345678\t0\t0\t9\t9", "secret"),
        ("/etc/passwd\tn12345678", "passwd"),
        ("val_0.JPEG\tn12345678\t0\t0\t9\t9", "val_0"),  # a second time
        ("val_9.JPEG\tn00000000", "n00000000"),
        ("val_9.JPEG", "val_9.JPEG"),
        ("", "''"),
    ],
)
def test_other_annotations_are_refused(folder, line, shown):
    with (folder / "val" / "val_annotations.txt").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(InputError, match=rf"line 9 of .*val_annotations\.txt is .*{shown}.*one of the 200 wnids"):
        load_data("tiny_imagenet", root=folder)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ("\n".join(WNIDS[:199]), r"names 199 classes: it has 200 wnids"),
        ("\n".join(WNIDS[:199] + WNIDS[:1]), r"names 199 classes"),
        ("\n".join([*WNIDS[:199], "../n1234"]), r"names 200 classes: it has 200 wnids"),
        ("x" * (4 * 2**20 + 1), r"4,194,305 bytes: it has at most 4,194,304"),
    ],
)
def test_other_class_lists_are_refused(folder, stored, message):
    (folder / "wnids.txt").write_text(stored)
    with pytest.raises(InputError, match=message):
        load_data("tiny_imagenet", root=folder)


@pytest.mark.parametrize(
    ("gone", "split", "message"),
    [
        ("wnids.txt", "test", "holds no Tiny ImageNet.*must be or contain tiny-imagenet-200"),
        ("val/val_annotations.txt", "test", r"val_annotations\.txt is missing"),
        ("val/images/val_3.JPEG", "test", r"val_3\.JPEG is missing"),
        ("train", "train", "train is missing"),
    ],
)
def test_what_is_missing_is_named(folder, gone, split, message):
    (folder / gone).rename(folder / "elsewhere")
    with pytest.raises(InputError, match=message):
        load_data("tiny_imagenet", root=folder, split=split)


def test_no_annotations_are_no_pictures(folder):
    (folder / "val" / "val_annotations.txt").write_text("")
    with pytest.raises(InputError, match=r"val_annotations\.txt is empty"):
        load_data("tiny_imagenet", root=folder)
    with pytest.raises(InputError, match="tiny_imagenet needs a root"):
        load_data("tiny_imagenet")
