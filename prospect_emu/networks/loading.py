"""Emulators by name or file, and the bundled exact one that checks another."""

from functools import partial
from pathlib import Path

from ..errors import SetupError
from ..files import bundled, find_bundled, read_kind
from .emulator import Emulator
from .emulator_base import EmulatorBase
from .factored import FactoredEmulator
from .parrot import ParrotEmulator

# What a file may hold, by the kind that it names.
KINDS = {k: c for c in (Emulator, FactoredEmulator, ParrotEmulator) for k in (c.KIND, *c.OLD_KINDS)}


def list_emulators() -> list[str]:
    """Names of the bundled emulators."""
    return list(bundled())


def load_emulator(name: str | Path) -> EmulatorBase:
    """Load an emulator.

    Parameters
    ----------
    name : str or path-like
        The name of a bundled emulator (`list_emulators`) or the path of a file.

    Returns
    -------
    EmulatorBase
        `Emulator`, `FactoredEmulator` or `ParrotEmulator`.

    Raises
    ------
    ModelFileError
        If there is no such emulator, or the file is foreign or damaged. Nothing
        in a file is ever executed.
    """
    path = find_bundled(name, bundled(), "emulator")
    return KINDS[read_kind(path, tuple(KINDS))].load(path)


def factored_engine(emulator, tables=None):
    """Exact fluxes for the certificate of a fit, from a bundled factored emulator.

    Parameters
    ----------
    emulator : EmulatorBase
        Whose bands, libraries and fixed parameters the engine must share.
    tables : None
        Engines are called alike; this one has its own.

    Returns
    -------
    name : str
    maggies : callable
        (n, 18) -> (n, nband).

    Raises
    ------
    SetupError
        If no bundled factored emulator has the same libraries.
    """
    for name in list_emulators():
        exact = load_emulator(name)
        same = (
            isinstance(exact, FactoredEmulator)
            and exact.manifest["versions"]["libraries"]
            == emulator.manifest["versions"]["libraries"]
            and exact.fixed == emulator.fixed
            and set(emulator.filters) <= set(exact.filters)
        )
        if same:
            chosen = exact.select(emulator.filters)
            return f"{name}, {exact.libraries}", partial(chosen.maggies, check=False)
    raise SetupError(
        f"no bundled factored emulator has the libraries ({emulator.libraries}), fixed parameters "
        f"and bands of emulator {emulator.name!r}"
    )
