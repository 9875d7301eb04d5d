"""Calibration of a spectrum by a polynomial, for whole batches of spectra."""

import numpy as np
from numpy.polynomial.chebyshev import chebvander


class Polynomial:
    """The Chebyshev polynomial that brings each spectrum closest to the data.

    `PolySpecModel`'s: with y = data / spectrum - 1 and its errors, least squares with a
    penalty on the coefficients. Products of Chebyshev polynomials are sums of two, so that
    the normal matrix is made of 2 order + 1 moments.

    Parameters
    ----------
    obs : dict
        ``wavelength``, ``spectrum``, ``unc`` and ``mask``.
    order : int
    penalty : ndarray, shape (order + 1,)
        Added to the diagonal of the normal matrix.
    """

    def __init__(self, obs, order, penalty):
        self._wave, mask = obs["wavelength"], obs["mask"]
        with np.errstate(divide="ignore", invalid="ignore"):
            self._precision = np.where(mask, 1.0 / np.asarray(obs["unc"]) ** 2, 0.0)
        self._weighted = np.where(mask, obs["spectrum"], 0.0) * self._precision
        i = np.arange(order + 1)
        self._sum, self._difference = i[:, None] + i, np.abs(i[:, None] - i)
        self._order, self._penalty = order, np.diag(penalty)
        self._bases = {}
        self._ends = np.flatnonzero(mask)[[0, -1]]

    def _basis(self, first, last):
        """Polynomials whose interval is that of these pixels, and their moments."""
        if (first, last) not in self._bases:
            low, high = self._wave[first], self._wave[last]
            basis = chebvander(2.0 * (self._wave - low) / (high - low) - 1.0, 2 * self._order)
            few = basis[:, : self._order + 1]
            self._bases[first, last] = (
                np.ascontiguousarray(few.T),
                basis * self._precision[:, None],
                few * self._weighted[:, None],
            )
        return self._bases[first, last]

    def __call__(self, spectrum, used=None):
        """Calibration vectors (n, npix) of spectra (n, npix).

        Parameters
        ----------
        spectrum : ndarray, shape (n, npix)
        used : ndarray of bool, shape (n, npix), optional
            Pixels that decide, where they are each row's own; default the mask.
        """
        if used is None:
            return self._of(spectrum, *self._ends)
        last = used.shape[1] - 1 - used[:, ::-1].argmax(axis=1)
        ends = np.stack([used.argmax(axis=1), last], axis=1)
        out = np.empty_like(spectrum)
        for pair in np.unique(ends, axis=0):
            rows = (ends == pair).all(axis=1)
            out[rows] = self._of(spectrum[rows] * used[rows], *pair)
        return out

    def _of(self, seen, first, last):
        basis, moments, data = self._basis(first, last)
        m = (seen * seen) @ moments
        normal = 0.5 * (m[:, self._sum] + m[:, self._difference]) + self._penalty
        right = seen @ data - m[:, : self._order + 1]
        some = np.isfinite(m).all(axis=1)
        c = np.full(right.shape, np.nan)
        c[some] = np.linalg.solve(normal[some], right[some][:, :, None])[:, :, 0]
        factor = c @ basis
        factor += 1.0
        return factor
