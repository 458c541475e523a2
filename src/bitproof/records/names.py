"""Which file each example is from: kept once a data set, as results name examples by numbers alone."""

import json
import zlib
from collections.abc import Mapping

from bitproof.reading import refusing

MOST_BYTES = 2**29
"""Of the names of one data set; those of ImageNet's 1.3 million training images have 40 million."""


def pack_names(names: Mapping[int, str]) -> bytes:
    """Files by the number of their example, as bytes."""
    return zlib.compress(json.dumps(names).encode())


def unpack_names(packed: bytes) -> dict[int, str]:
    """What `pack_names` packed.

    Raises:
        InputError: anything else.
    """
    with refusing(
        "the stored names of a data set's files",
        rule="they are what bitproof wrote",
        remedy="Run the same command again with a new store",
        how="are damaged",
        absorb=True,
    ):
        found = json.loads(zlib.decompressobj().decompress(packed, MOST_BYTES))
        return {int(number): str(name) for number, name in found.items()}
