"""From observed dust emission back to starlight and grain sizes.

`posterior` is nested sampling through the forward emulator, which shows what the data leave
open; `best_fit` is least squares. Priors are uniform in the logarithms over the training box.
`dust_network` is faster and coarser.
"""

from dataclasses import dataclass, replace

import numpy as np

from ..errors import DataError
from ..sampling.nested import NestedSettings, run_nested
from ..sps.constants import find_cell
from .dust_emulator import LN10, DustEmulator

# The emulator's errors at neighbouring wavelengths go together. Of emulators that do not say
# how, a spectrum is taken to hold this many independent ones.
_INDEPENDENT = 20
# What the modes of its errors leave goes together over still longer stretches: with so
# many independent parts, 92 to 93 % of noise-free spectra lie within their 95 % intervals
# (docs/dust.md).
_REST_INDEPENDENT = 5
SETTINGS = NestedSettings(
    nlive_init=400,
    dlogz_init=0.05,
    target_n_effective=1500,
    walks=20,
    update_interval=400,
    # Judged by coverage of mocks (docs/dust.md): one run, whatever its stated error of means.
    moves="differences",
    forget=None,
    max_runs=1,
    max_error=10.0,
)


@dataclass(frozen=True)
class Observation:
    """Data ready for inversion.

    Attributes
    ----------
    emulator : DustEmulator
        Restricted to the data's bands.
    values, errors : ndarray, shape (n,)
        Positive or not; errors include those of the emulator that are independent.
    wavelengths : ndarray, shape (n,), or None
        Of a spectrum, micron; None for bands.
    free_mass : bool
        Whether the dust mass is unknown: then only the shape counts.
    modes : ndarray, shape (k, n), or None
        The emulator's errors that go together, in the unit of the values: the covariance of
        the data is ``diag(errors**2) + modes.T @ modes``.
    """

    emulator: DustEmulator
    values: np.ndarray
    errors: np.ndarray
    wavelengths: np.ndarray | None
    free_mass: bool
    modes: np.ndarray | None = None

    def __post_init__(self):
        common = None
        if self.modes is not None:
            _, s, v = np.linalg.svd(self.modes / self.errors, full_matrices=False)
            common = v, 1.0 - 1.0 / np.sqrt(1.0 + s**2)
        object.__setattr__(self, "_common", common)

    def whitened(self, values):
        """Values (..., n) in units of their errors, rotated so that these are independent."""
        z = values / self.errors
        if self._common is None:
            return z
        v, shrink = self._common
        return z - ((z @ v.T) * shrink) @ v

    def ln_model(self, theta):
        """ln of the model at log10 parameters (n, 3), shape (n, ndata)."""
        if self.wavelengths is None:
            return self.emulator.ln_photometry(theta)
        ln = self.emulator.ln_spectrum(theta)
        x, at = np.log(self.emulator.wavelengths), np.log(self.wavelengths)
        i, f = find_cell(x, at)
        return (1.0 - f) * ln[:, i] + f * ln[:, i + 1]

    def log_likelihood(self, theta):
        """ln likelihood (n,) at log10 parameters (n, 3).

        Gaussian errors; a free mass is integrated over a prior flat in its logarithm, by
        Laplace's method around its best value.
        """
        model = self.whitened(np.exp(self.ln_model(theta)))
        data = self.whitened(self.values)
        if not self.free_mass:
            return -0.5 * ((model - data) ** 2).sum(axis=1)
        # Powers of ten away from one only lose digits.
        scale = np.exp(self._offset)
        model *= scale
        mm, md = (model**2).sum(axis=1), model @ data
        # Where data and model have nothing in common: a thousandth of the mass's own error.
        mass = np.maximum(md, 1e-3 * np.sqrt(mm)) / mm
        chi2 = (data**2).sum() - 2.0 * mass * md + mass**2 * mm
        return -0.5 * chi2 - np.log(mass * np.sqrt(mm))

    @property
    def _offset(self):
        # Of a mass that is free: the data's own unit.
        return np.log(np.abs(self.values).max())

    def log_mass(self, theta):
        """ln of the best factor on the model at log10 parameters (n, 3), shape (n,)."""
        model = self.whitened(np.exp(self.ln_model(theta) + self._offset))
        mass = (model @ self.whitened(self.values)) / (model**2).sum(axis=1)
        return np.log(np.maximum(mass, 1e-300)) + self._offset


