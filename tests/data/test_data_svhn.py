"""SVHN's files, and MATLAB files that are damaged or more than data. SciPy writes them and reads them beside us."""

import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import scipy.io
import torch

from bitproof.data import load_data
from bitproof.data.matfile import read_matrix
from bitproof.errors import InputError

COUNT = 11


def content(seed=0, count=COUNT):
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, 256, (32, 32, 3, count), np.uint8)
    return {"X": pictures, "y": rng.permutation(np.arange(count, dtype=np.uint8) % 10 + 1).reshape(-1, 1)}


@pytest.fixture
def save(tmp_path):
    """Writes the file of the test split, or another, and gives its path."""

    def write(values, name="test_32x32.mat", compressed=True):
        scipy.io.savemat(tmp_path / name, values, do_compression=compressed)
        return tmp_path / name

    return write


@pytest.mark.parametrize("compressed", [True, False])
def test_pictures_and_labels_belong_together(save, tmp_path, compressed):
    stored = content()
    save(stored, compressed=compressed)
    save(content(1), "train_32x32.mat", compressed)
    data = load_data("svhn", root=tmp_path)
    for row in range(COUNT):
        expected = torch.from_numpy(stored["X"][:, :, :, row].copy()).permute(2, 0, 1).float() / 255
        assert torch.equal(data.images([row])[0], expected)
        assert data.labels[row] == (0 if stored["y"][row, 0] == 10 else stored["y"][row, 0])
    assert 0 in data.labels and data.classes == tuple("0123456789") and data.shape == (3, 32, 32)
    train = load_data("svhn", root=tmp_path, split="train")
    assert train.fingerprint != data.fingerprint and (train.name, train.split) == ("svhn", "train")


@pytest.mark.parametrize("compressed", [True, False])
def test_a_limit_takes_the_first_and_reads_no_further(save, tmp_path, compressed):
    path = save(content(count=2000), compressed=compressed)
    whole = load_data("svhn", root=tmp_path)
    tracemalloc.start()
    few = load_data("svhn", root=tmp_path, limit=3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert torch.equal(few.images(few.ids), whole.images(few.ids)) and few.labels.tolist() == whole.labels[:3].tolist()
    assert peak < 1e6 < path.stat().st_size / 5
    assert len(load_data("svhn", root=tmp_path, limit=3000)) == 2000


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (3, 5), (2, 3, 4)])
def test_matrices_are_those_that_scipy_reads(save, dtype, shape):
    values = (np.arange(np.prod(shape)) * 3).astype(dtype).reshape(shape)
    for compressed in (True, False):
        path = save({"other": np.arange(4.0), "values": values}, compressed=compressed)
        read = read_matrix(path, "values")
        assert np.array_equal(read, scipy.io.loadmat(path)["values"]) and read.dtype == np.dtype(dtype)
        assert np.array_equal(read_matrix(path, "values", first=1), values[..., :1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.zeros((32, 32, 3), np.uint8)}, r"X in .* is uint8 \[32, 32, 3\]: it is uint8 \[32, 32, 3, n\]"),
        ({"X": np.zeros((3, 32, 32, 11), np.uint8)}, r"X in .* is uint8 \[3, 32, 32, 11\]"),
        ({"X": np.zeros((32, 32, 3, 11))}, r"X in .* is float64"),
        ({"X": np.zeros((32, 32, 3, 0), np.uint8)}, r"'X' has 0 bytes of type 2 for the shape \[32, 32, 3, 0\]"),
        ({"X": np.zeros((32, 32, 3, 11), complex)}, "'X' is no matrix of real numbers"),
        ({"X": np.array([{}, 1], object)}, "'X' is no matrix of real numbers"),
        ({"X": {"field": 1}}, "'X' is no matrix of real numbers"),
        ({"X": "text"}, "'X' is no matrix of real numbers"),
        ({"y": np.ones((12, 1), np.uint8)}, r"y in .* is \[12, 1\]: it has a row for each picture"),
        ({"y": np.ones((10, 1), np.uint8)}, r"y in .* is \[10, 1\]"),
        ({"y": np.ones((1, 11), np.uint8)}, r"y in .* is \[1, 11\]"),
        ({"y": np.zeros((11, 1), np.uint8)}, r"y in .* holds other values: labels are 1\.\.10"),
        ({"y": np.full((11, 1), 11)}, "labels are 1..10"),
        ({"y": np.full((11, 1), 1.5)}, "labels are 1..10"),
        ({"y": np.full((11, 1), np.nan)}, "labels are 1..10"),
        ({"y": "text"}, "'y' is no matrix of real numbers"),
    ],
)
def test_other_content_is_refused(save, tmp_path, change, message):
    save({**content(), **change})
    with pytest.raises(InputError, match=message):
        load_data("svhn", root=tmp_path)


def element(kind, content):
    return struct.pack("<II", kind, len(content)) + content + b"\0" * (-len(content) % 8)


def variable(name=b"X", shape=(32, 32, 3, 1), numbers=b"\1" * 3072, kind=2, flags=9):
    dimensions = struct.pack(f"<{len(shape)}i", *shape)
    parts = element(6, struct.pack("<II", flags, 0)) + element(5, dimensions) + element(1, name)
    return element(14, parts + element(kind, numbers))


