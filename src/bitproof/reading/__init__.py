"""What readers of files from strangers share: refusals, archives, arrays, pickles without code."""

from bitproof.reading.archives import member, opened, packed_member
from bitproof.reading.arrays import mapped, stand_in, unpacked
from bitproof.reading.pickles import Function, Program, UnpicklingError
from bitproof.reading.refusals import refusing

__all__ = [
    "Function",
    "Program",
    "UnpicklingError",
    "mapped",
    "member",
    "opened",
    "packed_member",
    "refusing",
    "stand_in",
    "unpacked",
]
