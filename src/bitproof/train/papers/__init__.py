"""The papers' own recipes, a file a paper: each function returns the complete setting.

What a paper leaves open is said so. Parameters are what is usually set otherwise; for the rest, take the recipe and
replace parts of it.
"""
