"""Prospector's smoothing and resampling of a spectrum, for whole batches.

What `prospect.utils.smoothing` does at one resolution is linear in the samples of the
spectrum. By FFT (its default) it also costs little at a resolution of each row's own.
"""

import numpy as np
from scipy import fft, sparse

from ..cosmology import LIGHTSPEED_KMS

# Of the largest entry of a row (samples) or a column (lines): far below rounding of the data.
_NEGLIGIBLE = 1e-13
# Samples that are tried together for whether any pixel sees them.
_TRIED = 64
# Pixels in one dense product.
_BLOCK = 48
# Prospector's: dispersions by which the samples that are smoothed exceed the pixels.
_PAD = 20.0


def smoothing_matrix(smooth, wave, npix):
    """The matrix of a linear smoothing, from what it does to one sample at a time.

    Parameters
    ----------
    smooth : callable
        Spectrum (nwave,) to pixels (npix,), linear and the same at each call.
    wave : ndarray, shape (nwave,)
    npix : int

    Returns
    -------
    node : ndarray of int, shape (m,)
        Samples that any pixel sees.
    matrix : ndarray, shape (npix, m)
    """
    trial = 0.5 + np.random.default_rng(0).random(wave.size)
    seen = []
    for first in range(0, wave.size, _TRIED):
        block = np.zeros(wave.size)
        block[first : first + _TRIED] = trial[first : first + _TRIED]
        if np.any(smooth(block)):
            seen += range(first, min(first + _TRIED, wave.size))
    matrix, one = np.empty((npix, len(seen))), np.zeros(wave.size)
    for k, j in enumerate(seen):
        one[j] = 1.0
        matrix[:, k] = smooth(one)
        one[j] = 0.0
    largest = np.abs(matrix).max(axis=1, keepdims=True, initial=0.0)
    matrix[np.abs(matrix) < _NEGLIGIBLE * largest] = 0.0
    some = np.any(matrix != 0.0, axis=0)
    return np.array(seen, dtype=int)[some], matrix[:, some]


def gaussian_matrix(wave, outwave, sigma, kind, nsigma=10.0):
    """The matrix of Prospector's direct smoothing (``fftsmooth=False``).

    Each pixel is the trapezoid rule over the samples within `nsigma`, against a Gaussian,
    over that of the Gaussian alone (`prospect.utils.smoothing.smooth_vel`, `smooth_wave`).

    Parameters
    ----------
    wave : ndarray, shape (nwave,)
        Wavelengths of the samples as observed, Angstrom.
    outwave : ndarray, shape (npix,)
    sigma : float
        Dispersion: Angstrom, or of ln(lambda).
    kind : {"lambda", "vel"}

    Returns
    -------
    node : ndarray of int, shape (m,)
    matrix : ndarray, shape (npix, m)
    """
    at, pixels = (wave, outwave) if kind == "lambda" else (np.log(wave), np.log(outwave))
    first = np.searchsorted(at, pixels - nsigma * sigma, side="right")
    last = np.searchsorted(at, pixels + nsigma * sigma, side="left")
    low, high = first.min(), max(last.max(), first.min() + 1)
    matrix = np.zeros((pixels.size, high - low))
    for i, (a, b) in enumerate(zip(first, last, strict=True)):
        x = (at[a:b] - pixels[i]) / sigma
        half = 0.5 * np.diff(x)
        weight = np.zeros(x.size)
        weight[:-1] += half
        weight[1:] += half
        weight *= np.exp(-0.5 * x**2)
        total = weight.sum()
        matrix[i, a - low : b - low] = weight / total if total > 0.0 else np.nan
    return np.arange(low, high), matrix


class PixelOperator:
    """A band matrix: pixels from values at some wavelengths, by dense blocks.

    Parameters
    ----------
    at : ndarray, shape (m,)
        Wavelengths of the values.
    matrix : array_like or scipy.sparse matrix, shape (npix, m)
    """

    def __init__(self, at, matrix):
        # By wavelength, so that the operator is a band along the diagonal.
        order = np.argsort(at, kind="stable")
        self._order = None if np.array_equal(order, np.arange(order.size)) else order
        matrix = sparse.csr_array(matrix)[:, order]
        self.npix = matrix.shape[0]
        self._blocks = []
        for first in range(0, self.npix, _BLOCK):
            rows = slice(first, min(first + _BLOCK, self.npix))
            part = matrix[rows]
            if part.nnz:
                columns = slice(part.indices.min(), part.indices.max() + 1)
                block = np.ascontiguousarray(part[:, columns].toarray().T)
                self._blocks.append((rows, columns, block))

    def __call__(self, values, out=None):
        """Pixels (n, npix) of values (n, m), which are added to `out` where it is given."""
        if self._order is not None:
            values = values[:, self._order]
        new = out is None
        if new:
            out = np.zeros((len(values), self.npix))
        for rows, columns, block in self._blocks:
            if new:
                np.matmul(values[:, columns], block, out=out[:, rows])
            else:
                out[:, rows] += values[:, columns] @ block
        return out