def observe(emulator, values, errors, bands=None, wavelengths=None, free_mass=False):
    """Check data and prepare them for inversion.

    Parameters
    ----------
    emulator : DustEmulator
    values, errors : array_like, shape (n,)
        Emission in W/Hz/kg, or in any unit of L_nu or F_nu where `free_mass`, and its
        standard deviation, 0 or more.
    bands : sequence of str, optional
        Names of n bands; give these or `wavelengths`.
    wavelengths : array_like, shape (n,), optional
        micron.
    free_mass : bool
        The dust mass (or distance) is unknown.

    Returns
    -------
    Observation

    Raises
    ------
    DataError, FilterError, RangeError
    """
    values, errors = np.asarray(values, dtype=float), np.asarray(errors, dtype=float)
    if (bands is None) == (wavelengths is None):
        raise DataError("Give the bands of the data, or their wavelengths, and not both.")
    n = len(bands) if bands is not None else np.size(wavelengths)
    if values.shape != (n,) or errors.shape != (n,) or n == 0:
        raise DataError(
            f"An inversion needs one value and one error for each of its {n} points; got shapes "
            f"{values.shape} and {errors.shape}."
        )
    if not (np.isfinite(values).all() and np.isfinite(errors).all() and (errors >= 0).all()):
        raise DataError("Values must be finite, and errors finite and not negative.")
    if not (values > 0).any():
        raise DataError("No value is positive; check the unit and the columns.")
    if bands is not None:
        emulator = emulator.select(bands)
        own, where, modes = emulator.band_error, None, None
    else:
        where = emulator.check_wavelengths(wavelengths)
        own, modes = _spectrum_errors(emulator, where, values)
    # An error floor of the emulator's own: no data are known better than the model.
    own = np.maximum(own, 1e-4) * np.abs(values)
    total = np.hypot(errors, np.maximum(own, 1e-9 * np.abs(values).max()))
    return Observation(emulator, values, total, where, bool(free_mass), modes)


def _spectrum_errors(emulator, where, values):
    """Independent fractional errors (n,) and common ones (k, n) of an emulator's spectrum."""
    at, x = np.log(where), np.log(emulator.wavelengths)
    own = np.interp(at, x, emulator.spectrum_error)
    if emulator.error_modes is None:
        return own * np.sqrt(max(at.size / _INDEPENDENT, 1.0)), None
    modes = np.array([np.interp(at, x, row) for row in emulator.error_modes])
    rest = np.sqrt(np.maximum(own**2 - (modes**2).sum(axis=0), 0.0))
    rest *= np.sqrt(max(at.size / _REST_INDEPENDENT, 1.0))
    return rest, modes * np.abs(values)


@dataclass(frozen=True)
class DustPosterior:
    """What data say about the dust.

    Attributes
    ----------
    samples : ndarray, shape (n, 3)
        Equally weighted draws of log10 U, log10 tau/yr and log10 a_min/nm.
    log_likelihood : ndarray, shape (n,)
    best : ndarray, shape (3,)
        The most likely parameters, polished by least squares.
    chi2 : float
        At `best`.
    logz, logz_err : float
    log_mass : ndarray, shape (n,)
        log10 of the factor from W/Hz/kg to the data, for a free mass; else zero.
    best_log_mass : float
        At `best`.
    status : str
        "converged" unless a budget ended the run.
    """

    samples: np.ndarray
    log_likelihood: np.ndarray
    best: np.ndarray
    chi2: float
    logz: float
    logz_err: float
    log_mass: np.ndarray
    best_log_mass: float
    status: str

    def quantiles(self, q=(0.025, 0.16, 0.5, 0.84, 0.975)):
        """Quantiles of the parameters in their own units, shape (len(q), 3)."""
        return 10.0 ** np.quantile(self.samples, q, axis=0)

    @property
    def correlation(self):
        """Correlation matrix of the logarithms, (3, 3): what the data cannot tell apart."""
        return np.corrcoef(self.samples, rowvar=False)


