"""Corrupted files as their authors released them: CIFAR-C, ImageNet-C and ImageNet-P (Hendrycks & Dietterich 2019).

Their numbers are those that papers compare. They differ from corruptions made in memory: the draws are fixed,
ImageNet-C has been through JPEG (quality 85) and ImageNet-P through H.264, motion blur and snow are ImageMagick's, and
frost is made of photographs. So every label ends in "released".
"""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8
from numpy.typing import NDArray

from bitproof.errors import InputError, UnreadableError, lookup
from bitproof.pictures.ffmpeg import need_av
from bitproof.pictures.pixels import REFERENCE_DECODER, decode
from bitproof.settings import digest
from bitproof.shifts.sequences import FIRST, PREVIOUS

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
_FRAMES = {"translate": 41}  # 31 for all others

Size = tuple[int, int]
"""Height and width."""


@dataclass(frozen=True, kw_only=True)
class _Corruption:
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


@dataclass(frozen=True, kw_only=True)
class CifarC(_Corruption):
    """A corruption of CIFAR-10-C or CIFAR-100-C: `labels.npy` and an array of five severities each.

    Attributes:
        root: the folder of the arrays.
        corruption: as on the command line, e.g. "gaussian-noise".
        severity: 1 (mild) to 5 (strong).

    Raises:
        InputError: an unknown corruption or severity.

    Example:
        >>> CifarC(root="CIFAR-10-C", corruption="fog", severity=2).label
        'fog 2 released'
    """

    @cached_property
    def content(self) -> str:
        """Hash of the arrays: results belong to these files, wherever they lie."""
        paths = [Path(self.root) / f"{name}.npy" for name in (stored_as(self.corruption), "labels")]
        return "".join(_hashed(path, path.stat().st_mtime_ns) for path in paths if path.is_file())

    def __call__(
        self, rows: Int64[np.ndarray, " n"], labels: Int64[np.ndarray, " all"], *, size: Size
    ) -> UInt8[np.ndarray, "n h w c"]:
        """The corrupted pictures at `rows`.

        Args:
            labels: of the whole data set, which must be the first of the official test batch in its order.
            size: of the data's pictures.

        Raises:
            InputError: a file that is missing or of another layout, other labels, or another size.
        """
        path = Path(self.root) / f"{stored_as(self.corruption)}.npy"
        pictures, known = _array(path), _array(Path(self.root) / "labels.npy")
        count = len(pictures) // 5
        if (
            pictures.ndim != 4
            or pictures.dtype != np.uint8
            or pictures.shape[3] != 3
            or known.shape != (5 * count,)
            or known.dtype.kind not in "iu"
        ):
            raise InputError(
                f"{path} holds {pictures.dtype} {list(pictures.shape)} and labels.npy {list(known.shape)}",
                rule="five severities follow each other, uint8 [5 n, height, width, 3] and labels [5 n]",
                remedy="Use the released files",
            )
        if pictures.shape[1:3] != size:
            raise _other_size(str(path), pictures.shape[1:3], size)
        known = known[(self.severity - 1) * count :][: min(count, len(labels))]
        if len(labels) > count or (known != labels).any():
            raise InputError(
                f"{Path(self.root) / 'labels.npy'} has other labels than the data"
                + (f", first at example {np.flatnonzero(known != labels)[0]}" if len(labels) <= count else ""),
                rule="the data must be the official test images in their official order",
                remedy="Load the official test split, or its first part with a limit",
            )
        return np.asarray(pictures[(self.severity - 1) * count + rows])


