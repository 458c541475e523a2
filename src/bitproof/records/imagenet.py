"""The 1,000 classes of ImageNet-1k: their WordNet numbers, and what they are called in words.

Both lie in a text file beside this one, sorted by number.
"""

from functools import cache
from pathlib import Path


@cache
def wnids() -> tuple[str, ...]:
    """The 1,000 classes by their WordNet numbers, in the order of a model's outputs.

    Example:
        >>> len(wnids()), wnids()[0]
        (1000, 'n01440764')
    """
    return tuple(words())


@cache
def words() -> dict[str, str]:
    """What each class is called in words, by its wnid; torchvision's names.

    Example:
        >>> words()["n01440764"]
        'tench'
    """
    lines = Path(__file__).with_name("imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split(" ", 1) for line in lines)
