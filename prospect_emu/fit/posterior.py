"""A Prospector model and its photometry, compiled into functions of whole batches.

Prospector evaluates one parameter vector at a time, in milliseconds of Python;
`BatchedPosterior` evaluates hundreds at once, with the same numbers.
"""

import numpy as np

from ..errors import ModelMismatchError, ProspectEmuError
from ..networks import sfh
from ..networks.emulator_base import REFERENCE_LOGMASS, reference_scale
from ..networks.vector import RATIO_NAMES
from ..observe import observation
from ..prospector import v1
from ..prospector.batched_priors import compile_priors
from .likelihood import compile_likelihood

# Free parameters of a Prospector model -> parameters of the emulator.
_VECTORS = {"massmet": ("logmass", "logzsol"), "logsfr_ratios": RATIO_NAMES}
_LOGARITHMS = {"fagn": "log_fagn", "agn_tau": "log_agn_tau", "duste_gamma": "log_duste_gamma"}

_SLOW_ROAD = "use prospect.fitting.fit_model for it"
_MAP_TOLERANCE = 1e-10
# Prospector's SpecModel sees emulated photometry through a pseudo-spectrum, exact
# to 1e-5 where rounding moves a node over a curve's steep edge, and a factored
# emulator is folded for other bands there where some are masked; anything that a
# model adds by itself is far larger.
_FLUX_TOLERANCE = {"rtol": 2e-3, "atol": 1e-14}


