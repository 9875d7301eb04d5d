"""A Prospector model and its data, compiled into functions of whole batches.

Prospector evaluates one parameter vector at a time, in milliseconds of Python;
`BatchedPosterior` evaluates hundreds at once, with the same numbers.
"""

import time
import warnings

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ModelMismatchError, ProspectEmuError
from ..observe import observation
from ..observe.pixels import observed_spectrum
from ..prospector.batched_priors import compile_priors, prior_draws
from ..prospector.version import adapter
from .likelihood import IMPOSSIBLE, brightness, compile_likelihood, upper_limits
from .line_luminosities import LineLikelihood
from .observations import compile_observations
from .predictions import predictions
from .spectra import compile_spectrum


class BatchedPosterior:
    """Prior and likelihood of a Prospector model, for many parameter vectors at once.

    Parameters
    ----------
    model : prospect.models.ProspectorParams
        Any, with ``EmulatorSPS()``. With an emulator its free parameters must be those of
        `prospect_emu.prospector.mathews23.model_params`, any of them fixed and with any prior.
    obs : dict or list of Observation
        Prospector's. Only unmasked bands are evaluated. ``upper_limits`` and
        ``maggies_covariance`` are read too (`prospect_emu.fit.likelihood`), and ``lines``, fluxes
        of emission lines (`prospect_emu.observe.line_fluxes`).
    sps : EmulatorSPS
    noise : (NoiseModel or None, NoiseModel or None)
        As in `prospect.fitting.fit_model` of Prospector 1.4. What is not independent errors of
        photometry is left to Prospector's own likelihood, row by row; a warning says so.
    likelihood : {None, "prospector2"}
        See `prospect_emu.fit_model`.

    Attributes
    ----------
    ndim : int
    labels : list of str
        ``model.theta_labels()``.
    lines : LineLikelihood or None
        Of the line fluxes, if there are any.
    predictions : object
        Of `prospect_emu.fit.predictions`, for the unmasked bands; None where Prospector's own
        likelihood is used.

    Raises
    ------
    ModelMismatchError
        If an emulator was not made for this model; the parameter is named.
    RangeError
        If a prior reaches outside an emulator's training box.
    DataError
        If the data cannot be used.
    """

    def __init__(
        self, model, obs, sps, noise: tuple = (None, None), likelihood: str | None = None
    ) -> None:
        data = adapter.observed(obs, noise, likelihood)
        self.ndim = model.ndim
        if not self.ndim:
            raise ModelMismatchError(
                "The model has no free parameters; set isfree to True for those to be fitted."
            )
        self.labels = list(model.theta_labels())
        self._priors = compile_priors(model)
        self.predictions = self._likelihood = self._joint = self.lines = None
        if data.get("lines") is not None:
            self.lines = LineLikelihood(model, data["lines"], sps, self._priors)
            data["lines"] = self.lines.data.plain
        try:
            self._compile(model, data, sps)
        except _Slow as why:
            if hasattr(sps, "emulator"):
                raise ModelMismatchError(str(why)) from why
            self._by_rows(model, data, sps, str(why))

    def __repr__(self):
        return f"BatchedPosterior({self.ndim} free parameters: {', '.join(self.labels)})"

    def _compile(self, model, data, sps):
        spectral = data.get("spectrum") is not None or data.get("other_data") is not None
        if spectral and hasattr(sps, "emulator"):
            raise _Slow(
                "obs holds a spectrum, which is not emulated; set obs['spectrum'] to None, "
                "or use EmulatorSPS() without an emulator."
            )
        _resolve(data)
        if spectral:
            try:
                compiled = compile_observations if data.noises else compile_spectrum
                self.predictions, self._joint = compiled(model, data, sps)
            except ModelMismatchError as why:
                raise _Slow(str(why)) from why
            return
        if data.spectral is not None:
            raise _Slow(
                "A noise model of a spectrum is given, but obs holds none; use "
                "prospect.fitting.fit_model for it."
            )
        flux, unc, mask = observation.photometry(data)
        try:
            self._likelihood, nuisance = compile_likelihood(model, data, (flux, unc, mask))
        except ModelMismatchError as why:
            raise _Slow(str(why)) from why
        self.predictions = predictions(model, data, sps, mask, nuisance, self._priors)
        if hasattr(self.predictions, "with_errors"):
            self._likelihood = self.predictions.with_errors(self._likelihood, data, mask)

    def _by_rows(self, model, data, sps, why):
        """Prospector's own likelihood, for data that are not compiled."""
        log_likelihood = adapter.row_likelihood(model, data, sps)

        def rows(theta):
            before = model.theta.copy()
            try:
                return np.array([log_likelihood(row) for row in theta])
            finally:
                model.set_parameters(before)

        start = time.perf_counter()
        rows(self.prior_transform(np.random.default_rng(0).random((2, self.ndim))))
        spent = 0.5 * (time.perf_counter() - start)
        warnings.warn(
            f"Prospector's own likelihood is used, {1e3 * spent:.1f} ms a vector ({why})",
            stacklevel=4,
        )
        self._rows = rows

    # ---- what a sampler calls ----------------------------------------------

    def prior_transform(self, u: np.ndarray) -> np.ndarray:
        """Parameter vectors (n, ndim) at points `u` (n, ndim) of the unit cube."""
        return prior_draws(self._priors, u)

    def log_prior(self, theta: ArrayLike) -> np.ndarray:
        """Log prior density, shape (n,), of `theta` (n, ndim)."""
        theta = np.asarray(theta, dtype=float)
        return sum(prior.log_density(theta[:, prior.columns]) for prior in self._priors)

    def maggies(self, theta: np.ndarray) -> np.ndarray:
        """Model fluxes (n, nband) in the unmasked bands."""
        if self.predictions is None:
            raise ModelMismatchError(
                "The fluxes of this posterior are inside Prospector's own likelihood; call "
                "model.predict."
            )
        if not len(theta):
            return self.predictions.maggies(self.prior_transform(np.full((1, self.ndim), 0.5)))[:0]
        return self.predictions.maggies(theta)

    def spectrum(self, theta: ArrayLike) -> np.ndarray:
        """Model spectra (n, nwave of obs) in maggies, with the model's calibration."""
        if self._joint is None:
            raise ModelMismatchError(
                "This posterior has no compiled spectrum: obs holds none, or Prospector's own "
                "likelihood is used; call model.predict."
            )
        return self.predictions.spectrum(np.asarray(theta, dtype=float))

    def log_likelihood(self, theta: np.ndarray) -> np.ndarray:
        """Log likelihood (n,) of `theta` (n, ndim), normalised as Prospector's.

        -1e300 where Prospector's is zero: where a transform of the model raises ValueError.

        Raises
        ------
        ProspectEmuError
            If a value is not finite: a sampler would take NaN for a small number.
        """
        if not len(theta):
            return np.zeros(0)
        if self.predictions is None:
            lnl = self._rows(theta)
            lnl = np.where(lnl == -np.inf, IMPOSSIBLE, lnl)
            return self._with_lines(lnl, theta)
        return self.of_light(self.light(theta), theta)

    def light(self, theta: np.ndarray) -> np.ndarray:
        """What the data are predicted from, proportional to the mass, shape (n, nlight).

        Fluxes in the unmasked bands, and where there is a spectrum its samples and lines.
        """
        theta = np.asarray(theta, dtype=float)
        return self.maggies(theta) if self._joint is None else self._joint.light(theta)

    def brightness_weights(self):
        """Weights (nlight,) of `light` for the brightness that the data know best.

        It is 1 for what is observed; None where no data tell a brightness.
        """
        joint = self._joint is not None
        weight, norm = self._joint.brightness() if joint else brightness(self._likelihood)
        return weight / norm if norm > 0.0 else None

    def _with_lines(self, lnl, theta):
        if self.lines is None:
            return lnl
        more = self.lines(np.asarray(theta, dtype=float))
        return np.where(np.isnan(more) | (lnl == IMPOSSIBLE), IMPOSSIBLE, lnl + more)

    def of_light(self, light, theta):
        """Log likelihood (n,) of `light` (n, nlight), which is overwritten."""
        if not len(light):  # no step of any chain is inside the prior
            return np.zeros(0)
        if self._joint is not None:
            lnl = self._joint.of_light(light, theta)
        else:
            impossible = np.isnan(light[:, 0]) if self._may_fail else None
            lnl = self._likelihood(light, theta)
            if impossible is not None:
                lnl[impossible] = IMPOSSIBLE
        return self._checked(self._with_lines(lnl, theta), theta)

    def _checked(self, lnl, theta):
        if not np.isfinite(lnl).all():
            row = np.asarray(theta)[np.flatnonzero(~np.isfinite(lnl))[0]]
            point = ", ".join(f"{k}={v:.6g}" for k, v in zip(self.labels, row, strict=True))
            raise ProspectEmuError(
                f"The likelihood is not finite at {point}: the predicted fluxes are not; an "
                "emulator file may be damaged, or a parameter has no meaning there."
            )
        return lnl

    @property
    def _may_fail(self):
        return not hasattr(self.predictions, "emulator")

    @property
    def priors(self):
        """The compiled priors (`prospect_emu.prospector.batched_priors`)."""
        return self._priors

    @property
    def likelihood(self):
        """The likelihood of fluxes; see `prospect_emu.fit.likelihood.compile_likelihood`."""
        return self._likelihood

    # ---- of emulators of the 18-parameter model -------------------------------

    @property
    def emulator(self):
        """The emulator, restricted to the unmasked bands."""
        return self.predictions.emulator

    @property
    def parameter_map(self):
        """See `prospect_emu.fit.predictions.NetworkFluxes.parameter_map`."""
        return self.predictions.parameter_map

    @property
    def lumdist(self):
        """Luminosity distance in Mpc that the model prescribes, or None for the cosmology's."""
        return self.predictions.lumdist


def _resolve(data):
    """Put plain arrays into data, in place of what has masks and units."""
    if data.get("maggies") is not None:
        data["maggies"], data["maggies_unc"], data["phot_mask"] = observation.photometry(data)
        if data.get("spectrum") is not None or not hasattr(data["filters"], "trans"):
            # Else a FilterSet, whose photometry is of a grid of its own.
            data["filters"] = observation.filter_list(data["filters"])
        if data.get("upper_limits") is not None:
            data["upper_limits"] = upper_limits(data, data["phot_mask"])
        if data.get("maggies_covariance") is not None:
            data["maggies_covariance"] = observation.plain_covariance(
                data["maggies_covariance"], "maggies_covariance of obs"
            )
    if data.get("spectrum") is not None:
        names = "wavelength", "spectrum", "unc", "mask"
        data.update(zip(names, observed_spectrum(data), strict=True))


class _Slow(Exception):
    """Why a posterior is not compiled."""
