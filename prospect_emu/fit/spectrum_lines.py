"""Emission lines that a model adds to a spectrum, or fits there and marginalises.

What Prospector's `SpecModel` does (`cache_eline_parameters`, `get_eline_gaussians`,
`fit_el`), for batches: at one width, with all that follows from it computed once, or at a
width of each row's own (``eline_sigma`` free).
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse.csgraph import connected_components

from ..cosmology import LIGHTSPEED_KMS
from ..errors import ModelMismatchError

_LN_2PI = float(np.log(2.0 * np.pi))
# Prospector's: dispersions from a line within which pixels belong to it.
NSIGMA = 5.0
# Condition number of the normal matrix of unit diagonal at which rounding is 1e-4.
_WORST = 1e12
# Beyond this many sigma its Gaussian is zero in double precision.
_FAR = 8.6


class Profiles:
    """Gaussians of unit flux in the pixels of some lines.

    Parameters
    ----------
    pixels : ndarray, shape (npix,)
        Wavelengths, Angstrom.
    mask : ndarray of bool, shape (npix,)
        Pixels that are used; lines are added to no others.
    centre : ndarray, shape (k,)
        Observed wavelengths of the lines, increasing; `at` may be given others.
    """

    def __init__(self, pixels, mask, centre):
        self.pixels, self.mask, self.centre = pixels, mask, centre
        # Prospector integrates over a frequency of its own.
        self._x = 3e18 / pixels
        self._count = np.concatenate([[0], np.cumsum(mask)])

    def at(self, sigma, centre=None):
        """The lines at dispersions (n or 1, k or 1) in km/s, and centres (n, k), as `Lines`."""
        centre = self.centre[None] if centre is None else centre
        reach = NSIGMA * centre / LIGHTSPEED_KMS * sigma
        # Strictly within.
        first = np.searchsorted(self.pixels, centre - reach, side="right")
        last = np.searchsorted(self.pixels, centre + reach, side="left")
        valid = self._count[last] > self._count[first]
        n, npix = len(reach), self.pixels.size
        edges = np.zeros((n, npix + 1), dtype=int)
        rows = np.broadcast_to(np.arange(n)[:, None], valid.shape)
        np.add.at(edges, (rows, first), valid)
        np.add.at(edges, (rows, last), -1 * valid)
        seen = (np.cumsum(edges, axis=1)[:, :-1] > 0) & self.mask
        return Lines(self, sigma, seen, valid, centre)


class Lines:
    """Lines at each row's dispersion.

    Attributes
    ----------
    seen : ndarray of bool, shape (n, npix)
        Pixels with lines.
    valid : ndarray of bool, shape (n, k)
        Lines with pixels.
    profiles : list of tuple (slice, ndarray)
        Of each line: pixels, and its flux density there, (n, width).
    """

    def __init__(self, of, sigma, seen, valid, centre):
        self.seen, self.valid, self._centre = seen, valid, centre
        npix = of.pixels.size
        place = np.arange(npix)
        # The neighbours of each pixel among those seen, or itself at the ends.
        before = np.maximum.accumulate(np.where(seen, place, -1), axis=1)
        after = np.minimum.accumulate(np.where(seen, place, npix)[:, ::-1], axis=1)[:, ::-1]
        self._before, self._after, self._pixels = before, after, of.pixels
        left = np.concatenate([np.full((len(seen), 1), -1), before[:, :-1]], axis=1)
        right = np.concatenate([after[:, 1:], np.full((len(seen), 1), npix)], axis=1)
        left, right = np.where(left < 0, place, left), np.where(right == npix, place, right)
        trapezoid = 0.5 * seen * (of._x[left] - of._x[right])
        self.profiles = []
        sigma = np.broadcast_to(sigma, valid.shape)
        far = 1.0 + _FAR / LIGHTSPEED_KMS * np.nanmax(sigma, axis=0)
        ends = np.array([centre.min(axis=0) * (2.0 - far), centre.max(axis=0) * far])
        for j, window in enumerate(np.searchsorted(of.pixels, ends).T):
            at = slice(*window)
            dv = LIGHTSPEED_KMS * (of.pixels[at] / centre[:, j, None] - 1.0)
            shape = np.exp(-(dv**2) / (2.0 * sigma[:, j, None] ** 2)) * of.pixels[at] ** 2
            total = np.einsum("np,np->n", shape, trapezoid[:, at])
            total[~valid[:, j]] = 1.0
            shape *= seen[:, at] / total[:, None] * valid[:, j, None]
            self.profiles.append((at, shape))

    def add(self, flux, spectrum):
        """Add lines of fluxes (n, k) to spectra (n, npix)."""
        for j, (at, shape) in enumerate(self.profiles):
            spectrum[:, at] += flux[:, j, None] * shape

    def add_each(self, matrix):
        """Write each line of the first row into a row of its own, (k, npix)."""
        for j, (at, shape) in enumerate(self.profiles):
            matrix[j, at] = shape[0]

    def project(self, values):
        """Sums (n, k) over pixels of values (n, npix) and each line."""
        some = [np.einsum("np,np->n", *np.broadcast_arrays(values[:, at], s))
                for at, s in self.profiles]  # fmt: skip
        return np.stack(some, axis=1)

    def normal(self, precision):
        """Normal matrices (n, k, k) of the lines' amplitudes; one not valid is like the others."""
        k = len(self.profiles)
        out = np.zeros((len(self.seen), k, k))
        for i, (a, left) in enumerate(self.profiles):
            weighted = left * precision[a]
            for j in range(i, k):
                b, right = self.profiles[j]
                start, stop = max(a.start, b.start), min(a.stop, b.stop)
                if j > i and start >= stop:
                    break
                out[:, i, j] = out[:, j, i] = np.einsum(
                    "np,np->n",
                    weighted[:, start - a.start : stop - a.start],
                    right[:, start - b.start : stop - b.start],
                )
        i = np.arange(k)
        largest = out[:, i, i].max(axis=1, keepdims=True)
        out[:, i, i] += ~self.valid * np.where(largest > 0.0, largest, 1.0)
        return out

    def read(self, values):
        """Values (n, npix) at the lines, (n, k), linearly between the pixels seen."""
        place = np.searchsorted(self._pixels, self._centre, side="right")
        npix = self._pixels.size
        row = np.arange(len(self.seen))[:, None]
        low = np.where(place > 0, self._before[row, np.maximum(place, 1) - 1], -1)
        high = np.where(place < npix, self._after[row, np.minimum(place, npix - 1)], npix)
        low, high = np.where(low < 0, high, low), np.where(high >= npix, low, high)
        # Lines without pixels are not asked for.
        low, high = np.clip(low, 0, npix - 1), np.clip(high, 0, npix - 1)
        gap = self._pixels[high] - self._pixels[low]
        f = np.where(gap > 0.0, (self._centre - self._pixels[low]) / np.where(gap > 0.0, gap, 1), 0)
        rows = np.arange(len(values))[:, None]
        low, high, f = (np.broadcast_to(x, (len(values), *x.shape[1:])) for x in (low, high, f))
        return (1.0 - f) * values[rows, low] + f * values[rows, high]


