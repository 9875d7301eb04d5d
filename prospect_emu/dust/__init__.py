"""Emission of THEMIS dust and its inverse."""

import importlib

# Public name -> module, loaded on first use.
_PUBLIC = {
    "DustEmulator": "dust_emulator",
    "list_dust_emulators": "dust_emulator",
    "load_dust_emulator": "dust_emulator",
}


def __getattr__(name):
    if name in _PUBLIC:
        return getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
