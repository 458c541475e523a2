"""Pieces that readers of strangers' files share: hostile pickles, archives that lie, arrays that are none."""

import io
import time
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest

from bitproof import reading
from bitproof.errors import InputError, UnreadableError
from bitproof.reading import Function, Program, UnpicklingError, refusing

PAIRS = b"K\x01" + b"2\x86" * 60  # a pair of a pair of ...: its hash visits 2^60 leaves
COPIED = b"X\x00\x00\x01\x00" + b"x" * 2**16 + b"\x94X\x06\x00\x00\x00latin1\x94"


def run(program, **options):
    return Program(io.BytesIO(program), len(program), names={("a", "f"): Function(lambda *args: args)}, **options).run()


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (b"}" + PAIRS + b"K\x01s.", "a key that is neither text nor a number"),
        (b"(" + PAIRS + b"K\x01d.", "a key that is neither text nor a number"),
        (b"}(" + PAIRS + b"K\x01u.", "a key that is neither text nor a number"),
        (b"\x8f(" + PAIRS + b"\x90.", "it has the instruction"),  # a set
        (b"(" + PAIRS + b"\x91.", "it has the instruction"),
        (COPIED + b"](" + b"c_codecs\nencode\nh\x00h\x01\x86R" * 100 + b"e.", "copies its content again and again"),
        (b"K\x00K\x01K\x02\x86R.", "calls what is no function"),
        (b"ca\nf\n]R.", "calls what is no function"),
        (b"ca\nf\n}b.", "sets the state of a function"),
        (b"]}b.", "sets the state of a list"),
        (b"ca\nf\nK\x01a.", "appends to what is no list"),
        (b"cos\nsystem\n.", r"it names os\.system"),
        (b"(cos\nsystem\nK\x01o.", "it names os"),
        (b"(ca\nf\no.", "it has the instruction b'o'"),
        (b"U\x01xQ.", "names something outside itself"),
    ],
)
def test_no_instruction_does_more_than_build_plain_values(program, message):
    started = time.process_time()
    with pytest.raises(UnpicklingError, match=message):
        run(program)
    assert time.process_time() - started < 1


def test_plain_values_and_given_functions_are_what_they_were():
    assert run(b"\x80\x02}(U\x01aK\x01U\x01b](N\x88eu.") == {"a": 1, "b": [None, True]}
    assert run(b"ca\nf\nK\x01K\x02\x86R.") == (1, 2)
    assert run(b"U\x01xQ.", persistent=str.upper) == "X"


def archive(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def test_an_archive_is_believed_no_more_than_it_holds():
    whole = archive(a=bytes(2**24))
    with pytest.raises(ValueError, match=r"claim 16,777,216 bytes, and 1,000 are the most"):
        reading.opened(io.BytesIO(whole), most=1000)
    liar = whole.replace((2**24).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    tracemalloc.start()
    with pytest.raises(zipfile.BadZipFile, match="CRC"):
        reading.member(reading.opened(io.BytesIO(liar), most=1000), "a")
    assert tracemalloc.get_traced_memory()[1] < 2e6  # the other 16 million were not inflated
    tracemalloc.stop()
    with pytest.raises(ValueError, match="compressed or encrypted in another way"):
        reading.opened(io.BytesIO(whole), most=2**30, inflated=False)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_BZIP2) as file:
        file.writestr("a", bytes(100))
    with pytest.raises(ValueError, match="compressed or encrypted in another way"):
        reading.opened(packed, most=2**30)  # nothing bounds what a step of bzip2 gives
    with pytest.raises(ValueError, match="two of its members have one name"):
        reading.opened(io.BytesIO(archive(ab=b"1", ba=b"2").replace(b"ba", b"ab")), most=2**30)
    assert reading.member(reading.opened(io.BytesIO(whole), most=2**24), "a") == bytes(2**24)


@pytest.mark.parametrize(
    ("array", "change", "message"),
    [
        (np.arange(6), lambda c: c[:-1], "47 bytes follow"),
        (np.arange(6), lambda c: c.replace(b"(6,)", b"(9,)"), r"\[9\], and 48 bytes follow"),
        (np.arange(6), lambda c: c.replace(b"(6,), }", b"(-6,), }"), "bytes follow"),
        (np.array([None]), lambda c: c, "it holds object, not numbers"),
        (np.array(["a"]), lambda c: c, "not numbers"),
        (np.zeros(2, [("a", "<i4")]), lambda c: c, "not numbers"),
        (np.arange(6), lambda c: c.replace(b"\x01\x00", b"\x03\x00", 1), r"version \(3, 0\)"),
    ],
)
def test_an_array_is_what_its_header_says_or_none(tmp_path, array, change, message):
    buffer = io.BytesIO()
    np.save(buffer, array)
    content = change(buffer.getvalue())
    (tmp_path / "a.npy").write_bytes(content)
    for read in (lambda: reading.unpacked(content), lambda: reading.mapped(tmp_path / "a.npy")):
        with pytest.raises(ValueError, match=message):
            read()


def test_arrays_come_back_as_they_were(tmp_path):
    for array in (
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.array(3),
        np.zeros(0),
    ):
        np.save(tmp_path / "a.npy", array)
        found = reading.unpacked((tmp_path / "a.npy").read_bytes())
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype and found.shape == array.shape
        if array.size:
            np.testing.assert_array_equal(reading.mapped(tmp_path / "a.npy"), array)


ERRORS = [SyntaxError("x"), NotImplementedError(), RecursionError("x"), MemoryError(), zlib.error("x")]
SAYS = {"rule": "r", "remedy": "m"}


@pytest.mark.parametrize("error", ERRORS)
def test_whatever_a_parser_raises_names_the_file(error):
    with pytest.raises(InputError, match=r"^f cannot be read \((x|\w+)\): r\. m\.$") as refusal, refusing("f", **SAYS):
        raise error
    assert refusal.value.__cause__ is error
    with pytest.raises(UnreadableError, match="f is odd"), refusing("f", **SAYS, how="is odd", picture=True):
        raise error


def test_what_names_itself_passes_or_is_absorbed():
    inner = InputError("of its own", rule="r2", remedy="m2")
    with pytest.raises(InputError, match="^of its own: r2"), refusing("f", **SAYS):
        raise inner
    with (
        pytest.raises(InputError, match=r"^f cannot be read \(of its own: r2\)"),
        refusing("f", **SAYS, absorb=True),
    ):
        raise inner


def test_a_parser_cannot_write_to_the_terminal():
    with pytest.raises(InputError) as refusal, refusing("f", rule="r", remedy="m"):
        raise ValueError("\x1b[31m" + "x" * 10_000)
    assert "\x1b" not in str(refusal.value) and len(str(refusal.value)) < 400
