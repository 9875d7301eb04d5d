"""`ExactBasis`: FSPS's physics from the bundled ingredients, as Prospector's SPS objects give it.

What `FastStepBasis` does where a model has age bins and `CSPSpecBasis` where it
has not (Prospector 1.4), for any of their models, without FSPS.
"""

import logging
import pickle
import warnings

import numpy as np
from sedpy.observate import getSED

from .. import cosmology
from ..errors import ModelMismatchError
from ..files import digest
from ..observe import observation
from ..observe.filters import curve_hash
from ..parameters import BASIS, DEFAULTS, INGREDIENTS, misspelt
from ..sps.fold import compile_sps
from ..sps.ingredients import find_ingredients
from ..sps.inputs import SETTINGS, check_names
from ..sps.other_libraries import warn_of_other_libraries
from ..sps.spectrum import spectrum
from ..sps.universe import older_than_universe
from .basis_parameters import bare, bins_as_table, one_row, too_short
from .population import Population
from .version import adapter

_LOG = logging.getLogger("prospect_emu")
# Libraries that were named there.
_LOGGED: set[str] = set()
# Arguments of Prospector's classes that neither of the two uses.
_UNUSED = ("interp_type", "flux_interp", "mint_log", "compute_vega_mags", "reserved_params")
# Light that another of Prospector's bases adds.
_AGN_DISC = (
    "fagn_bbb", "add_agn_bbb_cont", "add_agn_bbb_elines", "dust4", "dust4_index", "dust4_type"
)  # fmt: skip
# Compiled models that are kept.
_KEPT = 4
# What a model takes from here.
_SPECTRAL = ("get_galaxy_spectrum", "get_galaxy_elines", "get_spectrum", "update", "smoothspec")
# What pickles leave out: ingredients are found again by their parameters.
_NOT_PICKLED = ("_compiled", "ingredients", "ssp", "csp", "checked")


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
    ssp, csp : Population
        What scripts use of python-fsps's ``StellarPopulation``; two names of one.
    ingredients : Ingredients
        Of the last call.
    label : str

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
        # Parameters of the script, before any model's.
        self.given = {k: v for k, v in params.items() if k not in _UNUSED}
        self.params = dict(self.given)
        self.reserved_params = ["sigma_smooth"]
        self._line_specific_luminosity = None
        self._compiled = {}
        self.ssp = self.csp = Population(self)
        self._stars, self.ingredients, self._told = None, None, None
        # Names that were looked at, and whether impossible ages were told of.
        self.checked, self._told_ages = {*DEFAULTS, *BASIS}, False
        # Where no model has chosen any yet: wavelengths are the same for all bundled ones.
        self._use({"imf_type": 1})
        warn_of_other_libraries(self.ingredients)

    def __repr__(self):
        return f"{type(self).__name__}({self.label!r})"

    def _use(self, stars):
        """Take the ingredients with these stellar parameters."""
        if stars == self._stars:
            return
        self.ingredients, self._stars = find_ingredients(**stars), stars
        if self.label not in _LOGGED:
            _LOGGED.add(self.label)
            _LOG.info("Spectra are those of FSPS with %s.", self.label)

    @property
    def checksum(self):
        """Of the ingredients' file."""
        return self.ingredients.manifest.get("sha256")

    @property
    def label(self):
        """Isochrones and spectral library."""
        return self.ingredients.label

    @property
    def has_own_spectra(self):
        """Whether a class derived from this one computes spectra or lines in its own way."""
        return any(getattr(type(self), k) is not getattr(ExactBasis, k) for k in _SPECTRAL)

    def set_default(self, name, value):
        """Set a parameter of FSPS for all calls in which the model does not: ``ssp.params[name]``.

        Raises
        ------
        ModelMismatchError, RangeError, SetupError
            For an unknown name, or a value that only FSPS itself can compute.
        """
        if name == "smooth_lsf" and value:
            raise ModelMismatchError(
                "ssp.params['smooth_lsf'] cannot be set without FSPS, which smooths the "
                "populations; smooth the spectrum by sigma_smooth in the model."
            )
        check_names({name: value} if name != "sigma_smooth" else {})
        if name in INGREDIENTS:
            self.ingredients_of({**self.params, name: value})
        self.given[name] = self.params[name] = value

    def ingredients_of(self, params):
        """Ingredients for these parameters of FSPS, which are those of later calls."""
        self._use({k: bare(params[k]) for k in INGREDIENTS if k in params})
        return self.ingredients

    def update_component(self, index):
        """Let ``ssp.params`` be those of one of several components."""
        self.ssp.params.component = index

    convert_sfh = staticmethod(bins_as_table)

    @staticmethod
    def smoothspec(wave, spec, sigma, outwave=None, **params):
        """Prospector's smoothing of a spectrum."""
        return adapter.smoothspec(wave, spec, sigma, outwave=outwave, **params)

    def compiled(self, ingredients, filters, fixed, free, ranges, lines_apart):
        """`prospect_emu.sps.fold.compile_sps` with Prospector's quadrature, done once.

        The last few are kept, since a fit and its result ask for the same.
        """
        arrays = {k: np.asarray(v) for k, v in {**fixed, **dict(ranges)}.items()}
        text = {k: str(v) for k, v in arrays.items() if v.dtype.kind not in "fiub"}
        numbers = {k: v for k, v in arrays.items() if k not in text}
        numbers["lines apart"] = np.asarray(lines_apart)
        samples = getattr(filters, "nodes", None)
        bands = filters if samples is None else filters.bands
        if samples is not None:
            numbers |= {
                "nodes": samples, "lines": filters.lines, "fitted": filters.fitted,
                "delta": np.asarray(filters.delta_zred),
            }  # fmt: skip
            projector = getattr(filters, "projector", None)
            if projector is not None and projector.smooth is not None:
                numbers["smooth"] = projector.smooth.data
        described = [[curve_hash(f) for f in bands], list(free), sorted(ranges), text]
        key = ingredients.manifest.get("sha256"), digest(numbers, described)
        if key not in self._compiled:
            while len(self._compiled) >= _KEPT:
                self._compiled.pop(next(iter(self._compiled)))
            quadrature = getattr(filters, "quadrature", "sedpy")
            self._compiled[key] = compile_sps(
                ingredients, filters, fixed, free, ranges, lines_apart, quadrature
            )
        return self._compiled[key]

    def inflate(self, obs):
        """An obs for `fit_model`, checked; the exact physics has no error to add.

        Returns
        -------
        dict or list of Observation
            A copy, with masks and units resolved.
        """
        data = adapter.observed(obs)
        flux, unc, mask = observation.photometry(data)
        items = {**data, "maggies": flux, "maggies_unc": unc, "phot_mask": mask}
        return adapter.renewed(obs, items)

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
        disc = [k for k in _AGN_DISC if k in params]
        if disc:
            raise ModelMismatchError(
                f"{disc[0]} belongs to the accretion disc of Prospector 2's AGNSSPBasis, which is "
                "not emulated; remove it, or use AGNSSPBasis."
            )
        if params:
            # What this model does not set is FSPS's default, whatever the last one set.
            self.params = dict(self.given)
        self.update(**params)
        given = one_row(self.params)
        self._tell(given)
        if "agebins" in given and too_short(given["agebins"]):
            # A ValueError, which Prospector's likelihood takes for impossible, as of FSPS.
            raise ValueError("an age bin is shorter than 1 Myr, where FastStepBasis stops.")
        out = _components(self.ingredients_of(given), given)
        if self._stars != self._told:
            warn_of_other_libraries(self.ingredients, self._stars)
            self._told = self._stars
        binned = "agebins" in given
        age = 10.0 ** (np.max(given["agebins"]) - 9.0) if binned else np.max(given["tage"])
        self.ssp.remember(out if binned else out.per_mass(), age)
        self._line_specific_luminosity = None
        return out.wave.copy(), out.lnu[0] / out.mass[0], float(out.mfrac[0])

    def _tell(self, given):
        """Refuse misspelt names; warn, once, of those that may be, and of impossible ages."""
        for name in self.params.keys() - self.checked:
            self.checked.add(name)
            meant = misspelt(name)
            if meant is None:
                continue
            sentence = f"{name!r} is not a parameter of FSPS; write {meant!r}"
            if meant not in self.params:
                self.checked.discard(name)
                raise ModelMismatchError(f"{sentence}.")
            # It may be what a transform reads.
            warnings.warn(f"{sentence}, if that is what you meant.", stacklevel=3)
        self.check_ages(given, refuse=False)

    def check_ages(self, params, ranges=None, refuse=True):
        """`older_than_universe`, whose sentence is a warning, once."""
        sentence = older_than_universe(params, ranges, refuse)
        if sentence and not self._told_ages:
            self._told_ages = True
            warnings.warn(sentence, stacklevel=4)

    def get_galaxy_elines(self):
        """Wavelengths (Angstrom) and luminosities (Lsun per Msun formed) of the nebular lines.

        Of the parameters of the last `get_galaxy_spectrum`.

        Raises
        ------
        ModelMismatchError
            If there was none.
        """
        # A derived class may set them by itself, as with Prospector's bases.
        lines = self._line_specific_luminosity
        if lines is None:
            lines = self.ssp.lines_per_mass()
        return self.ingredients.line_wave.copy(), lines.copy()

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
        distance = float(p["lumdist"]) if "lumdist" in p else None
        mass = np.sum(p.get("mass", 1.0))
        if np.all(p.get("mass_units", "mformed") == "mstar"):
            mass = mass / mfrac
        observed = wave * (1.0 + zred)
        maggies = lnu * (mass * cosmology.flux_factor(zred, distance))
        phot: float | np.ndarray = 0.0
        if filters is not None:
            flambda = maggies * cosmology.MAGGIE * cosmology.LIGHTSPEED / observed**2
            phot = np.atleast_1d(getSED(observed, flambda, filters, linear_flux=True))
        target = observed if outwave is None else np.asarray(outwave, dtype=float)
        if "sigma_smooth" in p:
            smooth = {k: v for k, v in p.items() if k != "sigma_smooth"}
            maggies = self.smoothspec(
                observed, maggies, p["sigma_smooth"], outwave=target, **smooth
            )
        elif outwave is not None:
            maggies = np.interp(target, observed, maggies, left=0.0, right=0.0)
        if peraa:
            maggies = maggies * cosmology.MAGGIE * cosmology.LIGHTSPEED / target**2
        return maggies, phot, mfrac

    @property
    def wavelengths(self):
        """Rest-frame wavelengths in Angstrom, shape (nwave,)."""
        return self.ingredients.wave.copy()

    @property
    def spectral_resolution(self):
        """Dispersion in km/s of the library's lines at each wavelength, shape (nwave,).

        As FSPS has it: negative where the library is theoretical.
        """
        return self.ingredients.resolution.copy()

    @property
    def logage(self):
        """log10(years) of the simple stellar populations."""
        return self.ingredients.log_age.copy()

    def __getstate__(self):
        # Small, for pools.
        return {
            **{k: v for k, v in vars(self).items() if k not in _NOT_PICKLED},
            "label": self.label, "checksum": self.checksum, "last": self.ssp.last,
        }  # fmt: skip

    def __setstate__(self, state):
        made_with = state.pop("label"), state.pop("checksum")
        last = state.pop("last")
        vars(self).update(state)
        stars, self._stars = self._stars, None
        self._compiled, self.ingredients, self._told_ages = {}, None, True
        self.checked = {*DEFAULTS, *BASIS}
        self.ssp = self.csp = Population(self, last)
        self._use(stars)
        if (self.label, self.checksum) != made_with:
            raise pickle.UnpicklingError(
                f"This object was made with ingredients {made_with[0]!r} (sha256 "
                f"{str(made_with[1])[:12]}), but here are {self.label!r} "
                f"({str(self.checksum)[:12]}); use the same ingredients in all processes."
            )


def _components(ingredients, given):
    """`spectrum` of one galaxy, whose components may have other settings, such as ``sfh``."""
    if not any(np.size(given.get(k, 0)) > 1 for k in SETTINGS):
        return spectrum(ingredients, given)
    parts = [
        spectrum(ingredients, {k: v[:, i] if np.ndim(v) == 2 else v for k, v in given.items()})
        for i in range(given["mass"].shape[1])
    ]
    lnu, mass, left, lines, lbol = (
        sum(values)
        for values in zip(
            *((p.lnu, p.mass, p.mfrac * p.mass, p.line_lum, p.lbol) for p in parts), strict=True
        )
    )
    return parts[0]._replace(lnu=lnu, mass=mass, mfrac=left / mass, line_lum=lines, lbol=lbol)
