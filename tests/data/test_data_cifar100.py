"""Both official layouts of CIFAR-100: what differs from CIFAR-10, whose tests cover the code that both share."""

import pickle

import numpy as np
import pytest
import torch

from bitproof.data import load_data
from bitproof.errors import InputError

FINE = [f"kind_{i}" for i in range(100)]
COARSE = [f"group_{i}" for i in range(20)]
COUNT = 7


def examples(split):
    """(planes uint8 [7, 3072], coarse labels [7], fine labels [7]), made up."""
    rng = np.random.default_rng(len(split))
    planes, coarse = rng.integers(0, 256, (COUNT, 3072), np.uint8), rng.integers(0, 20, COUNT, np.uint8)
    return planes, coarse, rng.integers(20, 100, COUNT, np.uint8)  # no label is both


@pytest.fixture
def binary(tmp_path):
    folder = tmp_path / "binary" / "cifar-100-binary"
    folder.mkdir(parents=True)
    (folder / "fine_label_names.txt").write_text("\n".join(FINE) + "\n")
    (folder / "coarse_label_names.txt").write_text("\n".join(COARSE) + "\n")
    for split in ("train", "test"):
        planes, coarse, fine = examples(split)
        (folder / f"{split}.bin").write_bytes(np.column_stack([coarse, fine, planes]).tobytes())
    return folder


@pytest.fixture
def pickled(tmp_path):
    folder = tmp_path / "python" / "cifar-100-python"
    folder.mkdir(parents=True)
    meta = {"fine_label_names": FINE, "coarse_label_names": COARSE}
    (folder / "meta").write_bytes(pickle.dumps(meta, protocol=2))
    for split in ("train", "test"):
        planes, coarse, fine = examples(split)
        stored = {
            "filenames": [f"{i}.png" for i in range(COUNT)],
            "batch_label": f"{split} batch 1 of 1",
            "fine_labels": fine.tolist(),
            "coarse_labels": coarse.tolist(),
            "data": planes,
        }
        (folder / split).write_bytes(pickle.dumps(stored, protocol=2))
    return folder


@pytest.mark.parametrize("split", ["test", "train"])
def test_both_layouts_hold_the_same_pictures_and_fine_labels(binary, pickled, split):
    one, other = (load_data("cifar100", root=folder, split=split) for folder in (binary.parent, pickled))
    planes, _, fine = examples(split)
    assert torch.equal(one.images(one.ids), torch.from_numpy(planes).reshape(-1, 3, 32, 32).float() / 255)
    assert one.labels.tolist() == fine.tolist()
    assert one.fingerprint == other.fingerprint
    assert one.classes == other.classes == tuple(FINE) and (one.name, one.split) == ("cifar100", split)


@pytest.mark.parametrize("layout", ["binary", "pickled"])
def test_a_limit_takes_the_first(layout, request):
    folder = request.getfixturevalue(layout)
    whole, few = load_data("cifar100", root=folder), load_data("cifar100", root=folder, limit=3)
    assert torch.equal(few.images(few.ids), whole.images(few.ids)) and few.labels.tolist() == whole.labels[:3].tolist()


@pytest.mark.parametrize(
    ("name", "stored", "message"),
    [
        ("test.bin", b"\0" * 3073, r"3,073 bytes: a batch holds 1 to 50,000 rows of 3,074 bytes"),
        ("test.bin", b"\0\x64" + b"\0" * 3072, r"has the label 100: labels are 0\.\.99"),
        ("fine_label_names.txt", "\n".join(FINE[:99]).encode(), "names 99 classes: CIFAR-100 has 100"),
    ],
)
def test_damaged_binary_files_are_refused(binary, name, stored, message):
    (binary / name).write_bytes(stored)
    with pytest.raises(InputError, match=message):
        load_data("cifar100", root=binary)


@pytest.mark.parametrize(
    ("name", "stored", "message"),
    [
        (
            "test",
            {"data": np.zeros((1, 3072), np.uint8), "labels": [0]},
            "does not hold a batch.*`fine_labels` n class",
        ),
        ("meta", {"label_names": FINE}, "has no fine_label_names"),
    ],
)
def test_pickles_of_cifar10_are_refused(pickled, name, stored, message):
    (pickled / name).write_bytes(pickle.dumps(stored, protocol=2))
    with pytest.raises(InputError, match=message):
        load_data("cifar100", root=pickled)


def test_pickles_may_be_as_large_as_the_official_ones(pickled):
    """155,249,918 bytes, where a batch of CIFAR-10 has 31 million."""
    with (pickled / "train").open("r+b") as file:
        file.truncate(155_249_918)
    load_data("cifar100", root=pickled, split="train")
    with (pickled / "train").open("r+b") as file:
        file.truncate(400_000_000)
    with pytest.raises(InputError, match=r"400,000,000 bytes.*at most 307,200,000"):
        load_data("cifar100", root=pickled, split="train")


def test_a_folder_without_cifar_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no CIFAR-100.*cifar-100-binary .*or cifar-100-python \(with meta\)"):
        load_data("cifar100", root=tmp_path)
