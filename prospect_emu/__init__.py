"""prospect_emu: emulated FSPS photometry, with its errors, inside Prospector fits."""

import importlib

# Public name -> module. Loaded on first use: importing Prospector takes
# seconds, which `prospect-emu --help` should not wait for.
_PUBLIC = {
    "Emulator": "emulator",
    "load_emulator": "emulator",
    "list_emulators": "emulator",
    "EmulatorSPS": "prospector.drop_in",
    "EmulatorSpecModel": "prospector.drop_in",
    "fit_model": "fitting",
}
__all__ = list(_PUBLIC)


def __getattr__(name):
    if name in _PUBLIC:
        return getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_PUBLIC])
