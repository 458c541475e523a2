"""Where results live: one SQLite file of records."""

from bitproof.store.store import Store

__all__ = ["Store"]
