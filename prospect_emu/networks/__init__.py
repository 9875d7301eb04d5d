"""Trained emulators of the 18-parameter model: their vector, error model and file."""
