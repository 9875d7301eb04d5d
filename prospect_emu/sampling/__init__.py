"""Nested sampling with dynesty, its chains advanced together; knows no galaxies."""
