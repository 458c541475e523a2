"""Tar archives: the walk beside Python's own, over every format, name and kind of entry."""

import io
import subprocess
import tarfile

import numpy as np
import pytest

from bitproof.reading import members

NAMES = ("a.jpg", "b/" * 30 + "c.jpg", "d" * 99, "e" * 100, "f" * 101, "g/" * 90 + "h" * 90, "ünd.png", "i" * 700)
KINDS = (tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)


def walked(content):
    return members(io.BytesIO(content), len(content))


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_walk_finds_what_pythons_own_finds(form):
    rng = np.random.default_rng(form)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for i in range(60):
            entry = tarfile.TarInfo(NAMES[i % (5 if form == tarfile.USTAR_FORMAT and i % 8 > 3 else len(NAMES))])
            if form == tarfile.USTAR_FORMAT and len(entry.name) > 100 and "/" not in entry.name:
                entry.name = "short"
            entry.type = KINDS[rng.choice(len(KINDS), p=[0.7, *[0.06] * 5])]
            if entry.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                entry.linkname = "l" * int(rng.choice([9, 150] if form != tarfile.USTAR_FORMAT else [9]))
            content = rng.bytes(int(rng.choice([0, 1, 511, 512, 513, 3000]))) if entry.isreg() else b""
            entry.size, entry.mtime = len(content), 1.5 if form == tarfile.PAX_FORMAT and i % 2 else 1
            archive.addfile(entry, io.BytesIO(content))
    found = walked(buffer.getvalue())
    with tarfile.open(fileobj=io.BytesIO(buffer.getvalue())) as archive:
        expected = [entry for entry in archive.getmembers() if not entry.isdir()]
        assert [member.name for member in found] == [entry.name for entry in expected]
        assert [member.plain for member in found] == [entry.isreg() for entry in expected]
        for member, entry in zip(found, expected, strict=True):
            if entry.isreg():
                assert (member.start, member.size) == (entry.offset_data, entry.size)


def test_sizes_beyond_a_header_are_said_by_an_extended_one():
    entry = tarfile.TarInfo("a.jpg")
    entry.size, entry.pax_headers = 0, {"size": "700", "comment": "a = b"}
    head = entry.tobuf(tarfile.PAX_FORMAT)
    content = head + bytes(1024) + tarfile.TarInfo("b.jpg").tobuf() + bytes(1024)
    first, second = walked(content)
    assert (first.start, first.size) == (len(head), 700) and (second.name, second.size) == ("b.jpg", 0)
    entry.pax_headers = {"size": "70000"}
    with pytest.raises(ValueError, match="claims 70,000 bytes"):
        walked(entry.tobuf(tarfile.PAX_FORMAT) + bytes(1024))


@pytest.mark.parametrize("line", [b"99 a=b\n", b"x a=b\n", b"0 a=b\n", b"-7 a=b\n", b"7 a=bc", b" a=b\n"])
def test_damaged_extended_headers_are_refused(line):
    entry = tarfile.TarInfo("x")
    entry.size, entry.type = len(line), tarfile.XHDTYPE
    with pytest.raises(ValueError):
        walked(entry.tobuf() + line + bytes(512 - len(line)) + bytes(1024))


def test_what_the_systems_tar_writes_is_read(tmp_path):
    for i in range(3):
        (tmp_path / "in" / "d").mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / "d" / f"{i}{'x' * 90}.jpg").write_bytes(b"%d" % i * 600)
    for form in ("gnu", "pax", "ustar"):
        made = subprocess.run(
            ["tar", f"--format={form}", "-cf", tmp_path / "a.tar", "-C", tmp_path / "in", "."], capture_output=True
        )
        if made.returncode:
            pytest.skip("there is no tar of GNU's")
        content = (tmp_path / "a.tar").read_bytes()
        found = walked(content)
        assert sorted(m.name for m in found) == [f"./d/{i}{'x' * 90}.jpg" for i in range(3)]
        assert all(content[m.start : m.start + m.size] == m.name[4:5].encode() * 600 for m in found)
