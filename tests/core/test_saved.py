"""Files of torch.save: what comes back, and that no flipped bit passes."""

import io
import struct
import zipfile

import numpy as np
import pytest
import torch

from bitproof.core.saved import read_saved
from bitproof.errors import InputError
from bitproof.models import read_weights

SHARED = torch.arange(12.0)
CONTENT = {
    "tensor": torch.rand(3, 4),
    "transposed": torch.rand(3, 4).t(),
    "shared": SHARED[2:8].view(2, 3),
    "also": SHARED,
    "scalar": torch.tensor(2.5),
    "empty": torch.empty(0, 3),
    "kinds": [torch.ones(2, dtype=t) for t in (torch.bfloat16, torch.int8, torch.bool, torch.float8_e4m3fn)],
    "parameter": torch.nn.Parameter(torch.ones(2)),
    "plain": [1, -2.5, None, True, "text", b"bytes", (1, (2,)), {3: torch.Size([4])}],
    "module": torch.nn.BatchNorm1d(2).state_dict(),
}


def same(one, other):
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one.float(), other.float())
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def write(path, content, zipped=True):
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path.read_bytes()


@pytest.mark.parametrize("zipped", [True, False])
def test_what_was_saved_comes_back(tmp_path, zipped):
    write(tmp_path / "a.pt", CONTENT, zipped)
    found = read_saved(tmp_path / "a.pt")
    assert same(CONTENT, found)
    assert found["shared"].untyped_storage().data_ptr() == found["also"].untyped_storage().data_ptr()


def test_no_flipped_bit_passes(tmp_path):
    state = {"w": torch.rand(40), "b": torch.rand(3, dtype=torch.float64)}
    whole = write(tmp_path / "a.pt", state)
    passed = 0
    for bit in np.random.default_rng(0).integers(8 * len(whole), size=200).tolist():
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        (tmp_path / "a.pt").write_bytes(damaged)
        try:
            found = read_weights(tmp_path / "a.pt")
        except InputError as error:
            assert "a.pt cannot be read" in str(error)
            continue
        assert same(state, found)  # padding, dates and the like
        passed += 1
    assert passed < 160


def test_a_storage_is_no_longer_than_what_is_stored(tmp_path):
    whole = write(tmp_path / "a.pt", {"w": torch.rand(100)})
    with zipfile.ZipFile(io.BytesIO(whole)) as file:
        members = {name: file.read(name) for name in file.namelist()}
    root = next(iter(members)).partition("/")[0]
    members[f"{root}/data/0"] = members[f"{root}/data/0"][:40]
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    with pytest.raises(InputError, match="storage '0' has 40 bytes for 100 entries"):
        read_weights(tmp_path / "a.pt")
    old = write(tmp_path / "a.pt", {"w": torch.rand(100)}, zipped=False)
    (tmp_path / "a.pt").write_bytes(old.replace(b"cpuq\x06Kd", b"cpuq\x06J" + struct.pack("<i", 2**31 - 1)))
    with pytest.raises(InputError, match="claims 2,147,483,647 entries"):
        read_weights(tmp_path / "a.pt")


def test_archives_that_inflate_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/data.pkl", bytes(2**24))
    with pytest.raises(InputError, match="compressed or encrypted in another way"):
        read_weights(tmp_path / "bomb.pt")
