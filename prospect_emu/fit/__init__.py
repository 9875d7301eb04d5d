"""Posteriors of Prospector models in batches, fits, their results and figures."""
