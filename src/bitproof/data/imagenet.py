"""ImageNet-1k in the usual layout, one sub-folder of JPEGs a class, named after its WordNet number ("wnid").

The 1,000 wnids are sorted (`records.imagenet`), and a class's place among them is the output that published weights
have for it. So a folder may hold any of the classes and still fits every such model.
"""

from dataclasses import replace
from pathlib import Path

from bitproof.data.folder import FolderData, load_folder
from bitproof.errors import InputError, lookup
from bitproof.pictures.pixels import REFERENCE_RESIZE
from bitproof.records.imagenet import wnids

_FOLDERS = {"test": "val", "train": "train"}  # the labels of the official test images were never published


def load_imagenet(
    root: Path | None,
    *,
    split: str = "test",
    limit: int | None = None,
    size: int = 224,
    shorter: int | None = None,
    resize: str = REFERENCE_RESIZE,
) -> FolderData:
    """ImageNet, or any part of its classes, as RGB; files are read and decoded when they are asked for.

    Args:
        root: holds the folders `val` (read for the split "test") or `train`, or is itself such a folder of
            sub-folders named after wnids; "train" is read from a folder of that name only, so that no model is
            calibrated on the images it is tested on.
        split, limit, size, shorter, resize: as for `load_folder`.

    Raises:
        InputError: no such folder, or no image in a sub-folder named after a wnid.
    """
    name = lookup(_FOLDERS, split, "split of imagenet")
    if root is None:
        raise InputError("imagenet needs a root", rule="it reads one sub-folder a wnid", remedy="Write imagenet:ROOT")
    found = root / name if (root / name).is_dir() else root
    if split == "train" and found.resolve().name != "train":
        raise InputError(
            f"{root} has no folder train",
            rule="training and calibration images are read from ROOT/train",
            remedy="Point root at the folder above train, or read other images as folder:OTHER",
        )
    read = load_folder(found, split=split, limit=limit, classes=wnids(), size=size, shorter=shorter, resize=resize)
    return replace(read, name="imagenet")