@dataclass
class Marginalised:
    """Amplitudes of lines, fitted to what the model leaves of a spectrum.

    Parameters
    ----------
    profiles : Profiles
    flux, unc : ndarray, shape (npix,)
        The data.
    prior_width : float or None
        ``eline_prior_width`` where ``use_eline_prior``: dispersion over expected flux.
    sigma : ndarray, shape (k,), or None
        Dispersions in km/s where they are fixed.
    largest : ndarray, shape (k,)
        Largest dispersions.
    centres : ndarray, shape (m, k)
        Where lines may lie; only where both width and centre are fixed is `sigma` given.
    """

    profiles: Profiles
    flux: np.ndarray
    unc: np.ndarray
    prior_width: float | None
    sigma: np.ndarray | None
    largest: np.ndarray
    centres: np.ndarray

    def __post_init__(self):
        with np.errstate(divide="ignore"):
            self._precision = np.where(self.profiles.mask, 1.0 / self.unc**2, 0.0)
        self._data = np.where(self.profiles.mask, self.flux, 0.0)
        wide = self.profiles.at(self.largest[None], self.centres)
        normal = wide.normal(self._precision)
        unit = np.sqrt(np.einsum("mjj->mj", normal))
        condition = np.linalg.cond(normal / (unit[:, :, None] * unit[:, None])).max()
        if not condition < _WORST:
            raise ModelMismatchError(
                "the spectrum does not tell some marginalised lines apart (condition number "
                f"{condition:.0e}), so that Prospector's ln P is dominated by rounding "
                "errors; name fewer in elines_to_fit"
            )
        count, label = connected_components((normal != 0.0).any(axis=0), directed=False)
        groups = [np.flatnonzero(label == i) for i in range(count)]
        single = [g for g in groups if g.size == 1]
        self._groups = [g for g in groups if g.size > 1]
        self._single = np.concatenate([*single, np.zeros(0, dtype=int)])
        self._fixed = None
        if self.sigma is not None:
            self._fixed = self._prepare(self.profiles.at(self.sigma[None]))

    def _prepare(self, lines):
        return lines, _covariances(lines.normal(self._precision), self._groups)

    def at(self, sigma, centre=None):
        """What follows from dispersions and centres of each row, or from the fixed ones."""
        return self._fixed or self._prepare(self.profiles.at(sigma, centre))

    def fit(self, prepared, spectrum, expected, calibration, variance):
        """Fit lines and add them.

        Parameters
        ----------
        prepared : tuple
            Of `at`.
        spectrum : ndarray, shape (n, npix)
            Without these lines, calibrated. The lines of highest likelihood are added.
        expected : ndarray, shape (n, k)
            Fluxes that the gas has.
        calibration : ndarray, shape (n, npix), or None
        variance : ndarray, shape (n,), or float
            What the square of `unc` is multiplied by.

        Returns
        -------
        flux : ndarray, shape (n, k)
            Fluxes of highest posterior probability, without calibration.
        penalty : ndarray, shape (n,)
            What the marginalisation adds to ln L.
        """
        lines, covariances = prepared
        factor = 1.0 if calibration is None else lines.read(calibration)
        mean = expected * factor
        right = lines.project((self._data - spectrum) * self._precision)
        hat, bar = np.empty_like(mean), np.empty_like(mean)
        variance = np.broadcast_to(np.asarray(variance, dtype=float), len(spectrum))
        penalty = np.zeros(len(spectrum))
        valid = np.broadcast_to(lines.valid, mean.shape)
        single, *groups = covariances
        parts = zip([self._single, *self._groups], [single, *groups], strict=True)
        for g, covariance in parts:
            if g.size == 0:
                continue
            alone = g is self._single
            solve = _one_by_one if alone else _jointly
            if alone:
                covariance = covariance[:, g]
                hat[:, g] = covariance * right[:, g]
            else:
                hat[:, g] = (covariance @ right[:, g, None])[:, :, 0]
            scaled = covariance * variance[(slice(None), *[None] * (covariance.ndim - 1))]
            bar[:, g], gain = solve(hat[:, g], mean[:, g], scaled, valid[:, g], self.prior_width)
            penalty += gain
        lines.add(hat, spectrum)
        return np.where(valid, bar / factor, expected), penalty


