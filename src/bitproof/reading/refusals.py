"""The one way in which bitproof refuses a file: whatever its parser raises becomes a message that names the file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bitproof.errors import InputError, UnreadableError

_LONGEST = 300
"""Letters of a parser's own words; some repeat the file."""


@contextmanager
def refusing(
    what: str | Path,
    *,
    rule: str,
    remedy: str,
    how: str = "cannot be read",
    picture: bool = False,
    absorb: bool = False,
) -> Iterator[None]:
    """Turn every exception of the block into an `InputError` that names the file; one that is one already passes.

    A damaged file makes the libraries that read it raise almost anything: `SyntaxError`, `TokenError`,
    `NotImplementedError`, `RecursionError`, `MemoryError`, their own kinds. So nothing but the parsing of the file
    belongs into the block.

    Args:
        what: the file, for messages.
        rule, remedy: what it should be, and what helps.
        how: what is said of it, before the parser's reason.
        picture: one of many that a run may leave out (`UnreadableError`).
        absorb: also take in every `InputError`, where they do not name the file.

    Raises:
        InputError: whatever was raised inside.

    Example:
        >>> with refusing("a.json", rule="it holds a size", remedy="Write it again"):
        ...     {}["size"]
        Traceback (most recent call last):
        bitproof.errors.InputError: a.json cannot be read (KeyError: 'size'): it holds a size. Write it again.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, InputError) and not absorb:
            raise
        reason = f"{how} ({in_words(error)})"
        if picture:
            raise UnreadableError(str(what), reason, rule=rule, remedy=remedy) from error
        raise InputError(f"{what} {reason}", rule=rule, remedy=remedy) from error


def in_words(error: Exception) -> str:
    """The first line of what an exception says, printable and not too long; its kind where it says nothing.

    Example:
        >>> in_words(KeyError("size")), in_words(MemoryError())
        ("KeyError: 'size'", 'MemoryError')
    """
    said = f"{error.what}: {error.rule}" if isinstance(error, InputError) else str(error)
    text = next(iter(said.splitlines()), "")
    text = "".join(letter if letter.isprintable() else "?" for letter in text[:_LONGEST])
    named = isinstance(error, LookupError) or not text  # those say what was looked for, and no more
    return ": ".join(filter(None, (type(error).__name__ if named else "", text)))
