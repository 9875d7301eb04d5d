"""What residuals of an emulator say: tails, dependence on parameters, and what is good enough.

Residuals ``r`` are those of `evaluate.residuals`: emulator minus FSPS in arsinh
magnitudes, shape (n, nband). Where they are called bright, FSPS's own flux is
brighter than AB `BRIGHT`: fainter than that nothing is observed, and arsinh
magnitudes damp errors.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from prospect_emu.networks.vector import PARAMETERS, RATIO_NAMES
from prospect_emu.observe.magnitudes import A, maggies_to_arsinh

BRIGHT = 30.0
# Largest |logsfr_ratio| of a history: where bins of `history_std` begin and end.
HISTORY_EDGES = (0.0, 1.0, 2.0, 3.0, 5.0)
# What `error_needed` asks of an emulator: the first adds 5 % to an error bar, and the
# second leaves few galaxies whose photometry is wrong by more than it was measured to.
STD_SHARE, ERRORS_WITHIN = 1.0 / 3.0, 0.99
# Fewer samples than this say nothing about a standard deviation (1 / sqrt(2 n) = 13 %).
LEAST = 30


def is_bright(maggies):
    """Whether fluxes are brighter than AB `BRIGHT`, shape of `maggies`."""
    return maggies_to_arsinh(maggies) < BRIGHT


def share_within(r, bright, limit=0.05):
    """Share of the bright residuals whose size is below `limit` (mag); nan without any."""
    return float((np.abs(r[bright]) < limit).mean()) if bright.any() else np.nan


def scaled(r):
    """Sizes of residuals in standard deviations of their band, shape (n, nband).

    A band without any error at all counts as zero.
    """
    sigma = r.std(axis=0, ddof=1)
    return np.abs(r) / np.where(sigma > 0.0, sigma, 1.0)


def reach(r, levels=(1, 2, 3, 4)):
    """How many standard deviations hold what so many hold of a Gaussian, all bands together.

    `levels` themselves if the residuals are Gaussian; larger at 3 and 4 where they
    have tails.
    """
    return np.quantile(scaled(r), 1.0 - 2.0 * norm.sf(np.asarray(levels)))


def beyond(x, levels):
    """Share of `x` above each of `levels`, shape of `levels`."""
    x = np.sort(np.ravel(x))
    return 1.0 - np.searchsorted(x, levels, side="right") / x.size


def independent_bands(r):
    """Number of independent bands with as much information as the correlated ones.

    The participation ratio of the eigenvalues of the correlation matrix: the number
    of bands if none is correlated, one if all are alike.
    """
    eig = np.linalg.eigvalsh(correlation(r))
    return float(eig.sum() ** 2 / (eig**2).sum())


def correlation(r):
    """Correlation matrix of residuals, (nband, nband); a band without errors has none."""
    with np.errstate(invalid="ignore"):
        out = np.nan_to_num(np.atleast_2d(np.corrcoef(r, rowvar=False)))
    np.fill_diagonal(out, 1.0)
    return out


def binned_std(x, r, edges):
    """Standard deviation of the residuals of samples whose `x` lies in each bin.

    Parameters
    ----------
    x : ndarray, shape (n,)
    r : ndarray, shape (n, nband)
    edges : array_like, shape (nbin + 1,)
        The last bin includes its end.

    Returns
    -------
    count : ndarray of int, shape (nbin,)
    std : ndarray, shape (nbin, nband)
        nan in bins with fewer than `LEAST` samples.
    """
    edges = np.asarray(edges, dtype=float)
    nbin = edges.size - 1
    which = np.where(x == edges[-1], nbin - 1, np.searchsorted(edges, x, side="right") - 1)
    count = np.array([(which == i).sum() for i in range(nbin)])
    std = np.full((nbin, r.shape[1]), np.nan)
    for i in np.flatnonzero(count >= LEAST):
        std[i] = r[which == i].std(axis=0, ddof=1)
    return count, std


def history_std(theta, r):
    """`binned_std` over the largest |logsfr_ratio| of each sample, in `HISTORY_EDGES`."""
    columns = [PARAMETERS.index(name) for name in RATIO_NAMES]
    return binned_std(np.abs(theta[:, columns]).max(axis=1), r, HISTORY_EDGES)


@dataclass(frozen=True)
class Needed:
    """For which observational errors an emulator is good enough.

    Attributes
    ----------
    std, tail : float
        Smallest relative flux error that its standard deviations, and its large
        errors, allow.
    """

    std: float
    tail: float

    @property
    def error(self):
        """Smallest relative flux error for which the emulator is good enough."""
        return max(self.std, self.tail)


def error_needed(r, bright):
    """Smallest relative flux error for which an emulator is good enough.

    It is if (1) in every band the standard deviation of its residuals is at most
    `STD_SHARE` of the observational error, and (2) `ERRORS_WITHIN` of its bright
    residuals, all bands together, are at most that error.

    Parameters
    ----------
    r : ndarray, shape (n, nband)
    bright : ndarray of bool, shape (n, nband)
        Of `is_bright`; without any, (2) asks nothing.

    Returns
    -------
    Needed
    """
    # A relative error of a bright flux is A times as much in magnitudes.
    tail = np.quantile(np.abs(r[bright]), ERRORS_WITHIN) if bright.any() else 0.0
    return Needed(float(r.std(axis=0, ddof=1).max() / STD_SHARE / A), float(tail / A))


@dataclass(frozen=True)
class PowerLaw:
    """``y = at_100 (width / 100)^exponent``.

    Attributes
    ----------
    at_100, exponent : float
    error : float
        Standard error of the exponent from the scatter; nan with two points.
    """

    at_100: float
    exponent: float
    error: float

    def __call__(self, width):
        return self.at_100 * (np.asarray(width) / 100.0) ** self.exponent

    def width(self, y):
        """Where the law reaches `y`; nan if that is at no finite width."""
        with np.errstate(all="ignore"):
            width = 100.0 * (y / self.at_100) ** (1.0 / np.float64(self.exponent))
        return float(width) if np.isfinite(width) else np.nan


def power_law(width, y):
    """Least-squares power law through `y` against `width`.

    Returns
    -------
    PowerLaw, or None with fewer than two different widths or a `y` that is not positive
    """
    if not np.all(np.asarray(y) > 0.0):
        return None
    x, ln = np.log(np.asarray(width, dtype=float) / 100.0), np.log(np.asarray(y, dtype=float))
    if np.unique(x).size < 2:
        return None
    slope, level = np.polyfit(x, ln, 1)
    error = np.nan
    if x.size > 2:
        scatter = ((ln - level - slope * x) ** 2).sum() / (x.size - 2)
        error = np.sqrt(scatter / ((x - x.mean()) ** 2).sum())
    return PowerLaw(float(np.exp(level)), float(slope), float(error))


def smallest_width(widths, needed, floor):
    """The smallest width whose emulator is good enough for errors of `floor`.

    Parameters
    ----------
    widths : sequence of int or None
        None: no network, which is left out.
    needed : sequence of float
        `Needed.error` of each.
    floor : float
        Relative flux error.

    Returns
    -------
    int or None
    """
    good = [w for w, e in zip(widths, needed, strict=True) if w is not None and e <= floor]
    return min(good, default=None)
