"""The public names for type checkers and editors; `__init__.py` loads them on first use."""

from .fit.fitting import fit_model as fit_model
from .fit.one_galaxy import fit_table as fit
from .fit.posterior import BatchedPosterior as BatchedPosterior
from .fit.result import FitResult as FitResult
from .networks.emulator import Emulator as Emulator
from .networks.loading import list_emulators as list_emulators
from .networks.loading import load_emulator as load_emulator
from .prospector.drop_in import EmulatorSpecModel as EmulatorSpecModel
from .prospector.drop_in import EmulatorSPS as EmulatorSPS

__all__ = [
    "BatchedPosterior",
    "Emulator",
    "EmulatorSPS",
    "EmulatorSpecModel",
    "FitResult",
    "fit",
    "fit_model",
    "list_emulators",
    "load_emulator",
]
