"""Corrupted files as their authors released them: CIFAR-C, ImageNet-C and ImageNet-P (Hendrycks & Dietterich 2019).

Their numbers are those that papers compare. They differ from corruptions made in memory: the draws are fixed,
ImageNet-C has been through JPEG (quality 85) and ImageNet-P through H.264, motion blur and snow are ImageMagick's, and
frost is made of photographs. So every label ends in "released".
"""

from pathlib import Path

from bitproof.errors import InputError
from bitproof.shifts.released.cifar_c import CifarC
from bitproof.shifts.released.files import CORRUPTED, MOVED, folder_of, stored_as
from bitproof.shifts.released.imagenet_c import ImageNetC
from bitproof.shifts.released.imagenet_p import ImageNetP

__all__ = ["CORRUPTED", "MOVED", "CifarC", "ImageNetC", "ImageNetP", "Released", "found", "stored_as"]

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
        if (folder_of(root, stored_as(c)) / str(s)).is_dir()
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