class BatchedPosterior:
    """Prior and likelihood of a Prospector model, for many parameter vectors at once.

    Parameters
    ----------
    model : prospect.models.ProspectorParams
        Its free parameters must be those of `prospect_emu.prospector.mathews23.model_params`,
        any of them fixed and with any prior.
    obs : dict
        Prospector's. Only unmasked bands are evaluated. ``upper_limits`` and
        ``maggies_covariance`` are read too (`prospect_emu.fit.likelihood`).
    sps : EmulatorSPS
        Or another object with `emulator`, `check_model` and `theta_from_params`.
    noise : (None, NoiseModel or None)
        As in `prospect.fitting.fit_model`: independent errors only.

    Attributes
    ----------
    ndim : int
    labels : list of str
        ``model.theta_labels()``.
    emulator : Emulator
        Restricted to the unmasked bands.

    Raises
    ------
    ModelMismatchError
        If a parameter of the model is not the emulator's, or the model predicts
        other photometry than the emulator; the parameter is named.
    RangeError
        If a prior reaches outside the training box.
    DataError
        If the photometry cannot be used.
    """

    def __init__(self, model, obs, sps, noise=(None, None)):
        flux, unc, mask = observation.photometry(obs)
        _refuse_spectrum(obs)
        self._likelihood, self._nuisance = compile_likelihood(model, obs, (flux, unc, mask), noise)
        sps.check_model(model)
        names = [f.name for f in observation.filter_list(obs["filters"])]
        self.emulator = sps.emulator.select(n for n, used in zip(names, mask, strict=True) if used)
        self.ndim = model.ndim
        self.labels = list(model.theta_labels())
        # The emulator may offer fluxes before the scaling by mass and distance,
        # which then needs no cosmology where the redshift is fixed.
        self._reference = getattr(self.emulator, "reference_maggies", None)
        self._priors = compile_priors(model)
        self._compile_map(model)
        draws = self.prior_transform(np.random.default_rng(0).random((32, self.ndim)))
        self._template = self._model_theta(model, sps, draws[:1])[0]
        self._verify_map(model, sps, draws)
        self._compile_scale(model)
        if self._fixed_scale is not None and hasattr(self.emulator, "at_redshift"):
            zred = float(self._template[self._zred])
            self._reference = self.emulator.at_redshift(zred).reference_maggies
        self._verify_photometry(model, obs, sps, mask, draws[:3])

    def __repr__(self):
        return f"BatchedPosterior({self.ndim} free parameters, {len(self.emulator.filters)} bands)"

    # ---- what a sampler calls ----------------------------------------------

    def prior_transform(self, u):
        """Parameter vectors (n, ndim) at points `u` (n, ndim) of the unit cube."""
        theta = np.empty(u.shape)
        for prior in self._priors:
            theta[:, prior.columns] = prior.quantile(u[:, prior.columns])
        return theta

    def log_prior(self, theta):
        """Log prior density, shape (n,), of `theta` (n, ndim)."""
        theta = np.asarray(theta, dtype=float)
        return sum(prior.log_density(theta[:, prior.columns]) for prior in self._priors)

    def emulator_theta(self, theta):
        """The emulator's vectors (n, 18) of the model's free ones (n, ndim)."""
        out = np.empty((len(theta), self._template.size))
        out[:] = self._template
        out[:, self._target] = theta[:, self._source]
        if self._log_target.size:
            out[:, self._log_target] = np.log10(theta[:, self._log_source])
        return out

    def maggies(self, theta):
        """Model fluxes (n, nband) in the unmasked bands."""
        full = self.emulator_theta(np.asarray(theta, dtype=float))
        if self._reference is None:
            maggies = self.emulator.maggies(full, check=False)
            scale = 1.0 if self._lumdist is None else self._distance_ratio(full)[:, None]
            return maggies * scale
        if self._fixed_scale is None:
            scale = reference_scale(full[:, 0], full[:, self._zred])
            if self._lumdist is not None:
                scale = scale * self._distance_ratio(full)
        else:
            scale = self._fixed_scale * 10.0 ** (full[:, 0] - REFERENCE_LOGMASS)
        maggies = self._reference(full)
        maggies *= scale[:, None]
        return maggies

    def log_likelihood(self, theta):
        """Log likelihood (n,) of `theta` (n, ndim), normalised as Prospector's.

        Raises
        ------
        ProspectEmuError
            If a value is not finite: a sampler would take NaN for a small number.
        """
        lnl = self._likelihood(self.maggies(theta), theta)
        if not np.isfinite(lnl).all():
            row = np.asarray(theta)[np.flatnonzero(~np.isfinite(lnl))[0]]
            point = ", ".join(f"{k}={v:.6g}" for k, v in zip(self.labels, row, strict=True))
            raise ProspectEmuError(
                f"The likelihood is not finite at {point}; emulator {self.emulator.name!r} is "
                "damaged there: check it with Emulator.maggies."
            )
        return lnl

    @property
    def likelihood(self):
        """The likelihood of fluxes; see `prospect_emu.fit.likelihood.compile_likelihood`."""
        return self._likelihood

    @property
    def parameter_map(self):
        """How the emulator's vector comes from the model's free parameters.

        Returns
        -------
        template : ndarray, shape (18,)
            Values of what is fixed.
        copied, logarithms : (ndarray of int, ndarray of int)
            Places in the emulator's vector, and the columns of `theta` that they copy or
            take the decimal logarithm of.
        """
        copied, logarithms = (
            (self._target, self._source),
            (self._log_target, self._log_source),
        )
        return self._template.copy(), copied, logarithms

    @property
    def lumdist(self):
        """Luminosity distance in Mpc that the model prescribes, or None for the cosmology's."""
        return self._lumdist

    # ---- compilation --------------------------------------------------------

    def _compile_map(self, model):
        """Where each free column goes among the emulator's parameters."""
        known = self.emulator.parameters
        copies, logs = {}, {}
        for name, span in model.theta_index.items():
            if name in self._nuisance:
                continue
            columns = range(span.start, span.stop)
            into = copies
            if name in _VECTORS and len(columns) == len(_VECTORS[name]):
                targets = _VECTORS[name]
            elif name in known and len(columns) == 1:
                targets = (name,)
            elif name in _LOGARITHMS and len(columns) == 1:
                targets, into = (_LOGARITHMS[name],), logs
            else:
                raise ModelMismatchError(
                    f"Free parameter {name!r} ({len(columns)} values) is none that emulator "
                    f"{self.emulator.name!r} knows ({', '.join(_VECTORS)}, {', '.join(known)}); "
                    f"fix it, or {_SLOW_ROAD}."
                )
            into |= {known.index(t): c for t, c in zip(targets, columns, strict=True)}
        self._target, self._source = _index(copies.keys()), _index(copies.values())
        self._log_target, self._log_source = _index(logs.keys()), _index(logs.values())
        self._zred = known.index("zred")

    def _compile_scale(self, model):
        """Distances once and for all if the redshift is fixed."""
        lumdist = model.params.get("lumdist")
        self._lumdist = None if lumdist is None else float(np.squeeze(lumdist))
        self._fixed_scale = None
        if self._zred not in self._target:
            zred = self._template[self._zred]
            self._fixed_scale = float(reference_scale(REFERENCE_LOGMASS, zred))
            if self._lumdist is not None:
                self._fixed_scale *= sfh.dimming(zred, self._lumdist)

    def _distance_ratio(self, full):
        return sfh.dimming(full[:, self._zred], self._lumdist)

    @staticmethod
    def _model_theta(model, sps, draws):
        """The emulator's vectors by way of Prospector's own parameters."""
        before = model.theta.copy()
        try:
            out = []
            for theta in draws:
                model.set_parameters(theta)
                out.append(sps.theta_from_params(model.params))
            return np.array(out)
        finally:
            model.set_parameters(before)

    def _verify_map(self, model, sps, draws):
        expected = self._model_theta(model, sps, draws)
        wrong = ~np.isclose(
            self.emulator_theta(draws), expected, rtol=_MAP_TOLERANCE, atol=_MAP_TOLERANCE
        ).all(axis=0)
        if wrong.any():
            names = ", ".join(np.array(self.emulator.parameters)[wrong])
            raise ModelMismatchError(
                f"The model derives {names} in another way than "
                "prospect_emu.prospector.mathews23.model_params "
                f"(a transform in depends_on differs); {_SLOW_ROAD}."
            )

    def _verify_photometry(self, model, obs, sps, mask, draws):
        """A subclass or an extra parameter may change the photometry: ask the model itself."""
        before = model.theta.copy()
        full_obs = v1.fix_obs({"wavelength": None, "spectrum": None, **obs})
        try:
            expected = [model.predict(theta, obs=full_obs, sps=sps)[1] for theta in draws]
        finally:
            model.set_parameters(before)
        expected = np.array(expected)[:, mask]
        close = np.isclose(self.maggies(draws), expected, **_FLUX_TOLERANCE)
        if not close.all():
            extra = sorted(set(model.params) - set(_VECTORS) - set(self.emulator.parameters))
            raise ModelMismatchError(
                f"{type(model).__name__}.predict gives other photometry than emulator "
                f"{self.emulator.name!r} alone; one of its parameters changes it "
                f"({', '.join(extra)}): {_SLOW_ROAD}."
            )


def _index(values):
    return np.fromiter(values, dtype=int)


def _refuse_spectrum(obs):
    if obs.get("spectrum") is not None:
        raise ModelMismatchError(
            "obs holds a spectrum, which is not emulated; set obs['spectrum'] to None, or "
            f"{_SLOW_ROAD} with FSPS."
        )
