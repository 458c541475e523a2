"""Files with seeded damage: each is read or refused by an `InputError`, and in bounded memory."""

import pickle
import tarfile
import tracemalloc

import numpy as np
import pytest
import scipy.io
from PIL import Image

from bitproof.data import load_data
from bitproof.errors import InputError

TRIALS = 60
WNIDS = [f"n{10000000 + i}" for i in range(200)]


def write_svhn(root, rng, *, compressed):
    values = {"X": rng.integers(0, 256, (32, 32, 3, 2), np.uint8), "y": np.array([[1], [10]], np.uint8)}
    scipy.io.savemat(root / "test_32x32.mat", values, do_compression=compressed)


def write_cifar100_binary(root, rng):
    (root / "fine_label_names.txt").write_text("\n".join(f"kind_{i}" for i in range(100)))
    rows = rng.integers(0, 256, (2, 3074), np.uint8)
    rows[:, 1] = 7
    (root / "test.bin").write_bytes(rows.tobytes())


def write_cifar100_pickles(root, rng):
    (root / "meta").write_bytes(pickle.dumps({"fine_label_names": [f"kind_{i}" for i in range(100)]}, protocol=2))
    stored = {"data": rng.integers(0, 256, (2, 3072), np.uint8), "fine_labels": [3, 4]}
    (root / "test").write_bytes(pickle.dumps(stored, protocol=2))


def write_tiny_imagenet(root, rng):
    (root / "val" / "images").mkdir(parents=True)
    (root / "wnids.txt").write_text("\n".join(WNIDS))
    for i in range(2):
        pixels = rng.integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(root / "val" / "images" / f"val_{i}.JPEG")
    lines = [f"val_{i}.JPEG\t{WNIDS[i]}\t0\t0\t63\t63\n" for i in range(2)]
    (root / "val" / "val_annotations.txt").write_text("".join(lines))


def write_wds(root, rng):
    for number in range(2):
        pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(root / "picture.png")
        with tarfile.open(root / f"val-{number}.tar", "w") as shard:
            shard.add(root / "picture.png", f"{number}.png")
            (root / "label").write_text(str(number))
            shard.add(root / "label", f"{number}.cls")
    for left in ("picture.png", "label"):
        (root / left).unlink()


WRITERS = {
    "svhn": lambda root, rng: write_svhn(root, rng, compressed=True),
    "svhn uncompressed": lambda root, rng: write_svhn(root, rng, compressed=False),
    "cifar100": write_cifar100_binary,
    "cifar100 pickles": write_cifar100_pickles,
    "tiny_imagenet": write_tiny_imagenet,
    "wds": write_wds,
}


def damaged(whole, rng):
    """A copy that is cut off, or with bytes changed, left out or put in; half of the time near the front."""
    content = bytearray(whole)
    reach = len(content) if rng.random() < 0.5 else min(300, len(content))
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(reach))
        match rng.integers(4):
            case 0:
                del content[at:]
                return content
            case 1:
                content[at : at + 1] = rng.bytes(1)
            case 2:
                del content[at : at + int(rng.integers(1, 9))]
            case _:
                content[at:at] = rng.bytes(int(rng.integers(1, 9)))
    return content


@pytest.mark.parametrize("kind", WRITERS)
def test_damage_is_refused_or_read(kind, tmp_path):
    rng = np.random.default_rng(0)
    WRITERS[kind](tmp_path, rng)
    name = kind.split()[0]
    root = tmp_path / "val-{0..1}.tar" if name == "wds" else tmp_path
    assert len(load_data(name, root=root)) == 2  # it is whole
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    refused = 0
    tracemalloc.start()
    for trial in range(TRIALS):
        path = files[trial % len(files)]
        whole = path.read_bytes()
        path.write_bytes(damaged(whole, rng))
        try:
            data = load_data(name, root=root)
            read = data.read(range(len(data)))
            rows, images = read.rows, read.images
            assert images.shape == (len(rows), *data.shape) and images.min() >= 0 and images.max() <= 1
            assert data.labels.min() >= 0 and data.labels.max() < len(data.classes)
            refused += bool(data.left_out)
        except InputError:
            refused += 1
        path.write_bytes(whole)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused > TRIALS / 10
    assert peak < 20e6
