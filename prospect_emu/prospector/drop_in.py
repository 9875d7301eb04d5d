"""Prospector's view of an emulator: `EmulatorSPS` goes where `FastStepBasis` went."""

from types import SimpleNamespace

import numpy as np
from prospect.models import SpecModel

from ..cosmology import flux_factor
from ..errors import FilterError, ModelMismatchError, RangeError
from ..networks import sfh
from ..networks.emulator_base import reference_scale
from ..networks.vector import RATIO_NAMES
from ..observe import observation
from ..observe.filters import curve_hash
from ..observe.magnitudes import arsinh_error_to_maggies
from ..observe.photometry import FilterProjector
from . import v1
from .priors import VectorPrior
from .stand_in import ExactBasis

# FSPS's own value where a model does not mention a parameter that the emulator
# holds fixed (python-fsps 0.5.0; a test compares them with python-fsps).
FSPS_DEFAULTS = {
    "imf_type": 2,
    "dust_type": 0,
    "dust1_index": -1.0,
    "dust_tesc": 7.0,
    "gas_logu": -2.0,
    "add_neb_emission": False,
    "add_neb_continuum": True,
    "nebemlineinspec": True,
    "add_dust_emission": True,
    "add_agn_dust": True,  # no parameter of python-fsps: the torus follows fagn alone
    "add_igm_absorption": False,
    "add_agb_dust_model": True,
    "mass_units": "mformed",  # Prospector's
}
# Other parameters that would change the spectrum; the emulator was trained with
# FSPS's defaults, so a model must leave them there.
FSPS_UNTOUCHED = {
    "igm_factor": 1.0, "dust3": 0.0, "dust_clumps": -99.0, "frac_nodust": 0.0, "frac_obrun": 0.0,
    "mwr": 3.1, "uvb": 1.0, "wgp1": 1, "wgp2": 1, "wgp3": 1, "agb_dust": 1.0, "afe": 0.0,
    "imf_upper_limit": 120.0, "imf_lower_limit": 0.08, "dell": 0.0, "delt": 0.0, "redgb": 1.0,
    "agb": 1.0, "fcstar": 1.0, "fbhb": 0.0, "sbss": 0.0, "pagb": 1.0, "evtype": -1,
    "masscut": 150.0, "tpagb_norm_type": 2, "use_wr_spectra": 1, "logt_wmb_hot": 0.0,
    "add_stellar_remnants": True, "add_xrb_emission": False, "use_lw_tpagb": 0, "vdmc": 0.08,
}  # fmt: skip

# Fixed in the recipe, but without a say in photometry: FastStepBasis sets sfh
# itself, and smoothing applies to spectra.
_UNCHECKED = ("sfh", "sigma_smooth")

# Prospector takes the logarithm of photometry it derives from a spectrum.
_FAINTEST = 1e-18


# At import: a script that imports EmulatorSPS may build its model before it makes one.
v1.tolerate_missing_sps_home()


