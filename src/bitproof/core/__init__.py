"""Building blocks every method shares: keyed randomness, balls, losses, straight-through estimators, passes."""

from bitproof.core.torchvision_ops import await_torchvision

await_torchvision()
