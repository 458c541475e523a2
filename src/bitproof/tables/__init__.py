"""The papers' tables: what they print, the experiments that make our numbers, and both side by side."""

from bitproof.tables.catalogue import TABLES, table_of
from bitproof.tables.claims import Claim, Judged
from bitproof.tables.drawing import draw
from bitproof.tables.outcome import Entry, Outcome, read_outcome
from bitproof.tables.pages import write_pages
from bitproof.tables.papers import PAPERS, Paper
from bitproof.tables.printed import Printed, published
from bitproof.tables.reproducing import reproduce, study_of
from bitproof.tables.table import SCALES, Study, Table

__all__ = [
    "PAPERS",
    "SCALES",
    "TABLES",
    "Claim",
    "Entry",
    "Judged",
    "Outcome",
    "Paper",
    "Printed",
    "Study",
    "Table",
    "draw",
    "published",
    "read_outcome",
    "reproduce",
    "study_of",
    "table_of",
    "write_pages",
]
