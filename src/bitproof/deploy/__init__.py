"""Models as files: saved, opened, and (later) run on real integers."""

from bitproof.deploy.checkpoint import load_model, save_model

__all__ = ["load_model", "save_model"]
