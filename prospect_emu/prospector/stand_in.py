"""`ExactBasis`: FSPS's physics from the bundled ingredients, as Prospector's SPS objects give it.

What `FastStepBasis` does where a model has age bins and `CSPSpecBasis` where it
has not (Prospector 1.4), for any of their models, without FSPS.
"""

import logging
import pickle
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
from prospect.sources.constants import jansky_cgs, lightspeed, to_cgs_at_10pc
from prospect.utils.smoothing import smoothspec
from sedpy.observate import getSED

from .. import compat, cosmology
from ..errors import ModelMismatchError
from ..parameters import DEFAULTS, INGREDIENTS
from ..sps.ingredients import find_ingredients
from ..sps.spectrum import spectrum

_LOG = logging.getLogger("prospect_emu")
# Arguments of Prospector's classes that neither of the two uses.
_UNUSED = ("interp_type", "flux_interp", "mint_log", "compute_vega_mags", "reserved_params")
# Of binned histories FastStepBasis sets these itself; smoothing is done in `get_spectrum`.
_OWN = {True: ("sfh", "tage", "sigma_smooth"), False: ("sigma_smooth",)}


class ExactBasis:
    """FSPS spectra, lines and photometry; what `EmulatorSPS()` is without an emulator.

    Parameters
    ----------
    zcontinuous : int
        1, as in nearly all scripts: populations are interpolated in metallicity.
    vactoair_flag : bool
        False.
    **params
        FSPS parameters for all calls, and arguments of Prospector's classes that
        have no effect there either.

    Attributes
    ----------
    params : dict
        Parameters of the last call.
    ssp : SimpleNamespace
        ``libraries``, ``wavelengths`` and ``emline_wavelengths``, as python-fsps has them.

    Raises
    ------
    ModelMismatchError
        If a parameter has a value that only FSPS itself can compute.
    SetupError
        If there are no ingredients for the model's IMF or other stellar parameters.
    """

    def __init__(self, zcontinuous=1, vactoair_flag=False, **params):
        if zcontinuous != 1:
            raise ModelMismatchError(
                f"zcontinuous={zcontinuous} is not available without FSPS; use zcontinuous=1, "
                "which interpolates between metallicities."
            )
        if vactoair_flag:
            raise ModelMismatchError(
                "vactoair_flag=True is not available without FSPS; wavelengths are in vacuum."
            )
        self.params = {k: v for k, v in params.items() if k not in _UNUSED}
        self._lines = None
        self._ingredients = None
        # Where no model has chosen any yet: wavelengths are the same for all bundled ones.
        self._use(find_ingredients(imf_type=1))

    def __repr__(self):
        return f"ExactBasis({self.label!r})"

    def _use(self, ingredients):
        if ingredients is self._ingredients:
            return
        self._ingredients = ingredients
        self.label = ingredients.label
        self.ssp = SimpleNamespace(
            libraries=[s.encode() for s in ingredients.manifest["versions"]["libraries"]],
            wavelengths=ingredients.wave,
            emline_wavelengths=ingredients.line_wave,
        )
        _LOG.info("Spectra are those of FSPS with %s.", ingredients.label)

    def update(self, **params):
        """Set parameters, as scalars where they have one value."""
        for name, value in params.items():
            array = np.asarray(value)
            self.params[name] = array.reshape(-1)[0] if array.size == 1 else np.squeeze(array)

    def get_galaxy_spectrum(self, **params):
        """Rest-frame spectrum.

        Parameters
        ----------
        **params
            Prospector's parameters. With ``agebins`` the history is stepwise with
            ``mass`` formed in each bin; without, it is FSPS's ``sfh``, one component
            for each entry of ``mass``. Names that are no FSPS parameters are not used here.

        Returns
        -------
        wave : ndarray, shape (nwave,)
            Angstrom, vacuum.
        spectrum : ndarray, shape (nwave,)
            Lsun/Hz per Msun formed.
        mfrac : float
            Surviving over formed mass.
        """
        self.update(**params)
        given = _rows(self.params)
        self._use(find_ingredients(**{k: given[k] for k in INGREDIENTS if k in given}))
        out = spectrum(self._ingredients, given)
        self._lines = out.line_lum[0] / out.mass[0]
        return out.wave.copy(), out.lnu[0] / out.mass[0], float(out.mfrac[0])

    def get_galaxy_elines(self):
        """Wavelengths (Angstrom) and luminosities (Lsun per Msun formed) of the nebular lines.

        Of the parameters of the last `get_galaxy_spectrum`.

        Raises
        ------
        ModelMismatchError
            If there was none.
        """
        if self._lines is None:
            raise ModelMismatchError(
                "get_galaxy_elines gives the lines of the last spectrum; call "
                "get_galaxy_spectrum first."
            )
        return self._ingredients.line_wave.copy(), self._lines.copy()

    def get_spectrum(self, outwave=None, filters=None, peraa=False, **params):
        """Observed spectrum and photometry.

        Parameters
        ----------
        outwave : array_like, optional
            Observed wavelengths in Angstrom, vacuum; default those of the ingredients.
        filters : sequence of sedpy.observate.Filter, optional
        peraa : bool
            Spectrum in erg/s/cm2/Angstrom instead of maggies.
        **params
            See `get_galaxy_spectrum`; ``zred``, ``lumdist`` (Mpc), ``sigma_smooth`` and
            the other parameters of Prospector's smoothing.

        Returns
        -------
        spectrum : ndarray
        maggies : ndarray, shape (nband,), or 0.0 without filters
        mfrac : float
        """
        wave, lnu, mfrac = self.get_galaxy_spectrum(**params)
        p = self.params
        if "wavecal_coeffs" in p:
            raise ModelMismatchError(
                "wavecal_coeffs shifts wavelengths, which is not available here; remove it."
            )
        zred = float(p.get("zred", 0.0))
        observed, lnu = wave * (1.0 + zred), lnu * (1.0 + zred)
        # Absolute maggies at first.
        phot: float | np.ndarray = 0.0
        if filters is not None:
            flambda = lightspeed / observed**2 * lnu * to_cgs_at_10pc
            phot = np.atleast_1d(getSED(observed, flambda, filters, linear_flux=True))
        target = observed if outwave is None else np.asarray(outwave, dtype=float)
        if "sigma_smooth" in p:
            smooth = {k: v for k, v in p.items() if k != "sigma_smooth"}
            spec = smoothspec(observed, lnu, p["sigma_smooth"], outwave=target, **smooth)
        elif outwave is None:
            spec = lnu.copy()
        else:
            spec = np.interp(target, observed, lnu, left=0.0, right=0.0)
        if "lumdist" in p:
            distance = float(p["lumdist"])
        else:
            # Prospector's convention: 10 pc at redshift zero.
            distance = float(cosmology.luminosity_distance(zred)) if zred else 1e-5
        dimming = 1.0 / (distance * 1e5) ** 2
        unit = lightspeed / target**2 if peraa else 1.0 / (3631.0 * jansky_cgs)
        mass = np.sum(p.get("mass", 1.0))
        if np.all(p.get("mass_units", "mformed") == "mstar"):
            mass = mass / mfrac
        return spec * to_cgs_at_10pc * unit * dimming * mass, phot * dimming * mass, mfrac

    @property
    def wavelengths(self):
        """Rest-frame wavelengths in Angstrom, shape (nwave,)."""
        return self._ingredients.wave.copy()

    @property
    def logage(self):
        """log10(years) of the simple stellar populations."""
        return self._ingredients.log_age.copy()

    def __getstate__(self):
        # Small, for pools: the ingredients are found again by their parameters.
        return {"params": self.params, "lines": self._lines, "label": self.label}

    def __setstate__(self, state):
        self.params, self._lines, self._ingredients = state["params"], state["lines"], None
        stellar = {k: _bare(self.params[k]) for k in INGREDIENTS if k in self.params}
        self._use(find_ingredients(**(stellar or {"imf_type": 1})))
        if self.label != state["label"]:
            raise pickle.UnpicklingError(
                f"This object was made with ingredients {state['label']!r}, but here are "
                f"{self.label!r}; use the same ingredients in all processes."
            )


