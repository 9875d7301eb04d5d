"""Spectra and photometry together, for whole batches of a model's vectors.

What Prospector's `SpecModel` and `PolySpecModel` predict at a fixed redshift: samples of the
spectrum and luminosities of lines from the compiled physics, pixels by one linear operator,
the calibration polynomial by least squares for each vector; and the likelihood of both.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.polynomial.chebyshev import chebvander

from ..cosmology import LIGHTSPEED, LIGHTSPEED_KMS
from ..errors import ModelMismatchError
from ..observe import observation
from ..observe.pixels import (
    PixelOperator,
    Samples,
    gaussian_matrix,
    observed_spectrum,
    smoothing_matrix,
)
from ..prospector import v1
from ..prospector.stand_in import ExactBasis
from .likelihood import (
    IMPOSSIBLE,
    Gaussian,
    Independent,
    compile_likelihood,
    noise_terms,
    outlier_terms,
)
from .predictions import ExactFluxes, prior_examples

# Of what a pixel has by the model itself; anything a subclass adds is far larger.
_TOLERANCE = 1e-3
# What the operator is made of; it is compiled where these do not vary.
_FIXED = (
    "zred", "sigma_smooth", "smoothtype", "fftsmooth", "min_wave_smooth", "max_wave_smooth",
    "inres", "in_vel", "lsf", "eline_sigma", "eline_delta_zred", "marginalize_elines",
    "elines_to_ignore", "polyorder", "poly_regularization",
)  # fmt: skip
# Rows whose pixels stay in cache.
_CHUNK = 128


class SpectrumFluxes(ExactFluxes):
    """Spectrum and photometry of a model, compiled.

    Parameters
    ----------
    model : prospect.models.SpecModel or PolySpecModel
    obs : dict
        As `prospect.utils.obsutils.fix_obs` leaves it, with plain arrays.
    bands : ndarray of bool, shape (nfilter,)
    sps : EmulatorSPS

    Raises
    ------
    ModelMismatchError
        If the model's spectrum is not one of those that are compiled.
    """

    def __init__(self, model, obs, bands, sps):
        self._model, self._obs = model, obs
        self._draws = prior_examples(model)
        self.pixels, self.calibration = None, None
        every = observation.filter_list(obs.get("filters"))
        with _state_of(model):
            # Caches what the model's own operators read.
            model.predict(self._draws[0], obs=obs, sps=sps)
            super().__init__(model, [f for f, b in zip(every, bands, strict=True) if b], sps)
            if isinstance(model, v1.PolySpecModel):
                self.calibration = _polynomial(model, obs)
        self._check(sps, bands)

    def _targets(self, filters):
        model, g = self._model, self.ingredients
        varies = [k for k in _FIXED if k in (*self.map.varying, *self.map.other)]
        if varies:
            raise ModelMismatchError(f"{varies[0]} varies, and the spectrum depends on it")
        wave = model.observed_wave(model._wave)
        pixels = self._obs["wavelength"]
        node, matrix = _smoothing(model, wave, pixels)
        line, profiles = _line_profiles(model, pixels)
        self.pixels = PixelOperator(g.wave, node, matrix, g.line_wave, line, profiles)
        shift = float(np.squeeze(model.params.get("eline_delta_zred", 0.0)))
        targets = Samples(filters, g.wave, node, line, shift)
        self._parts = targets.parts
        return targets

    def both(self, theta):
        """Fluxes (n, nband) and spectra (n, npix) with calibration; NaN where impossible."""
        values = super().maggies(theta)
        bands, samples, _ = self._parts
        spectrum = self.pixels(values[:, samples.start :])
        if self.calibration is not None:
            self.calibration(spectrum)
        return values[:, bands], spectrum

    def maggies(self, theta):
        """Fluxes (n, nband)."""
        return super().maggies(theta)[:, self._parts[0]]

    def spectrum(self, theta):
        """Spectra (n, npix) in maggies, with calibration."""
        return self.both(theta)[1]

    def _check(self, sps, bands):
        """Compare with the model itself."""
        got_phot, got_spec = self.both(self._draws)
        mask, model = self._obs["mask"], self._model
        with _state_of(model):
            for i, row in enumerate(self._draws):
                try:
                    model.set_parameters(row)
                    spec, phot, _ = model.predict(row, obs=self._obs, sps=sps)
                except ValueError:
                    continue
                floor = _TOLERANCE * np.median(np.abs(spec[mask]))
                same = np.allclose(got_spec[i][mask], spec[mask], rtol=_TOLERANCE, atol=floor)
                if got_phot.shape[1]:
                    same &= np.allclose(got_phot[i], phot[bands], rtol=2e-3, atol=1e-14)
                if not same:
                    raise ModelMismatchError(
                        f"{type(model).__name__}.predict gives another spectrum or other "
                        "photometry than FSPS's parameters alone"
                    )


class _state_of:
    """The model's parameters, as before afterwards."""

    def __init__(self, model):
        self._model = model

    def __enter__(self):
        self._theta = self._model.theta.copy()

    def __exit__(self, *error):
        self._model.set_parameters(self._theta)


