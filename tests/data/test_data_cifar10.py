"""Both official layouts of CIFAR-10, and pickles that try to be more than data."""

import os
import pickle
import struct
import tracemalloc
import warnings

import numpy as np
import pytest
import torch

from bitproof.data import load_data
from bitproof.data.pickled import read_pickled
from bitproof.errors import InputError

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
BATCHES = ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"]
COUNT = 6


def batch(seed):
    """(planes uint8 [6, 3072], labels [6]) of one made-up batch file."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (COUNT, 3072), np.uint8), rng.integers(0, 10, COUNT).tolist()


def python2_array(values):
    """The opcodes by which Python 2 and its NumPy wrote a uint8 matrix into the official files."""
    data = values.tobytes()
    return (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        + b"(K\x01"
        + b"".join(b"J" + struct.pack("<i", side) for side in values.shape)
        + b"\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + b"T"
        + struct.pack("<i", len(data))
        + data
        + b"tb"
    )


def python2_batch(planes, labels):
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(U\x04data" + python2_array(planes) + b"U\x06labels" + numbers + b"u."


@pytest.fixture
def binary(tmp_path):
    folder = tmp_path / "binary" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    (folder / "batches.meta.txt").write_text("\n".join(CLASSES) + "\n\n")
    for seed, name in enumerate(BATCHES):
        planes, labels = batch(seed)
        rows = np.concatenate([np.array(labels, np.uint8)[:, None], planes], axis=1)
        (folder / f"{name}.bin").write_bytes(rows.tobytes())
    return folder


@pytest.fixture
def pickled(tmp_path):
    folder = tmp_path / "python" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": CLASSES, "num_vis": 3072}, protocol=2))
    for seed, name in enumerate(BATCHES):
        (folder / name).write_bytes(python2_batch(*batch(seed)))
    return folder


def test_the_python2_fixture_is_what_numpy_reads():
    """Guards the hand-written opcodes: the ordinary unpickler, which we never use, agrees with them."""
    planes, labels = batch(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # numpy.core was renamed
        loaded = pickle.loads(python2_batch(planes, labels), encoding="latin1")  # noqa: S301 - written above
    assert np.array_equal(loaded["data"], planes) and loaded["labels"] == labels


@pytest.mark.parametrize("split", ["test", "train"])
def test_both_layouts_hold_the_same_pictures(binary, pickled, split):
    one, other = (load_data("cifar10", root=folder, split=split) for folder in (binary, pickled.parent))
    seeds = [5] if split == "test" else range(5)
    expected = np.concatenate([batch(seed)[0] for seed in seeds]).reshape(-1, 3, 32, 32)
    assert torch.equal(one.images(one.ids), torch.from_numpy(expected).float() / 255)
    assert one.labels.tolist() == [label for seed in seeds for label in batch(seed)[1]]
    assert one.fingerprint == other.fingerprint
    assert one.classes == other.classes == tuple(CLASSES) and one.shape == (3, 32, 32)


def test_a_limit_reads_only_the_files_it_needs(binary):
    whole = load_data("cifar10", root=binary, split="train")
    (binary / "data_batch_3.bin").unlink()
    few = load_data("cifar10", root=binary, split="train", limit=2 * COUNT)
    assert torch.equal(few.images(few.ids), whole.images(few.ids)) and len(few) == 12
    with pytest.raises(InputError, match=r"data_batch_3\.bin is missing.*Unpack the official archive again"):
        load_data("cifar10", root=binary, split="train", limit=2 * COUNT + 1)


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
@pytest.mark.parametrize("key", [str, str.encode])
def test_batches_saved_again_by_newer_versions_are_read(pickled, protocol, key):
    planes, labels = batch(5)
    (pickled / "test_batch").write_bytes(pickle.dumps({key("data"): planes, key("labels"): labels}, protocol=protocol))
    data = load_data("cifar10", root=pickled)
    assert torch.equal(data.images(data.ids).flatten(1), torch.from_numpy(planes).float() / 255)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("test_batch.bin", b"\0" * 3072, "3,072 bytes.*rows of 3,073 bytes"),
        ("test_batch.bin", b"", "0 bytes.*1 to 10,000 rows"),
        ("test_batch.bin", b"\x0a" + b"\0" * 3072, "has the label 10.*0..9"),
        ("batches.meta.txt", b"cat\ndog\n", "names 2 classes.*has 10"),
    ],
)
def test_damaged_binary_files_are_refused(binary, name, content, message):
    (binary / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_data("cifar10", root=binary)


def test_a_folder_without_cifar_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no CIFAR-10.*must be or contain cifar-10-batches-bin"):
        load_data("cifar10", root=tmp_path)


class Reduced:
    """Pickles as the call that it is given."""

    def __init__(self, *parts):
        self.parts = parts

    def __reduce__(self):
        return self.parts


PLANES, NUMBERS = batch(5)
RECONSTRUCT = PLANES.__reduce__()[0]


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"data": PLANES.astype(np.int16), "labels": NUMBERS}, "array of dtype 'i2'"),
        ({"data": np.array([["x", None]], object), "labels": NUMBERS}, "array of dtype 'O8'"),
        ({"data": np.asfortranarray(PLANES), "labels": NUMBERS}, "not uint8 in C order"),
        (
            {
                "data": Reduced(RECONSTRUCT, (np.ndarray, (0,), b"b"), (1, (10**9, 3072), np.dtype("u1"), False, b"x")),
                "labels": NUMBERS,
            },
            "cannot reshape array of size 1",
        ),
        ({"data": PLANES, "labels": [eval]}, "names __builtin__.eval"),
        ([PLANES], "holds a list, not a dict"),
        ({"data": PLANES, "labels": NUMBERS[:5]}, r"does not hold a batch.*n class numbers"),
        ({"data": PLANES[:, :100], "labels": NUMBERS}, r"does not hold a batch.*uint8 \[n, 3072\]"),
        ({"data": "text", "labels": NUMBERS}, "does not hold a batch"),
        ({"data": PLANES, "labels": [10**6] * COUNT}, "does not hold a batch"),
        ({"data": PLANES, "labels": [11] * COUNT}, "has the label 11"),
    ],
)
def test_pickles_with_other_content_are_refused(pickled, stored, message):
    (pickled / "test_batch").write_bytes(pickle.dumps(stored, protocol=2))
    with pytest.raises(InputError, match=message):
        load_data("cifar10", root=pickled)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_code_in_a_pickle_is_named_and_never_runs(pickled, tmp_path, protocol):
    marker = tmp_path / "ran"
    trap = pickle.dumps({"data": Reduced(os.system, (f"touch {marker}",)), "labels": []}, protocol=protocol)
    (pickled / "test_batch").write_bytes(trap)
    with pytest.raises(InputError, match=r"names (posix|nt)\.system.*Nothing in the file was run"):
        load_data("cifar10", root=pickled)
    assert not marker.exists()
    pickle.loads(trap)  # noqa: S301 - shows that the trap is armed
    assert marker.exists()


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (b"\x80\x02cnumpy\ndtype\n}U\x01a}sb.", "sets the state of a function"),
        (b"\x80\x02cnumpy\ndtype\n)\x81.", "refused"),  # NEWOBJ on a stand-in
        (b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.", "encodes to 'rot13'"),
        (b"\x80\x02cbitproof.data.pickled\nread_pickled\n.", r"names bitproof\.data\.pickled\.read_pickled"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0edtype.__init__\x93.", r"names numpy\.dtype\.__init__"),
        (b"", "Ran out of input"),
        (b"\x80\x02}(U\x04da", "truncated"),
        (b"not a pickle", "refused"),
    ],
)
def test_programs_beside_the_format_are_refused(tmp_path, program, message):
    path = tmp_path / "batch"
    path.write_bytes(program)
    with pytest.raises(InputError, match=message):
        read_pickled(path)


DOUBLED = b"\x80\x02N" + b"2\x86" * 40  # a pair of a pair of ...: 2^40 leaves when it is written out


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (b"\x80\x02}r\xff\xff\xff\x7f.", "does not hold a batch"),  # a memo of 2^31 places
        (b"\x80\x02B\xff\xff\xff\xff.", "truncated"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**36) + b".", "truncated"),
        (b"\x80\x05\x96" + struct.pack("<Q", 2**34) + b".", "truncated"),
        (b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b"}.", "does not hold a batch"),
        (b"\x80\x04" + b"(" * 3000, "more than 2,000 steps"),
        (b"\x80\x04\x95" + struct.pack("<Q", 3000) + b"(" * 3000, "more than 2,000 steps"),
        (DOUBLED.replace(b"\x02", b"\x02cnumpy\ndtype\n") + b"\x85R.", r"dtype \(+\.\.\.\), "),
    ],
)
def test_claims_in_a_pickle_cost_no_memory(pickled, monkeypatch, program, message):
    monkeypatch.setattr("bitproof.reading.pickles.STEPS", 2000)  # of two million, whose reading takes seconds
    (pickled / "test_batch").write_bytes(program)
    tracemalloc.start()
    with pytest.raises(InputError, match=message):
        load_data("cifar10", root=pickled)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2e6


def test_oversized_pickles_are_refused_unread(tmp_path):
    path = tmp_path / "batch"
    with path.open("wb") as file:
        file.truncate(64 * 2**20 + 1)
    with pytest.raises(InputError, match=r"67,108,865 bytes.*at most 67,108,864"):
        read_pickled(path)
