"""Photometry as a linear operator on a spectrum, for any redshift.

A spectrum is a list of samples of L_nu on rest-frame nodes. In a band with
transmission T (signal per photon), ``maggies = int T f_nu dln(lambda) /
(3631 Jy int T dln(lambda))`` is linear in the samples; this module computes the
weights in two ways:

``converged``
    The exact integral of the spectrum interpolated linearly in ln(lambda)
    between its nodes, against T interpolated linearly in lambda between its own.
``sedpy``
    sedpy's `Filter.obj_counts_hires`: T sampled at the spectrum's nodes and
    the trapezoid rule there. On coarse spectral grids this carries quadrature
    noise that depends on redshift; it is here for parity with Prospector.
"""

import numpy as np

from ..cosmology import LIGHTSPEED, MAGGIE, flux_factor

QUADRATURES = ("converged", "sedpy")


class FilterProjector:
    """Weights of spectral nodes in a set of bands.

    Parameters
    ----------
    filters : sequence of sedpy.observate.Filter
    wave : ndarray, shape (nwave,)
        Rest-frame wavelengths of the spectrum in Angstrom, increasing.
    quadrature : {"converged", "sedpy"}
    """

    def __init__(self, filters, wave, quadrature="converged"):
        if quadrature not in QUADRATURES:
            raise ValueError(f"quadrature must be one of {QUADRATURES}, not {quadrature!r}")
        self.filters = list(filters)
        self.wave = np.asarray(wave, dtype=float)
        self.quadrature = quadrature
        self._lnwave = np.log(self.wave)
        self._curves = Curves(self.filters)

    def weights(self, zred):
        """Weights at one redshift, all bands in one run of nodes.

        Returns
        -------
        node : ndarray of int, shape (n,)
            Index into `wave`.
        weight : ndarray, shape (n,)
        start : ndarray of int, shape (nband,)
            Where each band's run begins; every run has at least one node.
        """
        curves, x = self._curves, self._lnwave + np.log1p(zred)
        last_node = x.size - 1
        first = np.clip(np.searchsorted(x, curves.xmin, side="right") - 1, 0, last_node)
        last = np.clip(np.searchsorted(x, curves.xmax, side="left"), 0, last_node)
        count = np.maximum(last - first, 0) + 1
        start = np.concatenate([[0], np.cumsum(count)[:-1]])
        band = np.repeat(np.arange(count.size), count)
        node = np.arange(band.size) - np.repeat(start - first, count)
        if self.quadrature == "sedpy":
            weight = self._sedpy_weights(node, band, zred)
        else:
            weight = self._converged_weights(x[node], band)
        return node, weight, start

    def _converged_weights(self, x, band):
        """Integrals of T times the hat function of each node, over int T dx."""
        curves = self._curves
        c0, c1 = curves.integrals(x, band)
        rel = x - curves.xmin[band]
        same = band[1:] == band[:-1]
        i0, i1 = np.where(same, np.diff(c0), 0.0), np.where(same, np.diff(c1), 0.0)
        dx = np.where(same, np.diff(x), 1.0)
        weight = np.zeros(x.size)
        weight[1:] += (i1 - rel[:-1] * i0) / dx
        weight[:-1] += (rel[1:] * i0 - i1) / dx
        return weight / curves.norm[band]

    def _sedpy_weights(self, node, band, zred):
        lam = self.wave * (1.0 + zred)
        dlam = np.zeros(lam.size)
        half = 0.5 * np.diff(lam)
        dlam[:-1] += half
        dlam[1:] += half
        # lambda f_lambda T dlambda with f_lambda = c f_nu / lambda^2, per AB
        # counts of a source of one maggie.
        trans = self._curves.transmission(lam[node], band)
        zero_counts = np.array([f.ab_zero_counts for f in self.filters]) / self._curves.peak
        unit = LIGHTSPEED * MAGGIE
        return trans * dlam[node] / lam[node] * unit / zero_counts[band]

    def matrix(self, zred):
        """Dense weights at one redshift, shape (nband, nwave)."""
        node, weight, start = self.weights(zred)
        band = np.repeat(np.arange(start.size), np.diff([*start, node.size]))
        out = np.zeros((start.size, self.wave.size))
        out[band, node] = weight
        return out

    def maggies(self, lnu, zred):
        """Apparent maggies of rest-frame L_nu (Lsun/Hz) at `zred`.

        Parameters
        ----------
        lnu : ndarray, shape (..., nwave)
        zred : float

        Returns
        -------
        ndarray, shape (..., nband)
        """
        node, weight, start = self.weights(zred)
        parts = np.asarray(lnu)[..., node] * weight
        return np.add.reduceat(parts, start, axis=-1) * flux_factor(zred)


