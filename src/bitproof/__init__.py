"""bitproof."""
