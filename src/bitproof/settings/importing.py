"""What is somebody's own, by name: `package.module:name`, as web servers and test tools write it.

Only what the user names is imported, never what a file says of itself.
"""

import importlib
import importlib.util
import os
import re
import sys
import traceback
from pathlib import Path
from typing import Any

from bitproof.errors import InputError, lookup
from bitproof.settings.source import is_library

_HERE = Path(__file__).resolve().parents[1]
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def is_importable(module: str) -> bool:
    """Whether there is a module of this name in the working directory or the environment.

    Example:
        >>> is_importable("json.decoder"), is_importable("pgd"), is_importable("no/path")
        (True, False, False)
    """
    if not _MODULE.fullmatch(module):
        return False
    _look_here()
    parent = module.rpartition(".")[0]
    if parent and not is_importable(parent):
        return False
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError as error:  # of a parent that is a module and no package, as in "nets.py"
        return error.name != module
    except Exception:  # a parent package that fails is found, and `imported` will say why it fails
        return True


def imported(module: str, name: str, kind: str) -> Any:
    """What a module calls `name`.

    Args:
        module: a dotted name, looked for in the working directory first; processes that are started find it too.
        name: of something in it.
        kind: what it is to be, for messages.

    Raises:
        InputError: there is no such module or nothing of this name in it, or it fails when it is imported; the last
            line of its own traceback says where.
    """
    if not is_importable(module):
        raise InputError(
            f"there is no module {module!r} for the {kind} {module}:{name}",
            rule="something of your own is named package.module:name, and looked for in the working directory and the "
            "environment",
            remedy="Run the command in the folder of its file, and write the name without .py",
        )
    try:
        found = importlib.import_module(module)
    except (Exception, SystemExit) as error:
        raise failed(error, f"the module {module!r} fails when it is imported") from error
    public = {key: value for key, value in vars(found).items() if not key.startswith("_")}
    return lookup(vars(found) if name in vars(found) else public, name, f"name in the module {module}")


def failed_in_own_code(error: BaseException) -> InputError | None:
    """What is said of an error that comes out of somebody's own code while it is used; None for any other error."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [place for place, frame in enumerate(frames) if _is_somebodys(frame.filename)]
    if not own or any(_is_ours(frame.filename) for frame in frames[own[-1] :]):
        return None
    return failed(error, "code of your own fails")


def failed(error: BaseException, what: str) -> InputError:
    """What is said where somebody's own code fails: the last frame of its traceback that is theirs, and the error."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if _is_somebodys(frame.filename)]
    frames = theirs or [frame for frame in frames if not _is_ours(frame.filename)]
    where = f", {frames[-1].filename} line {frames[-1].lineno}: {frames[-1].line}" if frames else ""
    if isinstance(error, SyntaxError) and error.filename:
        where = f", {error.filename} line {error.lineno}"
    said = (str(error).splitlines() or [""])[0]
    return InputError(
        f"{what} ({type(error).__name__}: {said}{where})",
        rule="code of your own runs as it is",
        remedy="Mend it there; run it by itself to see the whole traceback",
    )


def _is_ours(file: str) -> bool:
    return Path(file).is_relative_to(_HERE)


def _is_somebodys(file: str) -> bool:
    """Whether a frame's file is neither bitproof's nor a library's."""
    return not (file.startswith("<") or _is_ours(file) or is_library(file))


def _look_here() -> None:
    """Let modules in the working directory be found, as `python -m` does."""
    if (here := os.getcwd()) not in sys.path and "" not in sys.path:  # noqa: PTH109 - as sys.path has it
        sys.path.insert(0, here)
