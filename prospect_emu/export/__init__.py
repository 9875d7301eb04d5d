"""Emulators for Fortran."""