def compressed(content):
    packed = zlib.compress(content)
    return struct.pack("<II", 15, len(packed)) + packed


HEADER = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"
LABELS = variable(b"y", (1, 1), b"\1")


def test_files_made_by_hand_are_read(tmp_path):
    """Guards the functions above: what the next test damages is whole without the damage, to SciPy too."""
    for wrap in (bytes, compressed):
        (tmp_path / "test_32x32.mat").write_bytes(HEADER + wrap(variable()) + wrap(LABELS))
        assert load_data("svhn", root=tmp_path).labels.tolist() == [1]
        assert scipy.io.loadmat(tmp_path / "test_32x32.mat")["X"].shape == (32, 32, 3, 1)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (b"", "no header of a little-endian MATLAB 5 file"),
        (b"not a file of MATLAB" * 10, "no header"),
        (HEADER[:124] + b"\1\0MI" + variable(), "no header of a little-endian"),
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM", r"version 7\.3, an HDF5 file.*save the matrices anew with -v7"),
        (HEADER, "no variable 'X'"),
        (HEADER + LABELS * 20 + variable(), "no variable 'X' among its first 16"),
        (HEADER + variable() + LABELS[:40], "cut off"),
        (HEADER + variable()[:-8], "cut off"),
        (HEADER + variable()[:4], "cut off"),
        (HEADER + compressed(variable())[:-8], "cut off"),
        (HEADER + element(9, b"\0" * 8), "an element of type 9"),
        (HEADER + compressed(element(9, b"\0" * 64)), "compressed content that is no variable"),
        (HEADER + element(15, b"no zlib stream.."), "its compression is damaged"),
        (HEADER + compressed(variable(numbers=b"\1" * 3000)), r"3,000 bytes of type 2 for the shape \[32, 32, 3, 1\]"),
        (HEADER + variable(numbers=b"\1" * 3072, kind=4), "3,072 bytes of type 4 for the shape"),
        (HEADER + variable(kind=8), "of type 8"),
        (HEADER + variable(shape=(32, 32, 3, -1)), r"shape \[32, 32, 3, -1\]"),
        (HEADER + variable(shape=(-32, -32, 3, 1)), "shape"),
        (HEADER + variable(shape=(1,) * 9), "36 bytes of type 5 where type 5 is due"),
        (HEADER + variable(name=b"X" * 64), "64 bytes of type 1"),
        (HEADER + variable(flags=16), "no matrix of real numbers"),  # a function
        (HEADER + variable(flags=17), "no matrix of real numbers"),  # an object of a newer MATLAB
        (HEADER + variable(flags=9 | 0x800), "no matrix of real numbers"),
        (HEADER + compressed(variable() + b"\0" * 8) + LABELS, "longer than its shape"),
        (HEADER + element(14, variable()[8:] + b"\0" * 8) + LABELS, "longer than its shape"),
        (HEADER + element(14, struct.pack("<HH4x", 6, 5)), "a tag claims to hold 5 bytes"),
    ],
)
def test_damaged_files_are_refused(tmp_path, stored, message):
    (tmp_path / "test_32x32.mat").write_bytes(stored)
    with pytest.raises(InputError, match=f"is refused .*{message}"):
        load_data("svhn", root=tmp_path)


def test_a_wrong_checksum_is_seen(tmp_path):
    packed = bytearray(compressed(variable()))
    packed[-1] ^= 1
    (tmp_path / "test_32x32.mat").write_bytes(HEADER + packed + LABELS)
    with pytest.raises(InputError, match="its compression is damaged.*incorrect data check"):
        load_data("svhn", root=tmp_path)


def test_claims_cost_no_memory(tmp_path):
    """A file of a few kilobytes that says it holds 200 MB, and one that inflates to 15 MB under another name."""
    lying = variable(shape=(32, 32, 3, 70_000)).replace(
        struct.pack("<II", 2, 3072), struct.pack("<II", 2, 3072 * 70_000)
    )
    hiding = compressed(variable(b"other", (32, 32, 3, 5000), b"\0" * 3072 * 5000))
    too_large = struct.pack("<II", 2, 3072 * 90_000)
    larger = variable(shape=(32, 32, 3, 90_000)).replace(struct.pack("<II", 2, 3072), too_large)
    tracemalloc.start()
    for stored, message in (
        (compressed(lying), "cut off"),
        (hiding, "no variable 'X'"),
        (compressed(larger), "276,480,000 bytes, and 268,435,456 are the most"),
    ):
        (tmp_path / "test_32x32.mat").write_bytes(HEADER + stored)
        with pytest.raises(InputError, match=message):
            load_data("svhn", root=tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_missing_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"test_32x32\.mat is missing.*Get the official file again"):
        load_data("svhn", root=tmp_path)
    with pytest.raises(InputError, match="svhn needs a root"):
        load_data("svhn")
    with pytest.raises(InputError, match="unknown split of svhn 'extra': known are test, train"):
        load_data("svhn", root=tmp_path, split="extra")
