"""ImageNet-P as released: short clips in folders by sequence and class (extra `video`)."""

from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import UInt8

from bitproof.core.rng import Rng
from bitproof.data.examples import Examples
from bitproof.errors import InputError, UnreadableError, lookup
from bitproof.pictures.ffmpeg import MOST, need_av
from bitproof.pictures.pixels import to_tensor
from bitproof.reading import refusing
from bitproof.records import ConditionRecord
from bitproof.settings import describe
from bitproof.shifts.base import Made, Shift
from bitproof.shifts.released.files import MOVED, Size, listed, missing, other_size, stored_as
from bitproof.shifts.sequences import FIRST, PREVIOUS

_FRAMES = {"translate": 41}  # 31 for all others


@dataclass(frozen=True, kw_only=True)
class ImageNetP(Shift):
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

    frames: ClassVar[int] = 31
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
        return listed(self._clips)

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
        wanted = _FRAMES.get(self.sequence, 31)
        frames = _clip(path, wanted + 1)
        if frames.shape[1:3] != size:
            raise other_size(str(path), frames.shape[1:3], size)
        if len(frames) != wanted:
            raise UnreadableError(
                str(path),
                f"has {len(frames)} frames" + (" or more" if len(frames) > wanted else ""),
                rule=f"clips of {self.sequence} have {wanted}",
                remedy="Use the released files",
            )
        return frames

    def record(self) -> ConditionRecord:
        setting = {name: value for name, value in describe(self).items() if name != "root"}
        return ConditionRecord(
            kind="sequence",
            label=self.label,
            group=self.label,
            severity=self.difficulty,
            compared=self.compared,
            step=self.difficulty,
            setting={**setting, "content": self.content},
        )

    def make(self, examples: Examples, *, rng: Rng) -> Made:
        made, films = np.zeros(len(examples), bool), []
        for i in range(len(examples)):
            with suppress(UnreadableError):
                films.append(to_tensor(self(examples.file(i), size=examples.size)))
                made[i] = True
        frames = torch.stack(films) if films else torch.empty(0, 1, *examples.data.shape)
        return Made(made=made, frames=frames)


def _clip(path: Path, most: int) -> UInt8[np.ndarray, "f h w 3"]:
    """Up to so many frames of a clip."""
    need_av()
    import av

    if not path.is_file():
        raise missing(path)
    with (
        refusing(
            path,
            rule="it must be a complete .mp4 file with a picture track",
            remedy="Use the released files",
            how="cannot be decoded by FFmpeg",
            picture=True,
        ),
        av.open(str(path), format="mov") as clip,  # no other container: some name files to be opened
    ):
        clip.streams.video[0].codec_context.options = {"max_pixels": str(MOST)}
        return np.stack([frame.to_ndarray(format="rgb24") for frame in islice(clip.decode(video=0), most)])