def _covariances(normal, groups):
    """Of the amplitudes: variances (n, k) as if each were alone, then a matrix of each group."""
    inverse = [np.linalg.pinv(normal[:, g[:, None], g]) for g in groups]
    return [1.0 / np.einsum("njj->nj", normal), *inverse]


def _one_by_one(hat, mean, variance, valid, width):
    """`_jointly` for lines that overlap with no other; variances (n, k)."""
    log = np.where(valid, np.log(variance), 0.0)
    if width is None:
        return hat, -0.5 * (valid * _LN_2PI + log).sum(axis=1)
    prior = (width * mean) ** 2 * valid
    both = variance + prior
    off = (hat - mean) * valid
    gain = -0.5 * (off**2 / both + np.where(valid, np.log(both), 0.0) - log).sum(axis=1)
    return hat - variance * off / both, gain


def _jointly(hat, mean, covariance, valid, width):
    """Amplitudes (n, k) of highest posterior probability, and the penalty (n,).

    With a prior the penalty is the logarithm of N(hat; mean, prior + covariance) over that of
    N(hat; hat, covariance). Without, Prospector takes the latter alone: the sign is opposite to
    that of a wide prior, which matters where widths or noise are free.
    """
    unit = np.sqrt(np.einsum("njj->nj", covariance))
    scaled = covariance / (unit[:, :, None] * unit[:, None])
    log = np.linalg.slogdet(scaled)[1]
    if width is None:
        gain = valid * _LN_2PI + 2.0 * np.where(valid, np.log(unit), 0.0)
        return hat, -0.5 * (gain.sum(axis=1) + log)
    prior = (width * mean / unit) ** 2 * valid
    i = np.arange(hat.shape[1])
    both = np.repeat(scaled, len(hat) // len(scaled), axis=0)
    both[:, i, i] += prior
    off = (hat - mean) / unit * valid
    x = np.linalg.solve(both, off[:, :, None])[:, :, 0]
    gain = -0.5 * ((off * x).sum(axis=1) + np.linalg.slogdet(both)[1] - log)
    return hat - unit * np.einsum("nij,nj->ni", np.broadcast_to(scaled, both.shape), x), gain
