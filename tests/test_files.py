"""Files are written whole or not at all, and over nothing that holds results."""

import fcntl
import os
import sqlite3

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from bitproof.checkpoints import save_model
from bitproof.errors import InputError, lookup
from bitproof.files import check_folder, check_place, run_folder, scratch, written


def write(path, text="new"):
    with written(path, "the note") as draft:
        draft.write_text(text)


def test_links_are_followed_and_modes_are_kept(tmp_path):
    target, link = tmp_path / "a.txt", tmp_path / "link.txt"
    before = os.umask(0o027)
    try:
        write(target, "old")
    finally:
        os.umask(before)
    assert target.stat().st_mode & 0o777 == 0o640
    target.chmod(0o604)
    link.symlink_to(target)
    write(link)
    assert (link.is_symlink(), target.read_text(), target.stat().st_mode & 0o777) == (True, "new", 0o604)


def test_scratch_folders_go_with_their_block_or_with_the_next_one(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    process = os.fork()
    if not process:
        with scratch() as folder:
            (folder / "copy").write_text("half")
            os._exit(9)  # as a kill ends it
    os.waitpid(process, 0)
    assert len(list(tmp_path.iterdir())) == 2
    with scratch() as one, scratch() as other:
        assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == sorted([one.name, other.name])
    assert not list(tmp_path.iterdir())


class Kept(InputError):
    """A refusal that has something to keep."""


@pytest.mark.parametrize(
    ("refusal", "left"), [(InputError, ["there"]), (Kept, ["there", "there/new", "there/new/run"]), (None, None)]
)
def test_a_refused_run_leaves_no_folder_that_it_made_and_left_empty(tmp_path, refusal, left):
    (tmp_path / "there").mkdir()
    folder = tmp_path / "there" / "new" / "run"
    with pytest.raises(InputError), run_folder(folder, unless=(Kept,)):
        if refusal is None:
            (folder / "state").write_text("half")
        raise (refusal or InputError)("it", rule="rule", remedy="Remedy")
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert found == (left or ["there", "there/new", "there/new/run", "there/new/run/state"])
    with pytest.raises(InputError), run_folder(tmp_path / "there"):  # which somebody else made
        raise InputError("it", rule="rule", remedy="Remedy")
    assert (tmp_path / "there").is_dir()


def test_what_fails_leaves_the_old_file_and_no_draft(tmp_path):
    path = tmp_path / "a.txt"
    write(path, "old")
    with pytest.raises(KeyError), written(path, "the note") as draft:
        draft.write_text("half")
        raise KeyError
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"] and path.read_text() == "old"


def test_drafts_of_the_dead_go_and_those_of_the_living_stay(tmp_path):
    dead, alive = tmp_path / ".a.0123abcd.tmp.txt", tmp_path / ".a.4567abcd.tmp.txt"
    dead.touch()
    (tmp_path / ".a.mine.tmp.txt").touch()  # looks like one, and is somebody's own
    lock = os.open(alive, os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    check_place(tmp_path / "a.txt", "the note")
    assert not dead.exists() and alive.exists()
    os.close(lock)
    write(tmp_path / "a.txt")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".a.mine.tmp.txt", "a.txt"]


def test_a_long_name_has_a_draft_too(tmp_path):
    write(tmp_path / f"{'n' * 251}.txt")
    assert len(os.listdir(tmp_path)) == 1  # noqa: PTH208


@pytest.mark.parametrize("place", ["folder", "nowhere/a.txt", "/dev/null", "/proc/a.txt", "results.db"])
def test_what_cannot_be_written_is_refused_before_and_while_writing(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with sqlite3.connect("results.db") as database:
        database.execute("CREATE TABLE results (value)")
    content = (tmp_path / "results.db").read_bytes()
    for attempt in (check_place, lambda path, what: write(path)):
        with pytest.raises(InputError, match=r"cannot write .*: the note is one file in an existing folder"):
            attempt(place, "the note")
    assert (tmp_path / "results.db").read_bytes() == content
    assert sorted(os.listdir(tmp_path)) == ["folder", "results.db"]  # noqa: PTH208


def test_a_folder_that_is_still_to_be_made_is_checked_too(tmp_path):
    check_folder(tmp_path / "a" / "b", "a checkpoint")
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "b", "/proc/a"):
        with pytest.raises(InputError, match="cannot (write|make)"):
            check_folder(place, "a checkpoint")


class Kinds(nn.Module):
    """Tensors of several kinds and of lengths that would put others out of line, two of which share memory."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("bytes", torch.arange(3, dtype=torch.uint8))
        self.register_buffer("flag", torch.tensor(True))
        self.register_buffer("low", torch.tensor([1.5, -2.0]).bfloat16())
        self.register_buffer("none", torch.empty(0, 4))
        self.weight = nn.Parameter(torch.randn(3, 2).T)
        self.same = self.weight
        self.register_buffer("count", torch.tensor(7))


def test_a_checkpoint_has_equal_bytes_for_equal_tensors(tmp_path):
    model = Kinds()
    model.origin = {"recipe": "none"}
    for name in ("a", "b"):
        size = save_model(model, tmp_path / f"{name}.safetensors", architecture="kinds", classes=3)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert size == (tmp_path / "a.safetensors").stat().st_size
    read = load_file(tmp_path / "a.safetensors")
    assert read.keys() == model.state_dict().keys()
    assert all(
        torch.equal(read[name], value) and read[name].dtype == value.dtype for name, value in model.state_dict().items()
    )


def test_messages_echo_no_long_inputs_and_no_empty_lists():
    error = InputError(
        f"unknown {'x' * 900!r}", rule="words of a rule stay " * 50, remedy=f"Did you mean {'y' * 900!r}?"
    )
    assert "[...]" in error.what and len(error.what) < 250 and len(error.remedy) < 250 and len(error.rule) > 1000
    assert len(InputError("many words " * 400, rule="r", remedy="m").what) < 700
    with pytest.raises(InputError, match="unknown field of x 'eps': there is none. Leave it out"):
        lookup({}, "eps", "field of x")
    with pytest.raises(InputError, match=r"unknown field of x \['a'\]: known are a. Pick one"):
        lookup({"a": 1}, ["a"], "field of x")
