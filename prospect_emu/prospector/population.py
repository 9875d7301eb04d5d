"""`Population`: python-fsps's ``StellarPopulation`` as scripts use it from ``sps.ssp``."""

from collections.abc import MutableMapping

import numpy as np

from ..errors import ModelMismatchError
from ..parameters import DEFAULTS
from ..sps.spectrum import spectrum

# Of light in Angstrom, as python-fsps has it.
_LIGHTSPEED = 3e18
_TABLE = 3


class Settings(MutableMapping):
    """FSPS's parameters by name: those of the last call, else what the script has set, else FSPS's.

    What is set here holds for all later calls, unless a model says otherwise, as in FSPS.

    Attributes
    ----------
    all_params : list of str
    """

    def __init__(self, basis):
        self._basis = basis
        self.all_params = list(DEFAULTS)
        # Which of several components is read.
        self.component = None

    def __getitem__(self, name):
        value = self._basis.params.get(name, DEFAULTS[name])
        if self.component is None or np.ndim(value) == 0:
            return value
        return value[min(self.component, len(value) - 1)]

    def __setitem__(self, name, value):
        self._basis.set_default(name, value)

    def __delitem__(self, name):
        raise ModelMismatchError(f"ssp.params[{name!r}] cannot be removed; set it to a value.")

    def __iter__(self):
        return iter(DEFAULTS)

    def __len__(self):
        return len(DEFAULTS)


class Population:
    """What scripts use of python-fsps's ``StellarPopulation``, under its names.

    Parameters
    ----------
    basis : ExactBasis
        Whose ingredients and parameters these are.

    Attributes
    ----------
    params : Settings
    last : tuple or None
        Msun left and formed, Lsun of the lines (nline,), log10(Lsun) and log10(years) of the
        last spectrum.
    """

    def __init__(self, basis, last=None):
        self._basis, self.last = basis, last
        self.params = Settings(basis)
        self._table = None

    # ---- the grids -------------------------------------------------------------------

    @property
    def libraries(self):
        """Isochrones, spectral library, dust emission; list of bytes."""
        return [s.encode() for s in self._basis.ingredients.manifest["versions"]["libraries"]]

    @property
    def wavelengths(self):
        """Angstrom, shape (nwave,)."""
        return self._basis.wavelengths

    @property
    def resolutions(self):
        """km/s, shape (nwave,); see `ExactBasis.spectral_resolution`."""
        return self._basis.spectral_resolution

    @property
    def emline_wavelengths(self):
        """Angstrom, shape (nline,)."""
        return self._basis.ingredients.line_wave.copy()

    @property
    def ssp_ages(self):
        """log10(years) of the simple stellar populations, shape (nage,)."""
        return self._basis.logage

    @property
    def solar_metallicity(self):
        """Mass fraction."""
        return self._basis.ingredients.manifest["zsol"]

    @property
    def zlegend(self):
        """Metallicities of the populations as mass fractions, shape (nz,)."""
        return self.solar_metallicity * 10.0**self._basis.ingredients.logz

    # ---- spectra ---------------------------------------------------------------------

    def set_tabular_sfh(self, age, sfr, Z=None):
        """Star-formation rates (ntime,) in Msun/yr at times in Gyr, for ``sfh`` 3."""
        if Z is not None:
            raise ModelMismatchError(
                "set_tabular_sfh takes no metallicities Z without FSPS; leave them out, and use "
                "logzsol."
            )
        self._table = np.array(age, dtype=float), np.array(sfr, dtype=float)

    def get_spectrum(self, zmet=None, tage=0.0, peraa=False):
        """Spectrum of the parameters `params`.

        Parameters
        ----------
        zmet : int, optional
            Of no effect where metallicities are interpolated, as in FSPS.
        tage : float
            Gyr; with 0 and ``sfh`` 0 all ages of the populations.
        peraa : bool
            In Lsun/Angstrom in place of Lsun/Hz.

        Returns
        -------
        wave : ndarray, shape (nwave,)
            Angstrom.
        spectrum : ndarray, shape (nwave,) or (nage, nwave)
            Per Msun formed, or with ``sfh`` 3 of all that has formed.
        """
        basis, given = self._basis, dict(self.params)
        sfh = int(np.squeeze(given["sfh"]))
        if sfh == _TABLE:
            if self._table is None:
                raise ModelMismatchError("sfh is 3; call set_tabular_sfh first.")
            given["tabular_time"], given["tabular_sfr"] = self._table
        single = tage > 0.0
        if not single and sfh != 0:
            raise ModelMismatchError(f"tage is {tage:g} with sfh={sfh}; give one age, in Gyr.")
        given["tage"] = tage if single else 10.0 ** (basis.logage - 9.0)
        # Smoothing is Prospector's.
        out = spectrum(basis.ingredients_of(given), given | {"sigma_smooth": 0.0})
        self.remember(out, given["tage"], single)
        lnu = out.lnu * (_LIGHTSPEED / out.wave**2 if peraa else 1.0)
        return out.wave.copy(), lnu[0] if single else lnu

    def remember(self, out, tage, single=True):
        """Keep what scripts ask for of a `Spectrum` at ages in Gyr."""
        log_age = np.atleast_1d(np.log10(tage) + 9.0)
        with np.errstate(invalid="ignore"):
            log_lbol = np.log10(out.lbol)
        values = out.mfrac * out.mass, out.mass, out.line_lum, log_lbol, log_age
        self.last = tuple(v[0] if single else v for v in values)

    def lines_per_mass(self):
        """Lsun per Msun formed of the last spectrum's lines, (nline,)."""
        if self.last is None:
            raise ModelMismatchError(
                "get_galaxy_elines gives the lines of the last spectrum; call "
                "get_galaxy_spectrum first."
            )
        _, formed, lines, *_ = self.last
        if np.all(self.params["sfh"] == _TABLE):
            # What Prospector takes for formed.
            formed = np.sum(self._basis.params.get("mass", 1.0))
        return np.atleast_2d(lines)[0] / np.ravel(formed)[0]

    def _compute_csp(self):
        """Nothing: scripts call it to fill FSPS's cache."""

    def _stat(self, which, name):
        if self.last is None:
            raise ModelMismatchError(f"ssp.{name} is that of the last spectrum; compute one first.")
        return self.last[which]

    @property
    def stellar_mass(self):
        """Msun left of the last spectrum's stars, remnants included."""
        return self._stat(0, "stellar_mass")

    @property
    def formed_mass(self):
        """Msun formed of the last spectrum's stars."""
        return self._stat(1, "formed_mass")

    @property
    def emline_luminosity(self):
        """Lsun of the last spectrum's lines, attenuated, shape (nline,)."""
        return self._stat(2, "emline_luminosity")

    @property
    def log_lbol(self):
        """log10(Lsun) of the last spectrum's stars before dust."""
        return self._stat(3, "log_lbol")

    @property
    def log_age(self):
        """log10(years) of the last spectrum; before there is one, of the populations."""
        return self.ssp_ages if self.last is None else self._stat(4, "log_age")

    def __getattr__(self, name):
        raise AttributeError(
            f"ssp.{name} of python-fsps is not available without FSPS; EmulatorSPS() has spectra, "
            "lines and photometry by get_galaxy_spectrum, get_galaxy_elines and get_spectrum."
        )
