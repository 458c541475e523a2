"""Reports: one self-contained HTML file from stored cells. Knows nothing of torch, loads its libraries on first use."""

from bitproof.report.page import write_report

__all__ = ["write_report"]