class MatrixSmoothing:
    """Smoothing at one resolution by its matrix.

    Attributes
    ----------
    node : ndarray of int, shape (m,)
        Samples that it takes.
    """

    def __init__(self, wave, node, matrix):
        self.node, self._operator = node, PixelOperator(wave[node], matrix)

    def __call__(self, samples, sigma=None):
        """Pixels (n, npix) of samples (n, m)."""
        return self._operator(samples)


class FFTSmoothing:
    """Prospector's smoothing by FFT: `smooth_vel_fft` and `smooth_wave_fft`.

    Samples around the pixels are interpolated to an even grid, in ln(lambda) or lambda, of
    as many points as the next power of two; how many there are depends on the dispersion.

    Parameters
    ----------
    wave : ndarray, shape (nwave,)
        Wavelengths of the samples as observed, Angstrom.
    pixels : ndarray, shape (npix,)
    linear : bool
        Even in wavelength (``smoothtype="lambda"``, dispersions in Angstrom) instead of
        velocity (km/s).
    largest : float
        Largest dispersion.
    inres : float
        Dispersion of the samples.

    Attributes
    ----------
    node : ndarray of int, shape (m,)
    """

    def __init__(self, wave, pixels, linear, largest, inres=0.0):
        self._pixels, self._linear, self._inres = pixels, linear, inres
        self._samples, self._grids = wave, {}
        first, last = self._ends(np.array([largest]))
        self.node = np.arange(first[0], last[0])
        self._samples = wave[self.node]

    def __call__(self, samples, sigma):
        """Pixels (n, npix) of samples (n, m), at dispersions (1 or n,)."""
        first, last = self._ends(sigma)
        width = np.sqrt(sigma**2 - self._inres**2)
        keys = np.stack([first, last, width <= 0.0], axis=1)
        if (keys == keys[0]).all():
            return self._smooth(tuple(keys[0]), samples, width)
        out = np.empty((len(samples), self._pixels.size))
        for key in np.unique(keys, axis=0):
            rows = (keys == key).all(axis=1)
            out[rows] = self._smooth(tuple(key), samples[rows], width[rows])
        return out

    def _ends(self, sigma):
        """Of the samples that are smoothed."""
        low, high = self._pixels.min(), self._pixels.max()
        pad = _PAD * sigma
        if self._linear:
            low, high = low - pad, high + pad
        else:
            # Here as there: the largest by a factor.
            low = low * (1.0 - pad / LIGHTSPEED_KMS)
            high = high * (1.0 + pad / LIGHTSPEED_KMS)
        return (
            np.searchsorted(self._samples, low, side="right"),
            np.searchsorted(self._samples, high, side="left"),
        )

    def _smooth(self, key, samples, width):
        if key not in self._grids:
            self._grids[key] = self._grid(*key)
        index, fraction, step, operator = self._grids[key]
        if step is None:
            return operator(samples[:, index])
        grid = samples[:, index]
        grid += fraction * (samples[:, index + 1] - grid)
        frequency = fft.rfftfreq(index.size, d=step)
        taper = np.exp((-2.0 * np.pi**2) * width[:, None] ** 2 * frequency**2)
        return operator(fft.irfft(fft.rfft(grid) * taper, index.size))

    def _grid(self, first, last, sharp):
        """Where the samples are read, the step, and what reads the pixels from the grid."""
        wave = self._samples[first:last]
        if sharp:
            at, matrix = wave, interpolation(wave, self._pixels)
            return slice(first, last), None, None, PixelOperator(at, matrix)
        n = int(2.0 ** np.ceil(np.log2(wave.size)))
        if self._linear:
            grid = np.linspace(wave[0], wave[-1], n)
            step = np.median(np.diff(grid))
        else:
            grid = np.exp(np.linspace(np.log(wave[0]), np.log(wave[-1]), n))
            step = LIGHTSPEED_KMS * np.median(np.diff(np.log(grid)))
        lower, fraction = _places(wave, grid)
        return first + lower, fraction, step, PixelOperator(grid, interpolation(grid, self._pixels))


def _places(x, at):
    """Cells and positions in them of `at` between nodes `x`; its ends beyond them."""
    cell = np.clip(np.searchsorted(x, at, side="right") - 1, 0, x.size - 2)
    return cell, np.clip((at - x[cell]) / (x[cell + 1] - x[cell]), 0.0, 1.0)


def interpolation(x, at):
    """The matrix (nat, nx) of `numpy.interp`."""
    cell, f = _places(x, at)
    row = np.arange(at.size)
    entries = np.concatenate([1.0 - f, f]), (np.tile(row, 2), np.concatenate([cell, cell + 1]))
    return sparse.csr_array(entries, shape=(at.size, x.size))