def _bare(value):
    value = np.asarray(value)
    return value.reshape(-1)[0].item() if value.size == 1 else value


def _rows(params):
    """One galaxy for `prospect_emu.sps.spectrum`: FSPS's parameters among a model's."""
    binned = "agebins" in params
    given = {k: _bare(v) for k, v in params.items() if k in DEFAULTS and k not in _OWN[binned]}
    mass = np.atleast_1d(np.asarray(params.get("mass", 1.0), dtype=float))
    if binned:
        bins = np.asarray(params["agebins"], dtype=float).reshape(-1, 2)
        return given | {"mass": mass[None], "agebins": bins}
    given["mass_units"] = str(_bare(params.get("mass_units", "mformed")))
    # One component for each mass; the last value of a shorter parameter goes on.
    for name, value in given.items():
        if isinstance(value, np.ndarray):
            pad = np.minimum(np.arange(mass.size), value.size - 1)
            given[name] = value[pad][None]
    return given | {"mass": mass[None]}


@lru_cache(maxsize=1)
def line_table():
    """FSPS's emission lines from the bundled ingredients: ``wave`` (Angstrom) and ``name``."""
    ingredients = find_ingredients(imf_type=1)
    names = ingredients.line_names or [""] * ingredients.line_wave.size
    return np.array(list(zip(ingredients.line_wave, names, strict=True)), dtype=compat.LINE_TYPE)
