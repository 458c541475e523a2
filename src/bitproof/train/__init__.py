"""Training: `(model, data, *, rng) -> new model`."""

from bitproof.train.standard import Standard

__all__ = ["Standard"]
