"""CIFAR-10 (Krizhevsky 2009) in either official layout: `cifar-10-batches-bin` or `cifar-10-batches-py`."""

from pathlib import Path

from bitproof.data.arrays import ArrayData
from bitproof.data.cifar import Cifar, binary, load_cifar, pickles

_CIFAR10 = Cifar(
    name="cifar10",
    title="CIFAR-10",
    classes=10,
    files={"test": ("test_batch",), "train": tuple(f"data_batch_{i}" for i in range(1, 6))},
    rows=10_000,
    label="label",
    label_bytes=1,
    layouts=(binary("cifar-10-batches-bin", "batches.meta.txt"), pickles("cifar-10-batches-py", "batches.meta")),
)


def load_cifar10(root: Path | None, *, split: str = "test", limit: int | None = None) -> ArrayData:
    """CIFAR-10 from `root`, which is one of the two official folders or holds one.

    Raises:
        InputError: no such folder, an unknown split, or a file that is missing or not what it should be.
    """
    return load_cifar(_CIFAR10, root, split=split, limit=limit)
