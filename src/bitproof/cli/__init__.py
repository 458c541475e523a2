"""The command line: reads arguments, calls the library, prints what comes back. One file a command.

Little is imported here, so that a stop is heard from the first moment on; the commands are in `app`.
"""

import contextlib
import os
import signal
import sys
import warnings
from typing import Any

from bitproof.errors import InputError

_STOPS = (signal.SIGINT, signal.SIGTERM)


def _note(message: Warning | str, *_: Any) -> None:
    """A warning, as the command line says it: without the place in the code."""
    print(f"note: {message}", file=sys.stderr)


def main() -> None:
    """Run the command line.

    A user's mistake prints one message and exits with code 2. Ctrl-C and SIGTERM end it in order, with a word on what
    is kept and the codes 130 and 143; a second one ends it at once.
    """
    # Threads that wait for work by spinning long slow each other down several times where cores are shared.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    asked: list[int] = []

    def stop(number: int, _: Any) -> None:
        """Leave by an exception, so that everything is put away on the way out."""
        asked.append(number)
        for other in _STOPS:
            signal.signal(other, signal.SIG_DFL)
        sys.exit(128 + number)

    before = {number: signal.getsignal(number) for number in _STOPS}
    for number in _STOPS:
        if before[number] != signal.SIG_IGN:  # as for jobs in the background
            signal.signal(number, stop)
    try:
        with contextlib.suppress(AttributeError):  # streams replaced by a test have no encoding to set
            sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
        from bitproof.cli.app import app

        with warnings.catch_warnings():
            warnings.showwarning = _note
            app()
    except BaseException as error:
        if asked:  # whatever became of the exception on its way through other people's code
            kept = getattr(error, "__notes__", ["no file is left half written"])
            print(f"stopped: {'; '.join(kept)}", file=sys.stderr)
            sys.exit(128 + asked[0])
        if isinstance(error, Exception) and not isinstance(error, InputError):
            from bitproof.settings import failed_in_own_code

            error = failed_in_own_code(error) or error
        if isinstance(error, InputError):
            red, plain = ("\033[31m", "\033[0m") if sys.stderr.isatty() else ("", "")
            print(f"{red}error: {error}{plain}", file=sys.stderr)
            sys.exit(2)
        if type(error).__name__ == "OutOfMemoryError":  # torch's, which may not be imported here
            print(
                f"error: {str(error).splitlines()[0]} The memory of the device does not hold a batch: use a smaller "
                "one (--batch-size, or batch_size= of a recipe), or --device cpu.",
                file=sys.stderr,
            )
            sys.exit(2)
        if isinstance(error, BrokenPipeError):  # the reader of a pipe left, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
