"""The one way in which bitproof writes a file: beside it, to the disk, then into its place in one step.

So a file is always a complete one, old or new, whatever is killed or full. A draft that a killed process left behind is
taken away by the next one that writes the same file.
"""

import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bitproof.errors import InputError


@contextmanager
def written(path: str | Path, what: str) -> Iterator[Path]:
    """A draft to write to, which takes the place of `path` at the end of the block; nothing is left if that fails.

    Args:
        path: the file, in an existing folder.
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
    path = Path(path)
    sweep(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix}")  # writers go by the suffix
    try:
        try:
            yield draft
            with draft.open("rb+") as file:
                os.fsync(file.fileno())
            with suppress(OSError):
                draft.chmod((path.stat().st_mode if path.exists() else 0o666 & ~_umask()) & 0o777)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, what, error) from error


def sweep(path: Path) -> None:
    """Remove drafts of this file that processes left behind which are no longer there."""
    with suppress(OSError):
        for draft in path.parent.glob(f".{glob.escape(path.name)}.*.tmp{glob.escape(path.suffix)}"):
            process = draft.name.removesuffix(f".tmp{path.suffix}").rpartition(".")[2]
            if process.isdecimal() and not _is_alive(int(process)):
                draft.unlink(missing_ok=True)


def cannot_write(path: str | Path, what: str, error: Exception) -> InputError:
    """What is said of a file that cannot be written."""
    return InputError(
        f"cannot write {str(path)!r} ({getattr(error, 'strerror', None) or error})",
        rule=f"{what} is one file in an existing folder",
        remedy="Choose a writable path on a disk with room",
    )


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
