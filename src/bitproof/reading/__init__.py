"""What readers of files from strangers share: refusals, zip and tar archives, arrays, pickles without code."""

from bitproof.reading.archives import member, opened, packed_member
from bitproof.reading.arrays import mapped, stand_in, unpacked
from bitproof.reading.pickles import Function, Program, UnpicklingError
from bitproof.reading.refusals import refusing
from bitproof.reading.tars import Member, members

__all__ = [
    "Function",
    "Member",
    "Program",
    "UnpicklingError",
    "mapped",
    "member",
    "members",
    "opened",
    "packed_member",
    "refusing",
    "stand_in",
    "unpacked",
]