def _smoothing(model, wave, pixels):
    """Samples and matrix of the model's own smoothing."""
    p = model.params
    kind = p.get("smoothtype", "vel")
    kind = str(np.squeeze(kind))
    direct = not np.all(p.get("fftsmooth", True))

    def smooth(spectrum):
        return model.smoothspec(wave, spectrum)

    if direct and kind in ("vel", "R", "lambda") and not np.any(p.get("inres", 0.0)):
        sigma = float(np.squeeze(p.get("sigma_smooth", 100)))
        if kind == "R":
            sigma = 1.0 / sigma
        elif kind == "vel":
            sigma = sigma / LIGHTSPEED_KMS
        if sigma > 0.0:
            shape = "lambda" if kind == "lambda" else "vel"
            node, matrix = gaussian_matrix(wave, pixels, sigma, shape)
            trial = 0.5 + np.random.default_rng(1).random(wave.size)
            if np.allclose(matrix @ trial[node], smooth(trial), rtol=1e-8):
                return node, matrix
    return smoothing_matrix(smooth, wave, pixels.size)


def _line_profiles(model, pixels):
    """Lines that the model adds to its spectrum, and their profiles (npix, k)."""
    mask = model._fix_eline_pixelmask
    if not mask.any():
        return np.zeros(0, dtype=int), np.zeros((pixels.size, 0))
    line = np.flatnonzero(model._fix_eline & model._valid_eline)
    profiles = np.zeros((pixels.size, line.size))
    profiles[mask] = model.get_eline_gaussians(lineidx=line, wave=pixels[mask])
    frequency = LIGHTSPEED / model._eline_wave[line]
    return line, profiles * frequency / (1.0 + model._zred)


def _polynomial(model, obs):
    order = int(np.squeeze(model.params.get("polyorder", 0)))
    if order <= 0:
        return None
    x = model.wave_to_x(obs["wavelength"], obs["mask"])
    penalty = np.asarray(model.params.get("poly_regularization", 0.0), dtype=float)
    penalty = np.broadcast_to(penalty**2 * np.any(penalty > 0.0), (order + 1,))
    return Polynomial(x, order, penalty, obs)


class Polynomial:
    """Multiplies spectra by the Chebyshev polynomial that brings each closest to the data.

    `PolySpecModel`'s: with y = data / spectrum - 1 and its errors, least squares with a
    penalty on the coefficients. Products of Chebyshev polynomials are sums of two, so that
    the normal matrix is made of 2 order + 1 moments.

    Parameters
    ----------
    x : ndarray, shape (npix,)
    order : int
    penalty : ndarray, shape (order + 1,)
        Added to the diagonal of the normal matrix.
    obs : dict
    """

    def __init__(self, x, order, penalty, obs):
        mask = obs["mask"]
        with np.errstate(divide="ignore", invalid="ignore"):
            precision = np.where(mask, 1.0 / np.asarray(obs["unc"]) ** 2, 0.0)
        flux = np.where(mask, obs["spectrum"], 0.0)
        basis = chebvander(x, 2 * order)
        self._moments = basis * precision[:, None]
        self._data = basis[:, : order + 1] * (precision * flux)[:, None]
        self._basis = np.ascontiguousarray(basis[:, : order + 1].T)
        i = np.arange(order + 1)
        self._sum, self._difference = i[:, None] + i, np.abs(i[:, None] - i)
        self._penalty = np.diag(penalty)

    def coefficients(self, spectrum):
        """Coefficients (n, order + 1) for spectra (n, npix)."""
        m = (spectrum * spectrum) @ self._moments
        normal = 0.5 * (m[:, self._sum] + m[:, self._difference]) + self._penalty
        right = spectrum @ self._data - m[:, : len(self._basis)]
        out = np.full(right.shape, np.nan)
        some = np.isfinite(m).all(axis=1)
        out[some] = np.linalg.solve(normal[some], right[some][:, :, None])[:, :, 0]
        return out

    def __call__(self, spectrum):
        """Multiply spectra (n, npix) in place."""
        factor = self.coefficients(spectrum) @ self._basis
        factor += 1.0
        spectrum *= factor


