"""Building blocks every method shares: keyed randomness, balls, losses, straight-through estimators, passes."""