def posterior(observation, settings=SETTINGS, seed=0, progress=False, max_seconds=None):
    """Sample the posterior by nested sampling through the forward emulator.

    Parameters
    ----------
    observation : Observation
    settings : NestedSettings
    seed : int
    progress : bool
    max_seconds : float, optional

    Returns
    -------
    DustPosterior
    """
    lo, hi = observation.emulator.bounds.T
    results = run_nested(
        lambda u: lo + (hi - lo) * u, observation.log_likelihood, 3, settings, seed=seed,
        progress=progress, max_seconds=max_seconds,
    )  # fmt: skip
    weights = np.exp(results.logwt - results.logz[-1])
    rng = np.random.default_rng(seed)
    n = min(settings.target_n_effective, len(weights))
    # Systematic resampling: one uniform offset, evenly spaced quantiles.
    edges = np.cumsum(weights / weights.sum())
    picks = np.searchsorted(edges, (rng.random() + np.arange(n)) / n).clip(0, len(weights) - 1)
    samples, logl = results.samples[picks], results.logl[picks]
    best = best_fit(observation, results.samples[np.argmax(results.logl)])
    mass, best_mass = np.zeros(n), 0.0
    if observation.free_mass:
        mass = observation.log_mass(samples) / LN10
        best_mass = float(observation.log_mass(best[None])[0] / LN10)
    return DustPosterior(
        samples, logl, best, _chi2(observation, best), float(results.logz[-1]),
        float(results.logzerr[-1]), mass, best_mass, results.status,
    )  # fmt: skip


def _residuals(observation, theta):
    ln = observation.ln_model(theta[None])
    if observation.free_mass:
        ln = ln + observation.log_mass(theta[None])[:, None]
    return observation.whitened(np.exp(ln) - observation.values)[0]


def _chi2(observation, theta):
    return float((_residuals(observation, theta) ** 2).sum())


def starting_points(observation, n=4, scan=6000):
    """Parameters to start least squares from, of different tau, shape (m, 3) with m <= n.

    The best of `scan` random points of the box, by shape and size to a tenth: precise data
    would leave all but one of them out.
    """
    lo, hi = observation.emulator.bounds.T
    points = np.random.default_rng(0).uniform(lo, hi, (scan, 3))
    values = observation.values
    errors = np.hypot(observation.errors, 0.1 * np.abs(values))
    rough = replace(observation, errors=errors, modes=None)
    found: list = []
    for k in np.argsort(-rough.log_likelihood(points)):
        if all(abs(points[k, 1] - other[1]) > 0.25 for other in found):
            found.append(points[k])
        if len(found) == n:
            break
    return np.array(found)


def best_fit(observation, starts=None):
    """The most likely log10 parameters, (3,): least squares from each of `starts` (m, 3).

    Between the ages of the stellar table the emission bends, so that one start may end in a
    side minimum of tau; give several. Default: `starting_points`.
    """
    from scipy.optimize import least_squares

    lo, hi = observation.emulator.bounds.T
    starts = starting_points(observation) if starts is None else starts
    found = []
    for start in np.atleast_2d(starts):
        fit = least_squares(
            lambda t: _residuals(observation, np.clip(t, lo, hi)),
            np.clip(start, lo + 1e-9, hi - 1e-9), bounds=(lo, hi), diff_step=1e-4, x_scale=hi - lo,
        )  # fmt: skip
        found += [(fit.cost, fit.x), (0.5 * _chi2(observation, start), np.asarray(start))]
    return min(found, key=lambda pair: pair[0])[1]