class EmulatorSPS:
    """An emulator behind the interface of Prospector's SPS objects.

    Swap it for ``FastStepBasis()`` or ``CSPSpecBasis()`` in a Prospector 1.4 script.
    ``EmulatorSPS()``, without an emulator, gives exact spectra of any model in
    Prospector's own fits (`prospect_emu.prospector.stand_in.ExactBasis`); with one
    it gives that emulator's photometry, fast in `prospect_emu.fit_model`. Then `SedModel` takes
    the emulated photometry directly; `SpecModel` derives photometry from a
    spectrum, so it is given a pseudo-spectrum that yields exactly the emulated
    fluxes in `filters` (and means nothing else); `EmulatorSpecModel` skips it.

    Parameters
    ----------
    emulator : Emulator, optional
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

    def __new__(cls, emulator=None, filters=None, model=None, **params):
        """Without an emulator: `prospect_emu.prospector.stand_in.ExactBasis`."""
        if emulator is None:
            return ExactBasis(**params)
        if params:
            raise ModelMismatchError(
                f"{', '.join(params)} belong to EmulatorSPS() without an emulator; leave them out."
            )
        return super().__new__(cls)

    def __init__(self, emulator, filters=None, model=None):
        if filters is None:
            from ..observe.filters import load_filters

            filters = load_filters(emulator.filters)
        self.filters = observation.filter_list(filters)
        self.emulator = emulator.select(f.name for f in self.filters)
        for filt, emulated in zip(self.filters, self.emulator.filter_hashes, strict=True):
            if curve_hash(filt) != emulated:
                raise FilterError(
                    f"The transmission curve of {filt.name} differs from the one emulator "
                    f"{emulator.name!r} was trained with; load it with "
                    "prospect_emu.observe.filters.load_filters, or train with your curve."
                )
        self.ssp = SimpleNamespace(
            libraries=[s.encode() for s in emulator.manifest["versions"]["libraries"]]
        )
        self._guarded = tuple(
            name for name in (*self.emulator.fixed, *FSPS_UNTOUCHED) if name not in _UNCHECKED
        )
        self._names = tuple(f.name for f in self.filters)
        self._pseudo = None
        self._checked: list = []
        # A redshift at which more calls are to be expected, and the emulator there.
        self._held: dict = {}
        if model is not None:
            self.check_model(model)

    def __repr__(self):
        return f"EmulatorSPS({self.emulator!r})"

    # ---- checks -----------------------------------------------------------

    def check_model(self, model):
        """Compare a Prospector model with what was emulated.

        Raises
        ------
        ModelMismatchError
            If a fixed parameter differs from the emulator's.
        RangeError
            If a prior, or a fixed value, reaches outside the training box; all
            such parameters are listed.
        """
        self._check_fixed(model.params)
        if "zred" not in model.free_params:
            self._held = {"zred": _scalar(model.params["zred"])}
        varying = [
            name
            for name in (*self.emulator.fixed, *FSPS_UNTOUCHED)
            if name in model.free_params or model.config_dict.get(name, {}).get("depends_on")
        ]
        if varying:
            raise ModelMismatchError(
                f"{', '.join(varying)} vary in the model, but emulator {self.emulator.name!r} "
                "holds them fixed and would ignore them; fix them."
            )
        lo, hi = self._reach(model)
        bounds = self.emulator.bounds
        slack = 1e-6 * (bounds[:, 1] - bounds[:, 0])
        bad = ~((lo >= bounds[:, 0] - slack) & (hi <= bounds[:, 1] + slack))
        rows = [
            f"  {name:18s} {a:10.4g} {b:10.4g}   {c:10.4g} {d:10.4g}"
            for name, a, b, (c, d) in zip(
                np.array(self.emulator.parameters)[bad], lo[bad], hi[bad], bounds[bad], strict=True
            )
        ]
        prior_lo, prior_hi = _prior_bounds(model)
        rows += [
            f"  {label:18s} {a:10.4g} {b:10.4g}   (prior without bounds)"
            for label, a, b in zip(model.theta_labels(), prior_lo, prior_hi, strict=True)
            if not np.isfinite([a, b]).all()
        ]
        if rows:
            names = ("parameter", "model from", "to", "box from", "to")
            head = "  {:18s} {:>10s} {:>10s}   {:>10s} {:>10s}".format(*names)
            raise RangeError(
                f"The model reaches outside the training box of emulator {self.emulator.name!r} "
                "in the parameters below; narrow their priors or use another emulator.\n"
                + "\n".join([head, *rows])
            )

    def _reach(self, model):
        """Lowest and highest value of each emulator parameter within the model's prior bounds.

        Every parameter of the emulator depends monotonically on each free one
        in the models it accepts, so the corners of the prior that differ from
        all-low or all-high in one place reach its whole range. An unbounded
        prior stays at the model's current value (`check_model` reports it).
        """
        current = model.theta.copy()
        lo, hi = _prior_bounds(model)
        lo, hi = np.where(np.isfinite(lo), lo, current), np.where(np.isfinite(hi), hi, current)
        flip = np.eye(lo.size, dtype=bool)
        corners = np.vstack([lo, hi, np.where(flip, hi, lo), np.where(flip, lo, hi)])
        try:
            theta = []
            for corner in corners:
                model.set_parameters(corner)
                theta.append(self.theta_from_params(model.params))
        finally:
            model.set_parameters(current)
        return np.min(theta, axis=0), np.max(theta, axis=0)

    def _check_fixed(self, params):
        wrong = []
        for name, value in self.emulator.fixed.items():
            if name in _UNCHECKED:
                continue
            given = params.get(name, FSPS_DEFAULTS.get(name))
            if not _same(given, value):
                note = "" if name in params else " (FSPS's default; the model does not set it)"
                wrong.append(f"{name} = {np.squeeze(given)}{note}, emulated {value}")
        for name, value in FSPS_UNTOUCHED.items():
            if name in params and not _same(params[name], value):
                wrong.append(f"{name} = {np.squeeze(params[name])}, emulated {value}")
        if wrong:
            raise ModelMismatchError(
                f"The model differs from emulator {self.emulator.name!r}: {'; '.join(wrong)}. "
                "Change the model, or train an emulator for it."
            )
        self._checked = [params.get(name) for name in self._guarded]

    # ---- parameters -------------------------------------------------------

    def theta_from_params(self, params):
        """The emulator's parameter vector (18,) from a Prospector parameter dictionary.

        Read are the parameters that FSPS itself would be given (``mass``,
        ``logzsol``, ``dust1``, ``fagn``, ...), so any parameterisation works
        whose age bins are the emulator's.

        Raises
        ------
        ModelMismatchError
            If a parameter is missing or the age bins are others.
        """
        try:
            zred = _scalar(params["zred"])
            mass = np.asarray(params["mass"], dtype=float)
            agebins = np.asarray(params["agebins"], dtype=float)
            dust1, dust2 = _scalar(params["dust1"]), _scalar(params["dust2"])
            fagn, gamma = _scalar(params["fagn"]), _scalar(params["duste_gamma"])
            values = {
                "logzsol": _scalar(params["logzsol"]),
                "dust2": dust2,
                "dust_index": _scalar(params["dust_index"]),
                "log_agn_tau": np.log10(_scalar(params["agn_tau"])),
                "gas_logz": _scalar(params["gas_logz"]),
                "zred": zred,
                "duste_qpah": _scalar(params["duste_qpah"]),
                "duste_umin": _scalar(params["duste_umin"]),
            }
        except KeyError as err:
            raise ModelMismatchError(
                f"The model has no parameter {err}, which emulator {self.emulator.name!r} needs; "
                "start from prospect_emu.prospector.mathews23.model_params."
            ) from err
        expected = sfh.agebins(zred)
        if agebins.shape != expected.shape or np.abs(agebins - expected).max() > 1e-6:
            raise ModelMismatchError(
                f"The model's age bins at zred = {zred:.4g} are not the emulator's "
                "(prospect_emu.networks.sfh.agebins); use "
                "prospect_emu.prospector.mathews23.zred_to_agebins."
            )
        if dust2 == 0 and dust1 > 0:
            raise RangeError(
                f"dust1 = {dust1:.4g} with dust2 = 0 has no dust1_fraction; emulator "
                f"{self.emulator.name!r} cannot represent it: keep dust2 above zero."
            )
        values["dust1_fraction"] = dust1 / dust2 if dust2 else 1.0
        if fagn <= 0 or gamma <= 0:
            raise RangeError(
                f"fagn = {fagn:.4g} and duste_gamma = {gamma:.4g} must be positive, since emulator "
                f"{self.emulator.name!r} knows their logarithms; for none, use the lowest value of "
                "its box."
            )
        values["log_fagn"], values["log_duste_gamma"] = np.log10([fagn, gamma])
        with np.errstate(divide="ignore"):
            values["logmass"], ratios = sfh.sfr_ratios_from_masses(mass, zred)
        values |= dict(zip(RATIO_NAMES, ratios, strict=True))
        return np.array([values[name] for name in self.emulator.parameters])

    def photometry(self, filters=None, **params):
        """Emulated photometry and surviving mass fraction of a parameter dictionary.

        Returns
        -------
        maggies : ndarray, shape (nband,)
        mfrac : float
        """
        # Prospector keeps the arrays of fixed parameters: new ones, another model.
        held = zip(self._checked, map(params.get, self._guarded), strict=False)
        if not self._checked or any(a is not b for a, b in held):
            self._check_fixed(params)
        theta = self.theta_from_params(params)
        emulator = self.emulator
        if filters is not None and filters is not self.filters:
            names = tuple(f.name for f in observation.filter_list(filters))
            if names != self._names:
                emulator = emulator.select(names)
        maggies = self._maggies(emulator, theta, params["zred"])
        if "lumdist" in params:
            maggies *= sfh.dimming(theta[14], _scalar(params["lumdist"]))
        return maggies, float(emulator.mfrac(theta, check=False))

    def _maggies(self, emulator, theta, zred):
        """Fluxes; from the emulator at one redshift where the model or the last call had it."""
        zred = _scalar(zred)
        if zred != self._held.get("zred"):
            self._held = {"zred": zred}
            return emulator.maggies(theta)
        if self._held.get("emulator") is not emulator:
            self._held |= {"emulator": emulator, "folded": emulator.at_redshift(zred)}
        emulator.check(theta)
        return self._held["folded"].reference_maggies(theta[None])[0] * reference_scale(
            theta[0], zred
        )

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
        maggies, mfrac = self.photometry(**params)
        observed_wave, matrix, inverse = self._pseudo_spectrum()
        zred = _scalar(params["zred"])
        scale = flux_factor(zred) * float(np.sum(params["mass"]))
        if "lumdist" in params:
            scale *= sfh.dimming(zred, _scalar(params["lumdist"]))
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
        wave = v1.emission_line_wavelengths()
        return wave, np.zeros_like(wave)

    @property
    def wavelengths(self):
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
            matrix = FilterProjector(self.filters, wave, quadrature="sedpy").matrix(0.0)
            self._pseudo = wave, matrix, np.linalg.pinv(matrix)
        return self._pseudo

    # ---- errors -----------------------------------------------------------

    def inflate(self, obs, covariance=False):
        """Add the emulator's error to the observed one, in quadrature.

        ``sigma^2 = sigma_obs^2 + sigma_x^2`` with sigma_x from Mathews et al.
        (2023), eq. 9, at the observed flux. Negative fluxes are taken as they
        are (the error is symmetric in the flux); masked bands keep their entry.

        Parameters
        ----------
        obs : dict
            With `filters` as this object was built for.
        covariance : bool
            Also add ``maggies_covariance`` (nband, nband), in which the emulator's
            errors are correlated between bands as its test-set residuals are;
            only `prospect_emu.fit_model` reads it.

        Returns
        -------
        dict
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
        if obs.get("emulator") is not None and not all(
            observation.changed(obs, name) for name in ("maggies", "maggies_unc")
        ):
            observation.check_not_changed(obs)
            obs = {**obs, "maggies_unc": obs["maggies_unc_observed"]}
        # Else none was added yet, or this is another galaxy with errors of its own.
        flux, unc, mask = observation.photometry(obs)
        emulator = self.emulator.select(f.name for f in observation.filter_list(obs["filters"]))
        # Flux error per magnitude: eq. 9 for each band, and for each pair of bands.
        slope = arsinh_error_to_maggies(1.0, flux[mask])
        total = unc.copy()
        out = {k: v for k, v in obs.items() if k != "maggies_covariance"}
        if covariance:
            full = np.diag(unc**2)
            inside = np.ix_(mask, mask)
            full[inside] += np.outer(slope, slope) * emulator.covariance[inside]
            total[mask] = np.sqrt(np.diag(full)[mask])
            out["maggies_covariance"] = full
        else:
            total[mask] = np.hypot(unc[mask], slope * emulator.sigma_mag[mask])
        return {
            **out,
            "maggies": flux,
            "maggies_unc": total,
            "phot_mask": mask,
            "maggies_unc_observed": unc,
            # What the errors were added to: an obs that is used again may hold other values.
            "maggies_inflated": flux.copy(),
            "maggies_unc_inflated": total.copy(),
            "emulator": self.emulator.name,
        }


