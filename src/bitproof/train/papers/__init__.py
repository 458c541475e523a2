"""The papers' own recipes, a file a paper: each function returns the complete setting.

What a paper leaves open is said so. What is set otherwise is named as in `bitproof.train.changes.Changes`; for the
rest, take the recipe and replace parts of it.
"""
