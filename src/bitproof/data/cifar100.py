"""CIFAR-100 (Krizhevsky 2009) in either official layout: `cifar-100-binary` or `cifar-100-python`.

A picture has a fine label (100 classes) and a coarse one (20); the fine one is read.
"""

from pathlib import Path

from bitproof.data.arrays import ArrayData
from bitproof.data.cifar import Cifar, binary, load_cifar, pickles

_CIFAR100 = Cifar(
    name="cifar100",
    title="CIFAR-100",
    classes=100,
    files={"test": ("test",), "train": ("train",)},
    rows=50_000,
    label="fine_label",
    label_bytes=2,  # coarse, fine
    layouts=(binary("cifar-100-binary", "fine_label_names.txt"), pickles("cifar-100-python", "meta")),
)


def load_cifar100(root: Path | None, *, split: str = "test", limit: int | None = None) -> ArrayData:
    """CIFAR-100, fine labels, from `root`, which is one of the two official folders or holds one.

    Raises:
        InputError: no such folder, an unknown split, or a file that is missing or not what it should be.
    """
    return load_cifar(_CIFAR100, root, split=split, limit=limit)
