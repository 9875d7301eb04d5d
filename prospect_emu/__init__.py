"""prospect_emu: exact and emulated FSPS, in batches, for Prospector fits."""

import importlib

from . import no_sps_home, old_paths

old_paths.install()
no_sps_home.install()

# Public name -> module. Loaded on first use: importing Prospector takes
# seconds, which `prospect-emu --help` should not wait for.
_PUBLIC = {
    "Emulator": "networks.emulator",
    "load_emulator": "networks.loading",
    "list_emulators": "networks.loading",
    "EmulatorSPS": "prospector.drop_in",
    "EmulatorSpecModel": "prospector.drop_in",
    "fit_model": "fit.fitting",
    "BatchedPosterior": "fit.posterior",
    "FitResult": "fit.result",
}
__all__ = ["fit", *_PUBLIC]


def __getattr__(name):
    if name == "fit":
        return importlib.import_module(".fit", __name__)
    if name in _PUBLIC:
        return getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})
