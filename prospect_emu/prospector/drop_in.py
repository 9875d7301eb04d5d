"""Prospector's view of an emulator: `EmulatorSPS` goes where `FastStepBasis` went."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..cosmology import flux_factor
from ..errors import FilterError, ModelMismatchError
from ..networks import sfh
from ..networks.emulator_base import EmulatorBase, reference_scale
from ..observe import observation
from ..observe.filters import same_curve
from . import emulated_model
from .emulated_model import scalar
from .line_table import emission_line_wavelengths, tolerate_missing_sps_home
from .priors import VectorPrior
from .stand_in import ExactBasis
from .version import adapter

# Prospector takes the logarithm of photometry it derives from a spectrum.
_FAINTEST = 1e-18
# Calls at one redshift that cost as much as folding the exact emulator there.
_FOLD_AFTER = 32


# At import: a script that imports EmulatorSPS may build its model before it makes one.
tolerate_missing_sps_home()


class EmulatorSPS(ExactBasis):
    """FSPS's spectra, or an emulator, behind the interface of Prospector's SPS objects.

    Swap it for ``FastStepBasis()`` or ``CSPSpecBasis()`` in a Prospector script, also where a
    class of the script's own is derived from them. ``EmulatorSPS()`` gives exact spectra of any
    model (`prospect_emu.prospector.stand_in.ExactBasis`); with an emulator it is a `NetworkSPS`.

    Parameters
    ----------
    emulator : EmulatorBase, optional
    filters, model : optional
        See `NetworkSPS`.
    **params
        Without an emulator, see `ExactBasis`.
    """

    def __new__(cls, *given: Any, **named: Any) -> Any:
        """With an emulator: `NetworkSPS`."""
        emulator = given[0] if given else named.get("emulator")
        if cls is not EmulatorSPS or emulator is None:
            # Arguments of a derived class are its own.
            return super().__new__(cls)
        params = [k for k in named if k not in ("emulator", "filters", "model")]
        if params:
            raise ModelMismatchError(
                f"{', '.join(params)} belong to EmulatorSPS() without an emulator; leave them out."
            )
        return NetworkSPS(*given, **named)

    def __init__(
        self, emulator: EmulatorBase | Any = None, filters=None, model=None, **params: Any
    ) -> None:
        if emulator is not None:
            raise ModelMismatchError(
                f"{type(self).__name__} is derived from EmulatorSPS, which has no emulator; derive "
                "it from prospect_emu.prospector.drop_in.NetworkSPS."
            )
        super().__init__(**params)


class NetworkSPS:
    """An emulator behind the interface of Prospector's SPS objects: ``EmulatorSPS(emulator)``.

    Its photometry is fast in `prospect_emu.fit_model`. In Prospector's own fits `SedModel` takes
    the emulated photometry directly; `SpecModel` derives photometry from a
    spectrum, so it is given a pseudo-spectrum that yields exactly the emulated
    fluxes in `filters` (and means nothing else); `EmulatorSpecModel` skips it.

    Parameters
    ----------
    emulator : EmulatorBase
    filters : sequence of sedpy.observate.Filter, optional
        The bands to predict, as in ``obs["filters"]``; default all emulated
        bands.
    model : prospect.models.ProspectorParams, optional
        If given, it is compared with the emulator at once (`check_model`).

    Attributes
    ----------
    emulator : Emulator
        Restricted to `filters`.
    filters : list of sedpy.observate.Filter

    Raises
    ------
    FilterError
        If a filter is not emulated, or its curve differs from the emulated one.
    """

    def __init__(self, emulator: EmulatorBase, filters: Sequence | None = None, model=None) -> None:
        if filters is None:
            from ..observe.filters import load_filters

            filters = load_filters(emulator.filters)
        self.filters = observation.filter_list(filters)
        self.emulator = emulator.select(f.name for f in self.filters)
        for filt, emulated in zip(self.filters, self.emulator.filter_hashes, strict=True):
            if not same_curve(filt, emulated):
                raise FilterError(
                    f"The transmission curve of {filt.name} differs from the one emulator "
                    f"{emulator.name!r} was trained with; load it with "
                    "prospect_emu.observe.filters.load_filters, or train with your curve."
                )
        self.ssp = SimpleNamespace(
            libraries=[s.encode() for s in emulator.manifest["versions"]["libraries"]]
        )
        self._expected = emulated_model.expected(self.emulator)
        self._names = tuple(f.name for f in self.filters)
        self._pseudo = None
        self._checked: list = []
        # Redshift of the model or of the last calls, their number, and the emulator there.
        self._held: dict = {}
        if model is not None:
            self.check_model(model)

    def __repr__(self):
        return f"EmulatorSPS({self.emulator!r})"

    @property
    def label(self):
        """Name of the emulator."""
        return f"emulator {self.emulator.name}"

    def check_model(self, model) -> None:
        """Compare a Prospector model with what was emulated.

        Raises
        ------
        ModelMismatchError
            If a fixed parameter differs from the emulator's.
        RangeError
            If a prior, or a fixed value, reaches outside the training box; all
            such parameters are listed.
        """
        emulated_model.check_model(self.emulator, model)
        if "zred" not in model.free_params:
            self._held = {"zred": scalar(model.params["zred"]), "calls": 0}

    def theta_from_params(self, params: dict) -> np.ndarray:
        """The emulator's vector (18,); see `emulated_model.theta_from_params`."""
        return emulated_model.theta_from_params(self.emulator, params)

    def photometry(
        self, filters: Sequence | None = None, **params: Any
    ) -> tuple[np.ndarray, float]:
        """Emulated photometry and surviving mass fraction of a parameter dictionary.

        Returns
        -------
        maggies : ndarray, shape (nband,)
        mfrac : float
        """
        # Prospector keeps the arrays of fixed parameters: new ones, another model.
        held = zip(self._checked, map(params.get, self._expected), strict=False)
        if not self._checked or any(a is not b for a, b in held):
            emulated_model.check_fixed(self.emulator, self._expected, params)
            self._checked = [params.get(name) for name in self._expected]
        theta = self.theta_from_params(params)
        emulator = self.emulator
        if filters is not None and filters is not self.filters:
            names = tuple(f.name for f in observation.filter_list(filters))
            if names != self._names:
                emulator = emulator.select(names)
        maggies, mfrac = self._maggies_and_mfrac(emulator, theta, params["zred"])
        if "lumdist" in params:
            maggies *= sfh.dimming(theta[14], scalar(params["lumdist"]))
        return maggies, float(mfrac)

    def _maggies_and_mfrac(self, emulator, theta, zred):
        """Of the emulator folded at a redshift that comes again and again."""
        zred = scalar(zred)
        if zred != self._held.get("zred"):
            self._held = {"zred": zred, "calls": 0}
        self._held["calls"] += 1
        if self._held["calls"] <= _FOLD_AFTER:
            return emulator.maggies(theta), emulator.mfrac(theta, check=False)
        if self._held.get("filters") != emulator.filters:
            self._held |= {"filters": emulator.filters, "folded": emulator.at_redshift(zred)}
        emulator.check(theta)
        folded, theta = self._held["folded"], theta[None]
        maggies = folded.reference_maggies(theta)[0] * reference_scale(theta[0, 0], zred)
        return maggies, folded.mfrac(theta, check=False)[0]

    # ---- Prospector's interface --------------------------------------------

    def get_spectrum(self, outwave=None, filters=None, component=-1, **params):
        """What `SedModel.predict` calls.

        Returns
        -------
        spectrum : ndarray
            NaN everywhere: this emulator has no spectrum.
        maggies : ndarray, shape (nband,)
        mfrac : float

        Raises
        ------
        ModelMismatchError
            If a spectrum at given wavelengths is asked for.
        """
        if outwave is not None:
            raise ModelMismatchError(
                f"Emulator {self.emulator.name!r} predicts photometry, not spectra; set "
                "obs['wavelength'] and obs['spectrum'] to None."
            )
        maggies, mfrac = self.photometry(filters, **params)
        return self.no_spectrum, maggies, mfrac

    def get_galaxy_spectrum(self, **params):
        """What `SpecModel.predict` calls: a pseudo-spectrum with the emulated photometry.

        Fluxes below 1e-18 maggies (AB 45) are given as 1e-18, because Prospector
        takes their logarithm.

        Returns
        -------
        wave : ndarray, shape (nwave,)
            Rest-frame Angstrom.
        spectrum : ndarray, shape (nwave,)
            Lsun/Hz per solar mass formed.
        mfrac : float
        """
        if adapter.SMOOTHED_PHOTOMETRY and np.any(params.get("sigma_smooth", 300.0) != 0.0):
            raise ModelMismatchError(
                "Prospector 2's SpecModel smooths a spectrum before it takes its photometry, which "
                "a network's pseudo-spectrum does not bear; add sigma_smooth = 0 to the model, or "
                "use EmulatorSpecModel."
            )
        maggies, mfrac = self.photometry(**params)
        observed_wave, matrix, inverse = self._pseudo_spectrum()
        zred = scalar(params["zred"])
        scale = flux_factor(zred) * float(np.sum(params["mass"]))
        if "lumdist" in params:
            scale *= sfh.dimming(zred, scalar(params["lumdist"]))
        maggies = np.maximum(maggies, _FAINTEST)
        fnu = inverse @ maggies
        # Fluxes span ten decades: what rounding spills from bright bands into
        # faint ones, this second step takes out.
        fnu += inverse @ (maggies - matrix @ fnu)
        return observed_wave / (1.0 + zred), fnu / scale, mfrac

    def get_galaxy_elines(self):
        """Emission lines: none beyond those in the emulated fluxes.

        Returns
        -------
        wavelengths, luminosities : ndarray
            FSPS's line list, from SPS_HOME if it is set, and zeros.
        """
        wave = emission_line_wavelengths()
        return wave, np.zeros_like(wave)

    @property
    def wavelengths(self) -> np.ndarray:
        """Observed-frame grid of the pseudo-spectrum in Angstrom."""
        return self._pseudo_spectrum()[0]

    @property
    def no_spectrum(self):
        """NaN on `wavelengths`: stands for the spectrum that is not emulated."""
        return np.full(self.wavelengths.size, np.nan)

    def _pseudo_spectrum(self):
        if self._pseudo is None:
            # Dense enough for sedpy's trapezoid rule, which runs on these nodes,
            # and none on an edge of any filter, where rounding of (1 + z) would
            # decide whether it is inside.
            edges = np.array([f.wavelength[[0, -1]] for f in self.filters])
            wave = np.unique(np.concatenate([np.linspace(a, b, 42)[1:-1] for a, b in edges]))
            wave = wave[~np.isclose(wave[:, None], edges.ravel(), rtol=1e-9, atol=0).any(axis=1)]
            matrix = adapter.pseudo_projector(self.filters, wave).matrix(0.0)
            self._pseudo = wave, matrix, np.linalg.pinv(matrix)
        return self._pseudo

    # ---- errors -----------------------------------------------------------

    def inflate(self, obs, covariance: bool = False):
        """Add the emulator's error to the observed one, in quadrature.

        ``sigma^2 = sigma_obs^2 + sigma_x^2`` with sigma_x from Mathews et al.
        (2023), eq. 9, at the observed flux. Negative fluxes are taken as they
        are (the error is symmetric in the flux); masked bands keep their entry.

        Parameters
        ----------
        obs : dict or list of Observation
            With `filters` as this object was built for.
        covariance : bool
            Also add ``maggies_covariance`` (nband, nband), in which the emulator's
            errors are correlated between bands as its test-set residuals are;
            only `prospect_emu.fit_model` reads it.

        Returns
        -------
        dict or list of Observation
            A copy; ``maggies_unc`` is inflated, ``maggies_unc_observed`` the
            original, ``emulator`` the name of the emulator. An obs that was
            inflated before starts again from its original errors, so that no
            emulator's error is ever added twice; with other fluxes and other
            errors it is another galaxy, whose errors are used as given.

        Raises
        ------
        DataError
            If an unmasked flux is not finite or an unmasked error not positive, or the
            errors were changed after an earlier call and the fluxes were not.
        FilterError
            If a filter is not emulated.
        """
        data = adapter.observed(obs)
        return adapter.renewed(obs, observation.inflated(data, self.emulator, covariance))


class EmulatorSpecModel(adapter.PhotometryModel):
    """`SpecModel` that takes the emulator's photometry without a pseudo-spectrum.

    For photometry only; needs `EmulatorSPS` as its `sps`. It can be built
    without SPS_HOME.
    """

    def __init__(self, *args, **kwargs):
        tolerate_missing_sps_home()
        super().__init__(*args, **kwargs)

    def prior_product(self, theta, nested=False, **extras):
        """Prospector's; in nested sampling only whether `theta` is possible, which is all it says.

        The priors of this package are positive between their bounds, so that
        comparing with those replaces half a millisecond of densities.
        """
        if not nested or np.ndim(theta) != 1:
            return super().prior_product(theta, nested=nested, **extras)
        for name, where in self.theta_index.items():
            prior, x = self.config_dict[name]["prior"], theta[where]
            if isinstance(prior, VectorPrior):
                lo, hi = prior.range
                possible = np.all((x >= lo) & (x <= hi))
            else:
                possible = np.isfinite(np.sum(prior(x)))
            if not possible:
                return -np.inf
        return 0.0
