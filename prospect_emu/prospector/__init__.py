"""Prospector's side: what its models and scripts call."""