@dataclass(frozen=True, kw_only=True)
class ImageNetC(_Corruption):
    """A corruption of ImageNet-C: the folder `corruption/severity/wnid/*.JPEG`, files called as those of ImageNet.

    Attributes:
        root: the folder of the corruptions, or of their four groups (noise, blur, weather, digital).
        corruption: as on the command line, e.g. "gaussian-noise".
        severity: 1 (mild) to 5 (strong).

    Raises:
        InputError: an unknown corruption or severity.

    Example:
        >>> ImageNetC(root="ImageNet-C", corruption="jpeg", severity=5).label
        'jpeg 5 released'
    """

    @cached_property
    def content(self) -> str:
        """Hash of the files' names and sizes: results belong to these files, wherever they lie."""
        return _listed(_folder(self.root, stored_as(self.corruption)) / str(self.severity))

    def __call__(self, file: str, *, size: Size) -> UInt8[np.ndarray, "h w 3"]:
        """The corrupted copy of `file`, "wnid/name.JPEG", decoded by Pillow; it must be of the given size.

        Raises:
            InputError: no such file, or one of another size.
            UnreadableError: a file that cannot be decoded.
        """
        path = _folder(self.root, stored_as(self.corruption)) / str(self.severity) / file
        picture = decode(_bytes(path), REFERENCE_DECODER, channels=3, source=str(path))
        if picture.shape[:2] != size:
            raise _other_size(str(path), picture.shape[:2], size)
        return picture


@dataclass(frozen=True, kw_only=True)
class ImageNetP:
    """A sequence of ImageNet-P: the clips `sequence/wnid/*.mp4`, called as the files of ImageNet (extra `video`).

    Clips of noise at difficulty 2 and 3 lie in folders of their own, such as `gaussian_noise_2`; all other clips are
    those of difficulty 1, and each frame is compared with the one so many before.

    Attributes:
        root: the folder of the sequences.
        sequence: "gaussian-noise", "translate" and so on.
        difficulty: 1 to 3.

    Raises:
        InputError: an unknown sequence or difficulty.

    Example:
        >>> ImageNetP(root="ImageNet-P", sequence="tilt").label
        'sequence tilt 1 released'
    """

    root: str
    sequence: str
    difficulty: int = 1
    compared: str = field(init=False)
    protocol: str = field(init=False, default="released")

    def __post_init__(self) -> None:
        lookup(dict.fromkeys(MOVED), self.sequence, "sequence")
        if self.difficulty not in (1, 2, 3):
            raise InputError(
                f"difficulty is {self.difficulty}", rule="sequences have difficulties 1 to 3", remedy="Pick one of them"
            )
        object.__setattr__(self, "compared", FIRST if self.sequence.endswith("noise") else PREVIOUS)

    @property
    def label(self) -> str:
        """Name, difficulty and protocol."""
        return f"sequence {self.sequence.replace('-', ' ')} {self.difficulty} released"

    @cached_property
    def content(self) -> str:
        """Hash of the clips' names and sizes: results belong to these files, wherever they lie."""
        return _listed(self._clips)

    @property
    def _clips(self) -> Path:
        harder = f"_{self.difficulty}" if self.compared == FIRST and self.difficulty > 1 else ""
        return Path(self.root) / (stored_as(self.sequence) + harder)

    def __call__(self, file: str, *, size: Size) -> UInt8[np.ndarray, "f h w 3"]:
        """The frames of the clip of `file`, "wnid/name.JPEG"; they must be of the given size.

        Raises:
            InputError: no such clip, one of another size, or PyAV is not installed.
            UnreadableError: a clip that cannot be decoded, or has not as many frames as it should.
        """
        path = (self._clips / file).with_suffix(".mp4")
        frames = _clip(path)
        if frames.shape[1:3] != size:
            raise _other_size(str(path), frames.shape[1:3], size)
        wanted = _FRAMES.get(self.sequence, 31)
        if len(frames) != wanted:
            raise UnreadableError(
                str(path),
                f"has {len(frames)} frames",
                rule=f"clips of {self.sequence} have {wanted}",
                remedy="Use the released files",
            )
        return frames


Released = CifarC | ImageNetC | ImageNetP


