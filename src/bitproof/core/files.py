"""Files that are there whole or not at all, even if the machine stops while they are written."""

import os
from collections.abc import Callable
from pathlib import Path


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a draft beside `path`, see it onto the disk, and put it in its place in one step.

    The draft keeps the suffix and carries the number of the process, so that two of them do not write into one file.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    draft = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        write(draft)
        with draft.open("r+b") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