class EmulatorSpecModel(SpecModel):
    """`SpecModel` that takes the emulator's photometry without a pseudo-spectrum.

    For photometry only; needs `EmulatorSPS` as its `sps`. It can be built
    without SPS_HOME.
    """

    def __init__(self, *args, **kwargs):
        v1.tolerate_missing_sps_home()
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

    def predict(self, theta, obs=None, sps=None, sigma_spec=None, **extras):
        """Photometry of a parameter vector.

        Returns
        -------
        spectrum : ndarray
            NaN: not emulated.
        maggies : ndarray, shape (nband,)
        mfrac : float

        Raises
        ------
        ModelMismatchError
            If `obs` holds a spectrum.
        """
        if obs.get("spectrum") is not None:
            raise ModelMismatchError(
                "EmulatorSpecModel fits photometry only; set obs['spectrum'] to None."
            )
        self.set_parameters(theta)
        maggies, mfrac = sps.photometry(obs["filters"], **self.params)
        return sps.no_spectrum, maggies, mfrac


def _prior_bounds(model):
    """Lower and upper bound of each free value of a model.

    Raises
    ------
    RangeError
        If a prior does not tell its bounds.
    """
    bounds = []
    for name, where in model.theta_index.items():
        prior = model.config_dict[name]["prior"]
        try:
            lo, hi = prior.bounds()
        except (AttributeError, NotImplementedError, TypeError) as err:
            raise RangeError(
                f"The prior of {name}, {type(prior).__name__}, does not tell its bounds, so that "
                "it cannot be compared with the training box; use one of "
                "prospect_emu.prospector.priors."
            ) from err
        n = where.stop - where.start
        bounds.append(np.broadcast_to(np.array([lo, hi], dtype=float).reshape(2, -1), (2, n)))
    return np.concatenate(bounds, axis=1)


def _scalar(value):
    return float(np.squeeze(value))


def _same(a, b):
    a, b = np.squeeze(a), np.squeeze(b)
    if a.dtype.kind in "US" or b.dtype.kind in "US":
        return str(a) == str(b)
    return bool(np.all(np.isclose(a.astype(float), b.astype(float), rtol=1e-9, atol=1e-12)))
