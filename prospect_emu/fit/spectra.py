"""Spectra and photometry together, for whole batches of a model's vectors.

What Prospector's `SpecModel` and `PolySpecModel` predict: samples of the spectrum and
luminosities of lines from the compiled physics; smoothing, the calibration polynomial and
marginalised lines for each vector; and the likelihood of all.
"""

import warnings
from dataclasses import dataclass

import numpy as np

from ..cosmology import LIGHTSPEED, LIGHTSPEED_KMS
from ..errors import ModelMismatchError
from ..observe import observation
from ..observe.observation import Observed
from ..observe.pixels import Samples, check_covered, lines_in_bands
from ..observe.smoothing import PixelOperator
from ..prospector.stand_in import ExactBasis
from ..prospector.version import adapter
from ..sps.sampled_bands import SampledBands
from .calibration import Polynomial
from .dispersion import Bounded, dispersion, scalar, smoothing
from .likelihood import IMPOSSIBLE, Gaussian, Independent, brightness, compile_likelihood
from .noise_terms import Scalar, noise_terms, outlier_terms
from .predictions import ExactFluxes, prior_examples
from .spectrum_lines import NSIGMA, Marginalised, Profiles

# Of what a pixel has by the model itself; anything a subclass adds is far larger.
_TOLERANCE = 1e-3
# What the operator is made of; it is compiled where these do not vary.
_FIXED = (
    "smoothtype", "fftsmooth", "min_wave_smooth", "max_wave_smooth", "inres", "in_vel",
    "lsf", "eline_delta_zred", "marginalize_elines", "use_eline_prior", "eline_prior_width",
    "elines_to_ignore", "polyorder", "poly_regularization",
)  # fmt: skip
# These may be free, but not depend on others.
_MAY_VARY = ("zred", "sigma_smooth", "eline_sigma")
# Redshifts of a prior at which it is seen which lines overlap.
_TRIED = 5
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
    noise : tuple of (Scalar, ndarray)
        Of `noise_terms`, for the pixels that are not masked.

    Raises
    ------
    ModelMismatchError
        If the model's spectrum is not one of those that are compiled.
    """

    def __init__(self, model, obs, bands, sps, noise=()):
        self._model, self._obs = model, obs
        self._draws = prior_examples(model)
        every = observation.filter_list(obs.get("filters"))
        with _state_of(model):
            # Caches what the model's own operators read.
            model.predict(self._draws[0], obs=obs, sps=sps)
            super().__init__(model, [f for f, b in zip(every, bands, strict=True) if b], sps)
            self._variance = self._noise(noise)
            self.calibration = None
            if isinstance(model, adapter.PolySpecModel):
                self.calibration = _polynomial(model, obs, self.marginalised)
        self._check(sps, bands)

    def _targets(self, filters):
        model, g = self._model, self.ingredients
        zred = float(np.squeeze(model._zred))
        varying = (*self.map.varying, *self.map.other)
        varies = [k for k in _FIXED if k in varying]
        varies += [k for k in _MAY_VARY if k in varying and k not in model.theta_index]
        if varies:
            raise ModelMismatchError(f"{varies[0]} varies, and the spectrum depends on it")
        wave, pixels = model._wave, self._obs["wavelength"]
        shift = scalar(model, "eline_delta_zred", 0.0)
        self._zred, ends = Scalar(None, zred), np.array([zred])
        if "zred" in model.theta_index:
            self._zred, _ = dispersion(model, "zred", 0.0)
            ends = np.array([self._zred.low, self._zred.high])
            if shift:
                raise ModelMismatchError("the redshift is free, and eline_delta_zred is not zero")
        for z in ends:
            check_covered(pixels, wave * (1.0 + z))
        self._sigma, self.smoothing = smoothing(model, wave, pixels, 1.0 + ends)
        fixed, fitted = self._lines(1.0 + shift + ends)
        line = np.concatenate([fixed, fitted])
        self._fixed_lines, self._fitted_lines = slice(0, fixed.size), slice(fixed.size, line.size)
        # From luminosities over frequency to fluxes, but for 1 + z.
        self._line_index, self._line_wave = line, g.line_wave[line]
        some = self._line_wave[self._fitted_lines]
        if ends.size > 1 and len(filters) and some.size:
            bands = SampledBands(filters, np.log(some), np.log1p(ends), lines=True)
            self._line_bands = lambda flux, scale: bands(
                (flux * some * scale).astype(np.float32), np.log(scale[:, 0])
            )
        else:
            weights = lines_in_bands(filters, model._ewave_obs[fitted]).T
            self._line_bands = lambda flux, scale: flux @ weights
        targets = Samples(filters, g.wave, self.smoothing.node, line, shift, fitted)
        self.parts = targets.parts
        return targets

    def _lines(self, scales):
        """Lines added to the spectrum, and those that are fitted there, between 1 + z `scales`."""
        model, obs = self._model, self._obs
        none = np.zeros(0, dtype=int)
        self._added = self.marginalised = self._width = None
        if not (model._want_lines and model._need_lines):
            return none, none
        pixels, mask, rest = obs["wavelength"], obs["mask"], model._eline_wave
        self._width, largest = dispersion(model, "eline_sigma", 100.0)
        self._widths = each = np.broadcast_to(largest, rest.shape)
        # Lines that some pixel sees at any redshift.
        middle = scales.mean()
        wider = each + LIGHTSPEED_KMS * np.ptp(scales) / (2.0 * middle * NSIGMA)
        reach = Profiles(pixels, mask, rest * middle).at(wider[None]).valid[0]
        reach &= model._use_eline
        fixed, fitted = np.flatnonzero(reach & model._fix_eline), none
        if model._fit_eline.any():
            fitted = np.flatnonzero(reach & model._fit_eline)
        same = self._width.column is self._zred.column is None
        if fixed.size:
            profiles = Profiles(pixels, mask, rest[fixed] * middle)
            self._added = profiles
            if same:
                lines, matrix = profiles.at(each[None, fixed]), np.zeros((fixed.size, pixels.size))
                lines.add_each(matrix)
                self._added = PixelOperator(rest[fixed] * middle, matrix.T)
        if fitted.size:
            wide = None
            if np.any(model.params.get("use_eline_prior", False)):
                wide = scalar(model, "eline_prior_width")
            tried = np.linspace(*scales[[0, -1]], _TRIED if scales.size > 1 else 1)
            self.marginalised = Marginalised(
                Profiles(pixels, mask, rest[fitted] * middle), obs["spectrum"], obs["unc"], wide,
                each[fitted] if same else None, each[fitted], tried[:, None] * rest[fitted],
            )  # fmt: skip
        return fixed, fitted

    def _places(self, theta, scale, some):
        """Dispersions (n, 1) or (1, k) and, where the redshift is free, centres (n, k) of lines."""
        at = np.arange(self._line_wave.size)[some]
        width = self._width(theta)
        if self._width.column is None:
            width = self._widths[None, self._line_index[at]]
        return width, None if self._zred.column is None else self._line_wave[at] * scale

    def _noise(self, terms):
        """What variances of the lines are multiplied by."""
        if self.marginalised is None or not terms:
            return lambda theta: 1.0
        unc = self._obs["unc"][self._obs["mask"]]
        if not all(np.array_equal(weight, unc) for _, weight in terms):
            raise ModelMismatchError("marginalize_elines with noise that is not weighted by unc")
        return lambda theta: np.ravel(sum(a(theta) ** 2 for a, _ in terms))

    def both(self, theta):
        """Fluxes (n, nband), spectra (n, npix) with calibration, and the penalty of the lines.

        NaN where impossible.
        """
        return self.of_light(self.light(theta), theta)

    def light(self, theta):
        """Bands, samples of the spectrum and lines side by side; NaN where impossible."""
        values = super().maggies(theta)
        for bounded in (self._sigma, self._width, self._zred):
            if isinstance(bounded, Bounded):
                values[bounded.outside(theta)] = np.nan
        return values

    def of_light(self, values, theta):
        """`both` of what `light` gives."""
        bands, samples, lines = self.parts
        scale = 1.0 + self._zred(theta)
        phot = values[:, bands]
        flux = values[:, lines] * (LIGHTSPEED / self._line_wave / scale)
        spectrum = self.smoothing(values[:, samples], np.ravel(self._sigma(theta)), np.ravel(scale))
        used, prepared = None, None
        if self._added is not None:
            added = flux[:, self._fixed_lines]
            if isinstance(self._added, PixelOperator):
                self._added(added, out=spectrum)
            else:
                self._added.at(*self._places(theta, scale, self._fixed_lines)).add(added, spectrum)
        if self.marginalised is not None:
            prepared = self.marginalised.at(*self._places(theta, scale, self._fitted_lines))
            if self.marginalised.sigma is None:
                used = self._obs["mask"] & ~prepared[0].seen
        factor = None
        if self.calibration is not None:
            factor = self.calibration(spectrum, used)
            spectrum *= factor
        if prepared is None:
            return phot, spectrum, 0.0
        fitted, penalty = self.marginalised.fit(
            prepared, spectrum, flux[:, self._fitted_lines], factor, self._variance(theta)
        )
        return phot + self._line_bands(fitted, scale), spectrum, penalty

    def pixels_of_samples(self):
        """Pixels (nsample, npix) of a spectrum of which one sample is 1 and all others are 0.

        At one redshift and one dispersion of the prior.
        """
        samples = np.eye(self.parts[1].stop - self.parts[1].start)
        theta = np.repeat(self._draws[:1], len(samples), axis=0)
        sigma, scale = np.ravel(self._sigma(theta)), np.ravel(1.0 + self._zred(theta))
        return self.smoothing(samples, sigma, scale)

    def maggies(self, theta):
        """Fluxes (n, nband)."""
        return self.both(np.asarray(theta, dtype=float))[0]

    def spectrum(self, theta):
        """Spectra (n, npix) in maggies, with calibration."""
        return self.both(theta)[1]

    def _check(self, sps, bands):
        """Compare with the model itself."""
        got_phot, got_spec, _ = self.both(self._draws)
        mask, model = self._obs["mask"], self._model
        scale = np.broadcast_to(self._variance(self._draws), len(self._draws))
        with _state_of(model):
            for i, row in enumerate(self._draws):
                variance = scale[i] * self._obs["unc"] ** 2
                try:
                    model.set_parameters(row)
                    spec, phot, _ = model.predict(row, self._obs, sps, sigma_spec=variance)
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


def _polynomial(model, obs, marginalised):
    order = int(np.squeeze(model.params.get("polyorder", 0)))
    if order <= 0:
        return None
    if marginalised is not None and marginalised.sigma is not None:
        obs = obs | {"mask": obs["mask"] & ~marginalised.at(None)[0].seen[0]}
    penalty = np.asarray(model.params.get("poly_regularization", 0.0), dtype=float)
    penalty = np.broadcast_to(penalty**2 * np.any(penalty > 0.0), (order + 1,))
    return Polynomial(obs, order, penalty)


@dataclass(frozen=True)
class SpectrumLikelihood:
    """Log likelihood (n,) of vectors (n, ndim): spectrum and photometry."""

    predicted: SpectrumFluxes
    photometry: object
    pixels: object
    mask: np.ndarray | None

    def light(self, theta):
        """See `SpectrumFluxes.light`."""
        return self.predicted.light(theta)

    def brightness(self):
        """As `prospect_emu.fit.likelihood.brightness`, for `light`."""
        weight, norm = np.zeros(len(self.predicted.compiled.filters)), 0.0
        bands, samples, _ = self.predicted.parts
        if self.photometry is not None:
            weight[bands], norm = brightness(self.photometry)
        if self.predicted.calibration is None:
            of_pixels, more = brightness(self.pixels)
            alone = self.predicted.pixels_of_samples()
            weight[samples] = (alone if self.mask is None else alone[:, self.mask]) @ of_pixels
            norm += more
        return weight, norm

    def of_light(self, light, theta):
        """Log likelihood (n,) of what `light` gives, which is overwritten."""
        lnl = np.empty(len(theta))
        for i in range(0, len(theta), _CHUNK):
            at = slice(i, i + _CHUNK)
            lnl[at] = self._rows(light[at], theta[at])
        return lnl

    def _rows(self, light, theta):
        maggies, spectrum, penalty = self.predicted.of_light(light, theta)
        impossible = np.isnan(spectrum[:, 0])
        if self.mask is not None:
            spectrum = spectrum[:, self.mask]
        lnl = self.pixels(spectrum, theta)
        if self.photometry is not None:
            lnl += self.photometry(maggies, theta)
        lnl += penalty
        lnl[impossible] = IMPOSSIBLE
        return lnl


def compile_spectrum(model, data, sps):
    """Predictions and likelihood of a spectrum, with photometry if there is any.

    Parameters
    ----------
    model : prospect.models.SpecModel
    data : Observed
        With plain arrays, as `BatchedPosterior` makes them.
    sps : EmulatorSPS

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
    obs = Observed(data, data.native, data.sets, data.spectral)
    mask = obs["mask"]
    used: set = set()
    photometry, bands = None, np.zeros(0, dtype=bool)
    _refuse(model, sps)
    if obs.get("maggies") is not None:
        phot = obs["maggies"], obs["maggies_unc"], obs["phot_mask"]
        bands = phot[-1]
        photometry, _ = compile_likelihood(model, obs, phot)
    else:
        obs |= {"filters": None, "maggies": None}
    obs = adapter.prepared(obs)
    flux, unc = obs["spectrum"][mask], obs["unc"][mask]
    terms = noise_terms(model, data.spectral, {"unc": unc, "flux": flux}, used)
    outliers = outlier_terms(model, data.spectral, used)
    if terms or outliers:
        pixels = Independent(flux, unc, np.zeros(flux.size, dtype=bool), terms, outliers)
    else:
        pixels = Gaussian(flux, unc)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The compiled fluxes are off")
        fluxes = SpectrumFluxes(model, obs, bands, sps, terms)
    return fluxes, SpectrumLikelihood(fluxes, photometry, pixels, None if mask.all() else mask)


def _refuse(model, sps):
    kind = type(model)
    if not isinstance(sps, ExactBasis) or sps.has_own_spectra:
        raise ModelMismatchError(f"spectra are compiled with EmulatorSPS(), not {sps!r}")
    if not isinstance(model, adapter.SpecModel):
        raise ModelMismatchError(f"the spectrum of a {kind.__name__} is not compiled")
    own = adapter.SpecModel.spec_calibration, adapter.PolySpecModel.spec_calibration
    if (
        kind.predict_spec is not adapter.SpecModel.predict_spec
        or kind.predict is not adapter.SpecModel.predict
        or kind.spec_calibration not in own
    ):
        raise ModelMismatchError(f"the spectrum of a {kind.__name__} is not compiled")