# Offset that separates the bands when their ln(lambda) share one sorted array.
STRIDE = 64.0


class Curves:
    """All transmission curves end to end, with their running integrals.

    `trans` is T over its `peak`.

    T is linear in lambda on each cell, lambda = lambda_left e^u, so that
    int T du and int T u du have closed forms; `c0` and `c1` are their sums up
    to each node, the latter about ln(lambda) of the band's first node.
    """

    def __init__(self, filters):
        lam = [np.asarray(f.wavelength, dtype=float) for f in filters]
        size = np.array([a.size for a in lam])
        self.first = np.concatenate([[0], np.cumsum(size)[:-1]])
        self.last_cell = self.first + size - 2
        band = np.repeat(np.arange(size.size), size)
        self.lam = np.concatenate(lam)
        # Peaks differ by a factor of a million: at one scale, the running sums
        # over all bands keep the weak ones' digits.
        self.peak = np.array([float(np.max(f.transmission)) for f in filters])
        self.trans = np.concatenate([np.asarray(f.transmission, dtype=float) for f in filters])
        self.trans /= self.peak[band]
        self.x = np.log(self.lam)
        self.xmin, self.xmax = self.x[self.first], self.x[self.last_cell + 1]
        self.key = self.x + STRIDE * band
        # Cells that join two bands are never looked up; they must not enter the sums, and
        # have no length where one band ends at the wavelength at which the next begins.
        joint = self.first[1:] - 1
        dlam = np.diff(self.lam, append=np.inf)
        dlam[joint] = np.inf
        self.slope = np.diff(self.trans, append=0.0) / dlam
        width = np.diff(self.x, append=self.x[-1])
        width[joint] = 0.0
        i0, i1 = self._within(np.arange(self.x.size), width, self.xmin[band])
        self.c0 = np.concatenate([[0.0], np.cumsum(i0)[:-1]])
        self.c1 = np.concatenate([[0.0], np.cumsum(i1)[:-1]])
        self.norm = self.c0[self.last_cell + 1] - self.c0[self.first]

    def _within(self, cell, u, origin):
        """int T dx and int T (x - origin) dx from the left end of `cell` over a length u."""
        trans, bl = self.trans[cell], self.slope[cell] * self.lam[cell]
        grow = np.expm1(u)
        i0 = trans * u + bl * (grow - u)
        # int u e^u du = u e^u - (e^u - 1)
        about_left = trans * u**2 / 2 + bl * (u * (grow + 1.0) - grow - u**2 / 2)
        return i0, about_left + (self.x[cell] - origin) * i0

    def _cell(self, x, band):
        cell = np.searchsorted(self.key, x + STRIDE * band, side="right") - 1
        return np.clip(cell, self.first[band], self.last_cell[band])

    def integrals(self, x, band):
        """Running int T dx and int T (x - xmin) dx of a band up to ln(lambda) = x."""
        x = np.clip(x, self.xmin[band], self.xmax[band])
        cell = self._cell(x, band)
        i0, i1 = self._within(cell, x - self.x[cell], self.xmin[band])
        return self.c0[cell] + i0, self.c1[cell] + i1

    def transmission(self, lam, band):
        """T of a band over its peak at wavelengths `lam`, zero outside its curve."""
        x = np.log(lam)
        cell = self._cell(x, band)
        inside = (lam >= self.lam[self.first[band]]) & (lam <= self.lam[self.last_cell[band] + 1])
        return np.where(inside, self.trans[cell] + self.slope[cell] * (lam - self.lam[cell]), 0.0)
