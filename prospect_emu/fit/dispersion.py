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


def smoothing(model, wave, pixels):
    """Dispersion as a function of theta, and what smooths and samples as the model does."""
    p = model.params
    kind = str(np.squeeze(p.get("smoothtype", "vel")))
    direct, inres = not np.all(p.get("fftsmooth", True)), scalar(model, "inres", 0.0)
    free = "sigma_smooth" in model.theta_index

    def smooth(spectrum):
        return model.smoothspec(wave, spectrum)

    if kind in ("vel", "R", "lambda") and not direct and not (kind == "R" and inres):
        sigma, largest = dispersion(model, "sigma_smooth", 100.0)
        if kind == "R":
            if free:
                raise ModelMismatchError("sigma_smooth is free as a resolving power")
            sigma = Scalar(None, LIGHTSPEED_KMS / sigma.value)
            largest = sigma.value
        fast = FFTSmoothing(wave, pixels, kind == "lambda", np.max(largest), inres)
        trial = 0.5 + np.random.default_rng(1).random(wave.size)
        now = largest if kind == "R" else scalar(model, "sigma_smooth", 100.0)
        got = fast(trial[None, fast.node], np.array([now]))[0]
        if now > inres and np.allclose(got, smooth(trial), rtol=1e-8):
            return sigma, fast
    if free:
        raise ModelMismatchError("sigma_smooth varies, and fftsmooth is off or smoothtype is lsf")
    if direct and kind in ("vel", "R", "lambda") and not inres:
        sigma = scalar(model, "sigma_smooth", 100.0)
        if kind == "R":
            sigma = 1.0 / sigma
        elif kind == "vel":
            sigma = sigma / LIGHTSPEED_KMS
        if sigma > 0.0:
            node, matrix = gaussian_matrix(wave, pixels, sigma, kind)
            trial = 0.5 + np.random.default_rng(1).random(wave.size)
            if np.allclose(matrix @ trial[node], smooth(trial), rtol=1e-8):
                return Scalar(None), MatrixSmoothing(wave, node, matrix)
    return Scalar(None), MatrixSmoothing(wave, *smoothing_matrix(smooth, wave, pixels.size))
