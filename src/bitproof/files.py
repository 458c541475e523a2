"""The one way in which bitproof writes a file: beside it, to the disk, then into its place in one step.

So a file is always a complete one, old or new, whatever is killed or full. A draft that a killed process left behind is
taken away by the next one that wants to write the same file: its lock, which ends with the process, tells.
"""

import fcntl
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bitproof.errors import InputError

_DATABASE = b"SQLite format 3\0"
"""How files begin that are never written over: results lie in them."""

_NAMED = 40
"""Letters of a file's name that its draft takes over, as names have at most 255 bytes."""


@contextmanager
def written(path: str | Path, what: str) -> Iterator[Path]:
    """A draft to write to, which takes the place of `path` at the end of the block; nothing is left if that fails.

    Args:
        path: the file, in an existing folder. Of a link, what it points to.
        what: what it is, for messages ("the report").

    Raises:
        InputError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "a.txt"
        >>> with written(target, "the note") as draft:
        ...     _ = draft.write_text("done")
        >>> target.read_text(), len(list(target.parent.iterdir()))
        ('done', 1)
    """
    with _explained(path, what):
        place = _free(path)
        with _draft(place) as draft:
            yield draft
            with draft.open("rb+") as file:
                os.fsync(file.fileno())
            if place.exists():
                draft.chmod(place.stat().st_mode & 0o777)
            draft.replace(place)


def check_place(path: str | Path, what: str) -> None:
    """Find out before the work whether `written` will be able to write, and take away what killed processes left.

    Raises:
        InputError: what `written` would raise.
    """
    with _explained(path, what), _draft(_free(path)):
        pass


def check_folder(path: str | Path, what: str) -> None:
    """The same for a folder of files, which is made where it is missing.

    Raises:
        InputError: it cannot be made, or no file can be written in it.
    """
    with _explained(path, what):
        found = Path(os.path.realpath(path))
        while not found.exists():
            found = found.parent
        if not found.is_dir():
            raise InputError(
                f"cannot make the folder {str(path)!r} ({str(found)!r} is a file)",
                rule="a folder lies in folders",
                remedy="Choose another path",
            )
        with _draft(found / "folder"):
            pass


@contextmanager
def run_folder(folder: Path, *, unless: tuple[type[InputError], ...] = ()) -> Iterator[None]:
    """A folder that a run keeps its files in, made with those above it; what is still empty of them is taken away when
    the block refuses.

    Args:
        folder: it may be there.
        unless: refusals that leave it.

    Raises:
        InputError: it cannot be made.
    """
    missing = [part for part in (folder, *folder.parents) if not part.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make the folder {str(folder)!r} ({error.strerror or error})",
            rule="a run keeps its files in one folder",
            remedy="Choose a writable path",
        ) from error
    try:
        yield
    except InputError as error:
        if not isinstance(error, unless):
            with suppress(OSError):  # one that holds something is what a stopped run goes on from
                for part in missing:
                    part.rmdir()
        raise


def cannot_write(path: str | Path, what: str, error: Exception) -> InputError:
    """What is said of a file that cannot be written."""
    return InputError(
        f"cannot write {str(path)!r} ({getattr(error, 'strerror', None) or error})",
        rule=f"{what} is one file in an existing folder",
        remedy="Choose a writable path on a disk with room",
    )


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for temporary files, gone after the block; those that killed processes left go first, by the same rule:
    a lock beside each ends with its process."""
    place, start = Path(tempfile.gettempdir()), "bitproof-"
    for left in place.glob(f"{start}*.lock"):
        with suppress(OSError), _held(left):
            shutil.rmtree(left.with_suffix(""), ignore_errors=True)
            left.unlink()
    folder = place / f"{start}{secrets.token_hex(8)}"
    lock = folder.with_suffix(".lock")
    with _held(lock, os.O_CREAT | os.O_EXCL):
        try:
            folder.mkdir(0o700)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)


@contextmanager
def _held(path: Path, how: int = 0) -> Iterator[None]:
    """A file with its lock; an `OSError` where another process has it."""
    lock = os.open(path, os.O_RDWR | how, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)


@contextmanager
def _explained(path: str | Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot_write(path, what, error) from error


def _free(path: str | Path) -> Path:
    """Where the file will lie, links followed."""
    place = Path(os.path.realpath(path))
    if not place.parent.is_dir():
        folder = place.parent if Path(path).is_symlink() else Path(path).parent
        raise NotADirectoryError(0, f"the folder {str(folder)!r} does not exist")
    if place.is_dir():
        raise IsADirectoryError(0, "it is a folder")
    if place.exists() and not place.is_file():
        raise OSError(0, "it is a device or a pipe")
    if place.exists():
        with place.open("rb") as file:
            if file.read(len(_DATABASE)) == _DATABASE:
                raise FileExistsError(0, "it is a database, which may hold results")
    return place


@contextmanager
def _draft(place: Path) -> Iterator[Path]:
    """An empty file beside `place`, locked and gone after the block; those that dead processes left go first."""
    start, end = f".{place.stem[:_NAMED]}.", f".tmp{place.suffix}"  # writers go by the suffix
    for left in place.parent.iterdir():
        if re.fullmatch(f"{re.escape(start)}[0-9a-f]{{8}}{re.escape(end)}", left.name):
            _sweep(left)
    draft = place.with_name(f"{start}{secrets.token_hex(4)}{end}")
    lock = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
    try:
        with suppress(OSError):  # a file system without locks: then nothing is swept there
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield draft
    finally:
        draft.unlink(missing_ok=True)
        os.close(lock)


def _sweep(draft: Path) -> None:
    """Remove a draft unless a process still holds its lock."""
    with suppress(OSError), _held(draft):
        draft.unlink()
