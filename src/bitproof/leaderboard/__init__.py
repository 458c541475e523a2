"""The leaderboard: a static site from stores and submissions, which works from the disk and asks no other host.

Knows nothing of torch, and loads its libraries on first use.
"""

from bitproof.leaderboard.site import write_leaderboard
from bitproof.leaderboard.submission import Submission, read_submission, submit

__all__ = ["Submission", "read_submission", "submit", "write_leaderboard"]
