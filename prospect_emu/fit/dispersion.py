"""Dispersions of a model's spectrum and lines, and what smooths as the model does."""

from dataclasses import dataclass

import numpy as np

from ..cosmology import LIGHTSPEED_KMS
from ..errors import ModelMismatchError
from ..observe.smoothing import FFTSmoothing, MatrixSmoothing, gaussian_matrix, smoothing_matrix
from .noise_terms import Scalar


def scalar(model, name, default=None):
    """A fixed parameter of one value."""
    return float(np.squeeze(model.params.get(name, default)))


def dispersion(model, name, default):
    """A dispersion as a function of theta, and its largest value."""
    span = model.theta_index.get(name)
    if span is None:
        value = np.asarray(model.params.get(name, default), dtype=float)
        return Scalar(None, np.squeeze(value)), value
    if span.stop - span.start > 1:
        raise ModelMismatchError(f"{name} is free with several values")
    low, high = model.config_dict[name]["prior"].bounds()
    if not (np.all(low > 0.0) and np.all(np.isfinite(high))):
        raise ModelMismatchError(f"the prior of {name} has no bounds above zero")
    low, high = float(np.squeeze(low)), float(np.squeeze(high))
    return Bounded(span.start, low, high), high


@dataclass(frozen=True)
class Bounded:
    """A free dispersion within its prior."""

    column: int
    low: float
    high: float

    def __call__(self, theta):
        """Shape (n, 1)."""
        return np.clip(theta[:, self.column, None], self.low, self.high)

    def outside(self, theta):
        """Rows (n,) beyond the prior."""
        value = theta[:, self.column]
        return (value < self.low) | (value > self.high)


def smoothing(model, wave, pixels, scales):
    """Dispersion as a function of theta, and what smooths and samples as the model does.

    Parameters
    ----------
    model : prospect.models.SpecModel
        Which has predicted the pixels at some redshift.
    wave : ndarray, shape (nwave,)
        At rest.
    pixels : ndarray, shape (npix,)
        As observed.
    scales : ndarray
        1 + z, or its lowest and highest value.
    """
    p = model.params
    kind = str(np.squeeze(p.get("smoothtype", "vel")))
    direct = not np.all(p.get("fftsmooth", True))
    if scales.size > 1 or "sigma_smooth" in model.theta_index:
        if direct or kind not in ("vel", "lambda", "lsf"):
            raise ModelMismatchError(
                "redshift or sigma_smooth varies, and fftsmooth is off or smoothtype is R"
            )
        return _by_fft(model, kind, wave, pixels, scales)
    wave = wave * scales[0]
    if direct and kind in ("vel", "R", "lambda") and not scalar(model, "inres", 0.0):
        sigma = scalar(model, "sigma_smooth", 100.0)
        if kind == "R":
            sigma = 1.0 / sigma
        elif kind == "vel":
            sigma = sigma / LIGHTSPEED_KMS
        if sigma > 0.0:
            node, matrix = gaussian_matrix(wave, pixels, sigma, kind)
            trial = 0.5 + np.random.default_rng(1).random(wave.size)
            if np.allclose(matrix @ trial[node], model.smoothspec(wave, trial), rtol=1e-8):
                return Scalar(None), MatrixSmoothing(wave, node, matrix)
    matrix = smoothing_matrix(lambda light: model.smoothspec(wave, light), wave, pixels.size)
    return Scalar(None), MatrixSmoothing(wave, *matrix)


def _by_fft(model, kind, wave, pixels, scales):
    inres, lsf = scalar(model, "inres", 0.0), None
    now = 1.0
    if kind == "lsf":
        lsf = np.asarray(model.params.get("sigma_smooth", 0.0), dtype=float)
        if lsf.shape != wave.shape or "sigma_smooth" in model.theta_index:
            raise ModelMismatchError("sigma_smooth has not one fixed dispersion per sample")
        sigma, largest = Scalar(None, now), now
    else:
        sigma, largest = dispersion(model, "sigma_smooth", 100.0)
        now = scalar(model, "sigma_smooth", 100.0)
    fast = FFTSmoothing(wave, pixels, kind, np.max(largest), scales, inres, lsf)
    trial = 0.5 + np.random.default_rng(1).random(wave.size)
    for scale in scales:
        got = fast(trial[None, fast.node], now, scale)[0]
        if not np.allclose(got, model.smoothspec(wave * scale, trial), rtol=1e-8):
            raise ModelMismatchError("the model smooths a spectrum in a way of its own")
    return sigma, fast
