"""What a result says of the examples that it is about."""

from dataclasses import dataclass, field

from bitproof.records.imagenet import words


@dataclass(frozen=True, kw_only=True)
class DataRecord:
    """Which examples were used: name, split, count, class names and the hash of images and labels.

    `left_out`: files among the `count` that cannot be decoded and folders that are no class, by name, and why.
    """

    name: str
    split: str
    fingerprint: str
    count: int
    classes: tuple[str, ...]
    left_out: dict[str, str] = field(default_factory=dict)

    def words(self, index: int) -> str:
        """What a class is called, ImageNet's in words; a model may have more outputs than the data have classes."""
        if index >= len(self.classes):
            return f"class {index}"
        return words().get(self.classes[index], self.classes[index])