@dataclass(frozen=True)
class SpectrumLikelihood:
    """Log likelihood (n,) of vectors (n, ndim): spectrum and photometry."""

    predicted: SpectrumFluxes
    photometry: object
    pixels: object
    mask: np.ndarray | None

    def __call__(self, theta):
        theta = np.asarray(theta, dtype=float)
        parts = [self._rows(theta[i : i + _CHUNK]) for i in range(0, len(theta), _CHUNK)]
        return np.concatenate(parts)

    def _rows(self, theta):
        maggies, spectrum = self.predicted.both(theta)
        impossible = np.isnan(spectrum[:, 0])
        if self.mask is not None:
            spectrum = spectrum[:, self.mask]
        lnl = self.pixels(spectrum, theta)
        if self.photometry is not None:
            lnl += self.photometry(maggies, theta)
        lnl[impossible] = IMPOSSIBLE
        return lnl


def compile_spectrum(model, obs, sps, noise=(None, None)):
    """Predictions and likelihood of a spectrum, with photometry if there is any.

    Parameters
    ----------
    model, obs, sps, noise
        As in `prospect.fitting.fit_model`.

    Returns
    -------
    SpectrumFluxes, SpectrumLikelihood

    Raises
    ------
    ModelMismatchError
        If model or noise are not compiled; what it is, is named.
    DataError
        If the data cannot be used.
    """
    obs = dict(obs)
    obs["wavelength"], obs["spectrum"], obs["unc"], mask = observed_spectrum(obs)
    obs["mask"] = mask
    used: set = set()
    photometry, bands = None, np.zeros(0, dtype=bool)
    _refuse(model, sps)
    spectral, phot = noise or (None, None)
    if obs.get("maggies") is not None:
        obs["filters"] = observation.filter_list(obs["filters"])
        data = observation.photometry(obs)
        obs["maggies"], obs["maggies_unc"], bands = data
        obs["phot_mask"] = bands
        photometry, _ = compile_likelihood(model, obs, data, (None, phot))
    else:
        obs |= {"filters": None, "maggies": None}
    obs = v1.fix_obs(obs)
    flux, unc = obs["spectrum"][mask], obs["unc"][mask]
    terms = noise_terms(model, spectral, {"unc": unc}, used)
    outliers = outlier_terms(model, used, "spec")
    if terms or outliers:
        pixels = Independent(flux, unc, np.zeros(flux.size, dtype=bool), terms, outliers)
    else:
        pixels = Gaussian(flux, unc)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The compiled fluxes are off")
        fluxes = SpectrumFluxes(model, obs, bands, sps)
    return fluxes, SpectrumLikelihood(fluxes, photometry, pixels, None if mask.all() else mask)


def _refuse(model, sps):
    kind = type(model)
    if not isinstance(sps, ExactBasis):
        raise ModelMismatchError(f"spectra are compiled with EmulatorSPS(), not {sps!r}")
    if not isinstance(model, v1.SpecModel):
        raise ModelMismatchError(f"the spectrum of a {kind.__name__} is not compiled")
    own = v1.SpecModel.spec_calibration, v1.PolySpecModel.spec_calibration
    if (
        kind.predict_spec is not v1.SpecModel.predict_spec
        or kind.predict is not v1.SpecModel.predict
        or kind.spec_calibration not in own
    ):
        raise ModelMismatchError(f"the spectrum of a {kind.__name__} is not compiled")
    if np.any(model.params.get("marginalize_elines", False)):
        raise ModelMismatchError("marginalize_elines is not compiled")
