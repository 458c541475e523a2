"""Analyses: `(model or models, data) -> record`."""

from bitproof.analysis.masking import diagnose_masking

__all__ = ["diagnose_masking"]
