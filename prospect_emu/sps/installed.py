"""The FSPS installed here, if any: which isochrones and spectra it was built with.

Asking takes 10 ms: the libraries are constants of python-fsps's compiled module, and no
population is made.
"""

import importlib
import importlib.util
import os
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple


class Installed(NamedTuple):
    """What an installed FSPS was built with.

    Attributes
    ----------
    libraries : tuple of str
        Isochrones, spectral library and dust emission, as FSPS calls them.
    version : str
        Of python-fsps.
    """

    libraries: tuple
    version: str


def installed_fsps():
    """The python-fsps that would run here, or None.

    None where SPS_HOME is not set or not FSPS's folder, and where python-fsps is missing or
    does not load: then nobody's fits are made with it.
    """
    home = os.environ.get("SPS_HOME")
    return _ask(home) if home else None


@lru_cache(maxsize=4)
def _ask(home):
    # python-fsps is not imported unless it can run.
    if not Path(home, "data", "emlines_info.dat").is_file():
        return None
    try:
        if importlib.util.find_spec("fsps") is None:
            return None
        fsps = importlib.import_module("fsps")
        libraries = tuple(name.decode().strip() for name in fsps.fsps.driver.get_libraries())
        return Installed(libraries, str(getattr(fsps, "__version__", "")))
    except Exception:  # a broken installation is no reason to fail: it is not needed here
        return None
