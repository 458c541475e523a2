"""What the released benchmarks share: how their authors call things, how files are found, hashed and missed."""

import abc
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

from bitproof.errors import InputError, lookup
from bitproof.records import ConditionRecord
from bitproof.settings import describe, digest
from bitproof.shifts.base import Shift

CORRUPTED = (
    "gaussian-noise",
    "shot-noise",
    "impulse-noise",
    "defocus-blur",
    "glass-blur",
    "motion-blur",
    "zoom-blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic",
    "pixelate",
    "jpeg",
    "speckle-noise",
    "gaussian-blur",
    "spatter",
    "saturate",
)
MOVED = (
    "gaussian-noise",
    "shot-noise",
    "motion-blur",
    "zoom-blur",
    "snow",
    "brightness",
    "translate",
    "rotate",
    "tilt",
    "scale",
    "speckle-noise",
    "gaussian-blur",
    "spatter",
    "shear",
)
_STORED_AS = {"elastic": "elastic_transform", "jpeg": "jpeg_compression"}

Size = tuple[int, int]
"""Height and width."""


@dataclass(frozen=True, kw_only=True)
class ReleasedCorruption(Shift):
    """One corruption at one severity, as its authors released it."""

    root: str
    corruption: str
    severity: int
    protocol: str = field(init=False, default="released")

    def __post_init__(self) -> None:
        lookup(dict.fromkeys(CORRUPTED), self.corruption, "corruption")
        if self.severity not in range(1, 6):
            raise InputError(
                f"severity is {self.severity}", rule="corruptions have severities 1 to 5", remedy="Pick one of them"
            )

    @property
    def name(self) -> str:
        """The corruption without its severity, as of the one made in memory."""
        return self.corruption.replace("-", " ")

    @property
    def label(self) -> str:
        """Name, severity and protocol."""
        return f"{self.name} {self.severity} released"

    @cached_property
    def content(self) -> str:
        """Hash of the files: results belong to them, wherever they lie."""
        return self.hashed()

    @abc.abstractmethod
    def hashed(self) -> str:
        """A hash that tells these files from others."""

    def record(self) -> ConditionRecord:
        setting = {name: value for name, value in describe(self).items() if name != "root"}
        return ConditionRecord(
            kind="corruption",
            label=self.label,
            group=self.name,
            variant=f"{self.severity} released",
            severity=self.severity,
            setting={**setting, "content": self.content},
        )


def stored_as(corruption: str) -> str:
    """What the released files call a corruption or sequence.

    Example:
        >>> stored_as("shot-noise"), stored_as("jpeg")
        ('shot_noise', 'jpeg_compression')
    """
    return _STORED_AS.get(corruption, corruption.replace("-", "_"))


@lru_cache(maxsize=32)
def folder_of(root: str, name: str) -> Path:
    """Where a corruption lies: in the root, or in one of its four groups."""
    here = Path(root) / name
    return here if here.is_dir() else next(Path(root).glob(f"*/{name}"), here)


def listed(folder: Path) -> str:
    """Hash of the names and sizes of all files below a folder."""
    lines = [f"{path.relative_to(folder).as_posix()} {path.stat().st_size}" for path in folder.rglob("*.*")]
    return digest(sorted(lines))


def missing(path: Path) -> InputError:
    """What is said where a picture has no corrupted copy."""
    return InputError(
        f"there is no {path}",
        rule="every picture of the data needs its corrupted copy, in a folder and under a name like its own",
        remedy="Check the root, or load only data that have one",
    )


def other_size(path: str, stored: tuple[int, ...], size: Size) -> InputError:
    """What is said of files that do not have the size of the data."""
    return InputError(
        f"{path} has {stored[1]}x{stored[0]} pixels, the data {size[1]}x{size[0]}",
        rule="released pictures are used as they are",
        remedy=f"Load the data with size={stored[0]}",
    )
