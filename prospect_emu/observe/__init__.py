"""Filters, bands, magnitudes, and photometry as users keep it."""
