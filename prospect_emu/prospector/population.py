"""`Population`: python-fsps's ``StellarPopulation`` as far as scripts read it from ``sps.ssp``."""

from ..errors import ModelMismatchError
from ..parameters import DEFAULTS


class _Settings(dict):
    def __setitem__(self, name, value):
        raise ModelMismatchError(
            f"ssp.params[{name!r}] cannot be set without FSPS; put {name} into the model, or use "
            f"EmulatorSPS({name}={value!r})."
        )


class Population:
    """What scripts read of python-fsps's ``StellarPopulation``, under its names.

    Attributes
    ----------
    libraries : list of bytes
    wavelengths, resolutions, emline_wavelengths : ndarray
        Angstrom, km/s, Angstrom.
    ssp_ages, log_age, zlegend : ndarray
        log10(years), twice, and metallicities.
    params : dict
        FSPS's parameters, read only.
    """

    def __init__(self, ingredients, params):
        g = ingredients
        self.libraries = [s.encode() for s in g.manifest["versions"]["libraries"]]
        self.wavelengths, self.resolutions = g.wave.copy(), g.resolution.copy()
        self.emline_wavelengths = g.line_wave.copy()
        self.ssp_ages, self.log_age = g.log_age.copy(), g.log_age.copy()
        self.zlegend = g.manifest["zsol"] * 10.0**g.logz
        self.params = _Settings({k: params.get(k, v) for k, v in DEFAULTS.items()})

    def __getattr__(self, name):
        raise AttributeError(
            f"ssp.{name} of python-fsps is not available without FSPS; EmulatorSPS() has spectra, "
            "lines and photometry by get_galaxy_spectrum, get_galaxy_elines and get_spectrum."
        )
