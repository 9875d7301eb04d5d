"""Prospector's smoothing and resampling of a spectrum, for whole batches.

What `prospect.utils.smoothing` does at one resolution and redshift is linear in the samples of
the spectrum: a matrix. By FFT (its default) it also costs little where each row has its own.
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
# Its width in Angstrom by which line-spread functions pad the pixels.
_LSF_WIDTH = 100.0


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

    def __call__(self, samples, sigma=None, scale=None):
        """Pixels (n, npix) of samples (n, m)."""
        return self._operator(samples)


class FFTSmoothing:
    """Prospector's smoothing by FFT, at a dispersion and a redshift of each row's own.

    Samples around the pixels are interpolated to an even grid, in ln(lambda), lambda or in units
    of the line-spread function. It lies at the same wavelengths at rest whatever the redshift, so
    that a batch is smoothed at rest, and each row is read where its pixels fall.

    Parameters
    ----------
    wave : ndarray, shape (nwave,)
        Wavelengths of the samples at rest, Angstrom.
    pixels : ndarray, shape (npix,)
        As observed.
    kind : {"vel", "lambda", "lsf"}
        ``smoothtype``.
    largest : float
        Largest dispersion (km/s or Angstrom).
    scales : ndarray
        1 + z, or its lowest and highest value.
    inres : float
        Dispersion of the samples.
    lsf : ndarray, shape (nwave,), optional
        Dispersion of each sample in Angstrom as observed.

    Attributes
    ----------
    node : ndarray of int, shape (m,)
        Samples that it takes.
    """

    def __init__(self, wave, pixels, kind, largest, scales, inres=0.0, lsf=None):
        self._pixels, self._kind, self._inres = pixels, kind, inres
        self._wave, self._grids = wave, {}
        first, last = self._ends(largest, scales)
        self.node = np.arange(first.min(), last.max())
        self._wave = wave[self.node]
        self._lsf = None if lsf is None else lsf[self.node]

    def __call__(self, samples, sigma, scale):
        """Pixels (n, npix) of samples (n, m), at dispersions and 1 + z, (1 or n,) each."""
        sigma, scale = (np.broadcast_to(x, len(samples)) for x in (sigma, scale))
        first, last = self._ends(sigma, scale)
        code, size = first << 44 | last << 24, 0
        if self._kind == "lsf":
            width = np.array([self._sharpness(c) for c in code.tolist()]) / scale
            size = np.exp2(np.ceil(np.log2(2.0 / width))).astype(int)
        else:
            width = np.sqrt(sigma**2 - self._inres**2)
            width = width / scale if self._kind == "lambda" else width
        code, which = np.unique(code | size, return_inverse=True)
        grids = [self._grid(c) for c in code.tolist()]
        sizes = np.array([g[-1].size for g in grids])[which]
        out = np.empty((len(samples), self._pixels.size))
        for n in np.unique(sizes):
            rows = np.flatnonzero(sizes == n)
            some, place = np.unique(which[rows], return_inverse=True)
            index, fraction, step, grid = (
                np.stack(part)[place] for part in zip(*(grids[i] for i in some), strict=True)
            )
            light = samples[rows[:, None], index]
            light += fraction * (samples[rows[:, None], index + 1] - light)
            frequency = np.arange(n // 2 + 1) / (n * step[:, None])
            taper = np.exp((-2.0 * np.pi**2) * (width[rows, None] * frequency) ** 2)
            light = fft.irfft(fft.rfft(light) * taper, n)
            for row, at, values in zip(rows, grid, light, strict=True):
                out[row] = np.interp(self._pixels / scale[row], at, values)
        return out

    def _ends(self, sigma, scale):
        """Of the samples that Prospector smooths (`mask_wave`)."""
        low, high = self._pixels[0], self._pixels[-1]
        if self._kind == "vel":
            pad = _PAD * sigma / LIGHTSPEED_KMS
            low, high = low * (1.0 - pad), high * (1.0 + pad)
        else:
            pad = _PAD * (sigma if self._kind == "lambda" else _LSF_WIDTH)
            low, high = low - pad, high + pad
        first = np.searchsorted(self._wave, low / scale, side="right")
        return first, np.searchsorted(self._wave, high / scale, side="left")

    def _sharpness(self, code):
        """Dispersions of the line-spread function in units of the samples' whole reach."""
        if code not in self._grids:
            at = slice(code >> 44, code >> 24 & 0xFFFFF)
            wave = self._wave[at]
            share = np.gradient(wave) / self._lsf[at]
            place = np.cumsum(share)
            place /= place.max()
            self._grids[code] = np.nanmedian(np.gradient(place) / share), place
        return self._grids[code][0]

    def _grid(self, code):
        """Where an even grid lies between samples, its step, and itself."""
        if code in self._grids:
            return self._grids[code]
        first, last, n = code >> 44, code >> 24 & 0xFFFFF, code & 0xFFFFFF
        wave = self._wave[first:last]
        if self._kind == "lsf":
            # Even in units of the dispersion.
            place = self._grids[code - n][1]
            grid, step = np.interp(np.linspace(0.0, 1.0, n), place, wave), 1.0 / n
        else:
            n = int(2.0 ** np.ceil(np.log2(wave.size)))
            if self._kind == "lambda":
                grid = np.linspace(wave[0], wave[-1], n)
                step = np.median(np.diff(grid))
            else:
                grid = np.exp(np.linspace(np.log(wave[0]), np.log(wave[-1]), n))
                step = LIGHTSPEED_KMS * np.median(np.diff(np.log(grid)))
        index, fraction = _places(wave, grid)
        self._grids[code] = first + index, fraction, step, grid
        return self._grids[code]


def _places(x, at):
    """Cells and positions in them of `at` between nodes `x`; its ends beyond them."""
    cell = np.clip(np.searchsorted(x, at, side="right") - 1, 0, x.size - 2)
    return cell, np.clip((at - x[cell]) / (x[cell + 1] - x[cell]), 0.0, 1.0)
