"""Bands as sums over a spectrum's own samples, for rows of any redshift.

sedpy's quadrature: a curve is read where the samples are seen. The curves lie in tables even in
ln(lambda), so that ln(1 + z) shifts them; a row reads each band in one window of its samples.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..cosmology import LIGHTSPEED, MAGGIE
from ..observe.photometry import Curves

# Step of the tables in ln(lambda): 5e-5 of the curves of HST and JWST, and they stay in cache.
STEP = 4e-5
# Places in a table are whole numbers, this many bits of which are a fraction of a step.
_BITS = 6
_UNIT = STEP / 2**_BITS
# Samples on each side of a band that its window holds too.
_PAD = 1
# Bands share windows of one width where this much wider ones cost less than one more pass.
_WIDER = 1.25


class SampledBands:
    """Bands of spectra whose redshifts differ, with sedpy's quadrature.

    Parameters
    ----------
    filters : sequence of sedpy.observate.Filter
    x : ndarray, shape (m,)
        ln(lambda) of the samples at rest, increasing.
    lnz : tuple (low, high)
        ln(1 + z) between which rows will lie.
    lines : bool
        The samples are luminosities of lines over wavelength, see
        `prospect_emu.sps.columns.line_weights`; else L_nu times dlambda / lambda.
    """

    def __init__(self, filters, x, lnz, lines=False):
        curves = Curves(filters)
        zero = np.array([f.ab_zero_counts for f in filters]) / curves.peak
        self.scale = (MAGGIE if lines else LIGHTSPEED * MAGGIE) / zero
        self._x, self._low, self._high = x, curves.xmin, curves.xmax.max()
        self._at = np.rint((x - x[0]) / _UNIT).astype(np.int32)
        nodes, tables = zip(*(self._table(curves, b) for b in range(zero.size)), strict=True)
        size = np.array([t.size for t in tables], dtype=np.int32)
        self._table_of_all = np.concatenate(tables)
        # Places of each band's first and last entry; both are dark.
        self._begin = np.cumsum(size, dtype=np.int32) - size << _BITS
        self._end = self._begin + (size - 1 << _BITS)
        # What a sample's place in the band's table is beyond its place in `_at`.
        shift = np.rint((x[0] - np.array(nodes)) / _UNIT).astype(np.int32)
        self._shift = self._begin + shift + 2**_BITS
        width = [
            self._width(low, high, lnz) for low, high in zip(curves.xmin, curves.xmax, strict=True)
        ]
        self._groups = [
            (bands, sliding_window_view(self._at, w))
            for bands, w in _groups(np.minimum(width, x.size))
        ]

    def _table(self, curves, b):
        """First ln(lambda) of a band's table, and values with what they rise by up to the next.

        These are complex numbers, read at once. A node lies at the end where the curve breaks
        off the higher.
        """
        ends = curves.lam[[curves.first[b], curves.last_cell[b] + 1]]
        n = int(np.ceil((curves.xmax[b] - curves.xmin[b]) / STEP)) + 1
        first = curves.xmin[b]
        if np.diff(curves.transmission(ends, np.array([b, b]))) > 0.0:
            first = curves.xmax[b] - STEP * (n - 1)
        lam = np.clip(np.exp(first + STEP * np.arange(n)), *ends)
        value = curves.transmission(lam, np.full(n, b))
        out = np.zeros(n + 1, np.complex64)
        out[1:n] = value[:-1] + 1j * np.diff(value) / 2**_BITS
        return first, out

    def _width(self, low, high, lnz):
        """Samples of a window that holds a band wherever it may lie."""
        seen = np.append(
            self._x[(self._x > low - lnz[1]) & (self._x < high - lnz[0])], low - lnz[0]
        )
        ends = np.searchsorted(self._x, seen + (high - low), side="right")
        return int((ends - np.searchsorted(self._x, seen)).max()) + 2 * _PAD

    def seen(self, low, high):
        """Samples (a slice) that some band sees between two ln(1 + z)."""
        first = int(np.searchsorted(self._x, self._low.min() - high)) - _PAD
        last = int(np.searchsorted(self._x, self._high - low, side="right")) + _PAD
        widest = max(places.shape[1] for _, places in self._groups)
        first = max(min(first, self._x.size - widest), 0)
        return slice(first, min(max(last, first + widest), self._x.size))

    def __call__(self, light, lnz, begin=0):
        """Maggies (n, nband) per unit of light, at the distance of the light.

        Parameters
        ----------
        light : ndarray, shape (n, m), single precision
            At samples from `begin` on, all that are `seen` between these redshifts.
        lnz : ndarray, shape (n,)
            ln(1 + z).
        begin : int
        """
        out = np.empty((len(light), self.scale.size))
        first = np.searchsorted(self._x, self._low - lnz[:, None]) - _PAD
        shift = self._shift + np.rint(lnz / _UNIT).astype(np.int32)[:, None]
        light = np.ascontiguousarray(light)
        first -= begin
        steps = (*light.strides, light.itemsize)
        row = np.arange(len(light))[:, None]
        for bands, places in self._groups:
            nplace, width = light.shape[1] - places.shape[1] + 1, places.shape[1]
            start = np.minimum(np.maximum(first[:, bands], 0), nplace - 1)
            place = places[start + begin]
            place += shift[:, bands, None]
            np.maximum(place, self._begin[bands, None], out=place)
            np.minimum(place, self._end[bands, None], out=place)
            read = self._table_of_all.take(place >> _BITS)
            place &= 2**_BITS - 1
            weight = place.astype(np.float32)
            weight *= read.imag
            weight += read.real
            # Every window of every row, without a copy; then those wanted.
            seen = np.ndarray((len(light), nplace, width), light.dtype, light, strides=steps)
            out[:, bands] = np.einsum("nbk,nbk->nb", seen[row, start], weight)
        return out * self.scale


def _groups(width):
    """Bands in groups of similar windows: (indices, width of the widest) each."""
    order = np.argsort(width)[::-1]
    out = []
    while order.size:
        some = width[order] * _WIDER >= width[order[0]]
        out.append((np.sort(order[some]), int(width[order[0]])))
        order = order[~some]
    return out
