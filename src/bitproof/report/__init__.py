"""Reports: one self-contained HTML file from stored cells. Knows nothing of torch, loads its libraries on first use."""

from bitproof.report.page import write_report
from bitproof.report.training import plot_training

__all__ = ["plot_training", "write_report"]