def found(root: str) -> tuple[Released, ...]:
    """All that lies in `root`: the arrays of CIFAR-C, the folders of ImageNet-C or the clips of ImageNet-P.

    Raises:
        InputError: nothing of that kind.
    """
    path = Path(root).expanduser()
    root = str(path)
    severities = range(1, 6)
    arrays = [c for c in CORRUPTED if (path / f"{stored_as(c)}.npy").is_file()]
    if arrays:
        return tuple(CifarC(root=root, corruption=c, severity=s) for c in arrays for s in severities)
    pictures = [
        ImageNetC(root=root, corruption=c, severity=s)
        for c in CORRUPTED
        for s in severities
        if (_folder(root, stored_as(c)) / str(s)).is_dir()
    ]
    if pictures:
        return tuple(pictures)
    clips = [
        ImageNetP(root=root, sequence=s, difficulty=d)
        for s in MOVED
        for d in (1, 2, 3)
        if (path / (stored_as(s) + (f"_{d}" if d > 1 else ""))).is_dir()
    ]
    if clips:
        return tuple(clips)
    raise InputError(
        f"{root!r} holds no released corruptions",
        rule="they are gaussian_noise.npy (CIFAR-C), gaussian_noise/1/wnid/*.JPEG (ImageNet-C) or "
        "gaussian_noise/wnid/*.mp4 (ImageNet-P), and so on",
        remedy="Check the path",
    )


def stored_as(corruption: str) -> str:
    """What the released files call a corruption or sequence.

    Example:
        >>> stored_as("shot-noise"), stored_as("jpeg")
        ('shot_noise', 'jpeg_compression')
    """
    return _STORED_AS.get(corruption, corruption.replace("-", "_"))


def _array(path: Path) -> NDArray[np.generic]:
    """An array that stays on the disk until its entries are asked for."""
    try:
        return _opened(path, path.stat().st_mtime_ns)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            f"{path} cannot be read ({error})",
            rule="a corruption is a .npy file of its name, beside labels.npy; pickled objects are never read",
            remedy="Check the path, or use the released files",
        ) from error


@lru_cache(maxsize=32)
def _opened(path: Path, changed: int) -> NDArray[np.generic]:
    """The array in a file as it was when it was last `changed`."""
    return np.load(path, mmap_mode="r", allow_pickle=False)


@lru_cache(maxsize=32)
def _folder(root: str, name: str) -> Path:
    here = Path(root) / name
    return here if here.is_dir() else next(Path(root).glob(f"*/{name}"), here)


@lru_cache(maxsize=64)
def _hashed(path: Path, changed: int) -> str:
    """The hash of a file as it was when it was last `changed`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _listed(folder: Path) -> str:
    lines = [f"{path.relative_to(folder).as_posix()} {path.stat().st_size}" for path in folder.rglob("*.*")]
    return digest(sorted(lines))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _missing(path) from error


def _clip(path: Path) -> UInt8[np.ndarray, "f h w 3"]:
    need_av()
    import av
    from av.error import FFmpegError

    if not path.is_file():
        raise _missing(path)
    try:
        with av.open(str(path), format="mov") as clip:  # no other container: some name files to be opened
            frames = [frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)]
        return np.stack(frames)
    except (FFmpegError, ValueError, IndexError) as error:
        raise UnreadableError(
            str(path),
            f"cannot be decoded by FFmpeg ({error})",
            rule="it must be a complete .mp4 file with a picture track",
            remedy="Use the released files",
        ) from error


def _missing(path: Path) -> InputError:
    return InputError(
        f"there is no {path}",
        rule="every picture of the data needs its corrupted copy, in a folder and under a name like its own",
        remedy="Check the root, or load only data that have one",
    )


def _other_size(path: str, stored: tuple[int, ...], size: Size) -> InputError:
    return InputError(
        f"{path} has {stored[1]}x{stored[0]} pixels, the data {size[1]}x{size[0]}",
        rule="released pictures are used as they are",
        remedy=f"Load the data with size={stored[0]}",
    )
