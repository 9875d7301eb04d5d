"""A model compiled for bands at any redshift: the spectrum where bands may see it, then bands.

`Folded` of single wavelengths in place of bands gives the rest-frame spectrum of a batch, with
all that is fixed in matrices. For each row the bands' curves are then read from tables that
are even in ln(lambda), shifted by ln(1 + z), and multiplied in: no weight is interpolated in
redshift. Intergalactic absorption, age bins and distance are each row's own.
"""

import numpy as np
from scipy.sparse import diags

from ..cosmology import LIGHTSPEED, MAGGIE
from ..observe.photometry import Curves
from . import igm
from .columns import Targets
from .compiled import Folded
from .sampled_bands import SampledBands

# Step of the tables in ln(lambda).
STEP = 2e-5
# Where nothing is known about redshifts.
ZRED = (0.0, 20.0)
# Margin in 1 + z: draws of a prior do not reach its ends.
_MARGIN = 1.02
# Samples beyond a band on each side: those next to it have weights in the converged quadrature.
_PAD = 2
# Distance in ln(lambda) of samples that continue FSPS's grid at its ends.
_BEYOND = 1e-6
# Transmission below which light is taken for zero, lest single precision run out.
_OPAQUE = 1e-25


class BandIntegrals:
    """Bands of spectra whose redshifts differ, with `FilterProjector`'s converged quadrature.

    Parameters
    ----------
    filters : sequence of sedpy.observate.Filter
    x : ndarray, shape (m,)
        ln(lambda) of the samples at rest, increasing.
    grids : list of (ndarray, ndarray), optional
        `GriddedBands.grids`, whose sums are integrals of hat functions too, in wavelength; a
        sample's weight is then without 1 / lambda^2.
    """

    def __init__(self, filters, x, grids=None):
        curves = Curves(filters)
        self._grids = grids
        self.x = x
        self.scale = 1.0 / curves.norm
        if grids is not None:
            self.scale = np.full(len(curves.norm), LIGHTSPEED * MAGGIE)
        self._gap = 1.0 / np.diff(x if grids is None else np.exp(x))
        self._bands = [self._band(curves, b) for b in range(len(filters))]

    def _band(self, curves, b):
        """First ln(lambda), step, places (m,) of samples in the table, the table, and width."""
        low, high = curves.xmin[b], curves.xmax[b]
        n = int(np.ceil((high - low) / STEP))
        step = (high - low) / n
        node = np.linspace(low, high, n + 1)
        band = np.full(node.size, b)
        if self._grids is not None:
            lam, trans = self._grids[b]
            at = np.searchsorted(lam, np.exp(node), side="right")
            c0, c1 = (np.append(0.0, np.cumsum(v)) for v in (trans, lam * trans))
            value = np.exp(node) * c0[at] - c1[at]
            last = value[-1], 0.0
        else:
            # Twice the integral of the curve; its slope beyond the band is the whole.
            c0, c1 = curves.integrals(node, band)
            value = (node - low) * (c0 - c0[0]) - (c1 - c1[0])
            last = value[-1], curves.norm[b] * step
        start = np.concatenate([[0.0], value[:-1], last[:1]])
        slope = np.concatenate([[0.0], np.diff(value), last[1:]])
        ends = np.searchsorted(self.x, self.x + (high - low), side="right")
        width = int((ends - np.arange(self.x.size)).max()) + 2 * _PAD + 1
        width = min(width, self.x.size)
        return low, step, (self.x - low) / step + 1.0, start, slope, width

    def seen(self, low, high):
        """Samples that some band sees between two ln(1 + z): all, for any."""
        return slice(0, self.x.size)

    def __call__(self, light, lnz, begin=0):
        """Maggies (n, nband) per unit of light, at the distance of the light.

        Parameters
        ----------
        light : ndarray, shape (n, m)
        lnz : ndarray, shape (n,)
            ln(1 + z).
        begin : int
            First of the samples; zero here.
        """
        n, m = light.shape
        out, flat = np.empty((n, len(self._bands))), np.ascontiguousarray(light).reshape(-1)
        row = m * np.arange(n)[:, None]
        for b, (low, step, place, start, slope, width) in enumerate(self._bands):
            first = np.searchsorted(self.x, low - lnz) - _PAD
            node = np.clip(first, 0, m - width)[:, None] + np.arange(width)
            at = place[node]
            at += (lnz / step)[:, None]
            cell = at.astype(np.intp)
            np.clip(cell, 0, start.size - 1, out=cell)
            at -= cell
            weight = slope[cell]
            weight *= at
            weight += start[cell]
            if self._grids is not None:
                # Beyond the band its double integral is linear in wavelength.
                lam, trans = self._grids[b]
                seen = np.exp(self.x[node] + lnz[:, None])
                beyond = seen * trans.sum() - lam @ trans
                np.copyto(weight, beyond, where=cell == start.size - 1)
            weight = self._hats(weight, node)
            node += row
            out[:, b] = np.einsum("nk,nk->n", flat[node[:, 1:-1]], weight)
        if self._grids is not None:
            # Of the distance between samples, and of what f_lambda is in f_nu.
            out *= np.exp(-3.0 * lnz)[:, None]
        return out * self.scale

    def _hats(self, twice, node):
        """Integrals of curve times hat function from its double integral at the nodes."""
        mean = np.diff(twice, axis=1)
        mean *= self._gap[node[:, :-1]]
        return np.diff(mean, axis=1)


class Redshifts(Folded):
    """Band fluxes of rows of any redshift inside a range; made by `compile_sps`.

    Parameters
    ----------
    ingredients : Ingredients
    filters : sequence of sedpy.observate.Filter
    fixed : dict
    free : set of str
    ranges : dict
    settings : dict
    lines : ndarray of bool, shape (nline,), or None
        Lines apart whose flux is added to the bands.
    quadrature : {"converged", "sedpy", "gridded"}
    projector : GriddedBands, optional
        What is done to the spectrum before the bands, and their grids.
    samples : Samples, optional
        Whose samples of L_nu and lines are wanted beside the bands.

    Attributes
    ----------
    zred : tuple (low, high)
        Redshifts that are covered.
    """

    # Few enough that spectra stay in cache, enough for products by cells of metallicity.
    chunk = 256
    # Single wavelengths and lines: nothing averages over a band.
    gas_tolerance, dust_tolerance = 1e-5, 1e-7

    def __init__(
        self, ingredients, filters, fixed, free, ranges, settings, lines, quadrature,
        projector=None, samples=None,
    ):  # fmt: skip
        self.zred = _redshifts(fixed, free, ranges)
        g = ingredients
        samples = samples if samples is not None and len(samples) > len(filters) else None
        at, x = np.zeros(0, dtype=int), np.zeros(0)
        if filters:
            at, x = _samples(g.wave, Curves(filters), self.zred)
        if samples is not None:
            more = np.setdiff1d(samples.nodes, at)
            at, x = np.concatenate([at, more]), np.concatenate([x, np.log(g.wave[more])])
            order = np.argsort(x, kind="stable")
            at, x = at[order], x[order]
        weight = np.ones(g.wave.size)
        if quadrature == "sedpy":
            weight = (np.pad(np.diff(g.wave), (0, 1)) + np.pad(np.diff(g.wave), (1, 0))) / 2.0
            weight /= g.wave
        if quadrature == "gridded":
            weight /= g.wave**2
        grids = projector.grids if quadrature == "gridded" else None
        lnz = np.log1p(self.zred)
        if not filters:
            self._spectral = None
        elif quadrature == "sedpy":
            self._spectral = SampledBands(filters, x, lnz)
        else:
            self._spectral = BandIntegrals(filters, x, grids)
        self._spread = None
        if projector is not None and projector.smooth is not None:
            self._spread = diags(weight[at]) @ projector.smooth[at]
            at, weight = np.unique(self._spread.indices), np.ones(g.wave.size)
            self._spread = self._spread[:, at].toarray()
        runs = [(at[i : i + 1], weight[at[i : i + 1]]) for i in range(at.size)]
        # Lines that bands contain, and all that are wanted.
        apart = np.zeros(g.line_wave.size, dtype=bool) if lines is None else np.array(lines)
        some = apart.copy()
        if samples is not None:
            apart[samples.fitted] = False
            some[samples.lines] = True
        seen = np.argsort(g.line_wave, kind="stable")
        seen = seen[some[seen]]
        self._apart, self._emission, self._wanted = apart[seen].astype(np.float32), None, None
        if samples is not None:
            node = np.searchsorted(x, np.log(g.wave[samples.nodes]))
            place = np.zeros(g.line_wave.size, dtype=int)
            place[seen] = np.arange(seen.size)
            self._wanted = node, 1.0 / weight[at[node]], place[samples.lines]
        if self._apart.any() and filters:
            self._emission = SampledBands(filters, np.log(g.line_wave[seen]), lnz, lines=True)
        nothing = np.zeros(0, dtype=int)
        targets = Targets(
            [(nothing, np.zeros(0))] * seen.size + runs,
            np.zeros((seen.size + at.size, g.line_wave.size)),
            np.ones(g.wave.size),
        )
        targets.lines[np.arange(seen.size), seen] = g.line_wave[seen]
        self._nline = seen.size
        self._igm = None
        if settings["add_igm_absorption"]:
            exponent, vector = igm.terms(g.wave)
            self._igm = exponent, vector.astype(np.float32)
            self._blue = at[at < vector.shape[1]]
        tolerance = None if samples is None else samples.gas_tolerance
        super().__init__(ingredients, targets, fixed, free, ranges, settings, tolerance)
        self.nband = len(filters if samples is None else samples)

    def _sum_nodes(self):
        """Nodes of the lines come first, then one for each sample."""
        owner = self.columns.owner
        nodes = owner[owner < self._nline]
        self._of_lines = np.zeros((nodes.size, self._nline), np.float32)
        self._of_lines[np.arange(nodes.size), nodes] = 1.0

    def inside(self, p, n):
        """Rows (n,) inside the metallicities, the ranges of the dust and those of redshift."""
        out = super().inside(p, n)
        if "zred" in p:
            out &= (p["zred"] >= self.zred[0]) & (p["zred"] <= self.zred[1])
        return out

    def _arranged(self, p, cell):
        """By redshift from chunk to chunk, and in each by cells of metallicity."""
        if "zred" not in p:
            return super()._arranged(p, cell)
        chunk = np.empty(len(cell), dtype=int)
        chunk[np.argsort(p["zred"])] = np.arange(len(cell)) // self.chunk
        return np.lexsort((cell, chunk))

    def _seen(self, p):
        whole = self._nline or self._spread is not None or self._wanted is not None
        if whole or "zred" not in p:
            return super()._seen(p)
        return self._spectral.seen(*np.log1p([p["zred"].min(), p["zred"].max()]))

    def _past_gas(self, p, seen, *light):
        k = len(self._of_lines)
        first = max(seen.start - k, 0)
        if self._igm is None or first >= self._blue.size:
            return
        zred = np.broadcast_to(p.get("zred", self._value("zred")), (len(light[0]),))
        factor = p["igm_factor"] if "igm_factor" in p else self._value("igm_factor")
        past = igm.transmission(self._igm, zred, factor)[:, self._blue[first : seen.stop - k]]
        past[past < _OPAQUE] = 0.0
        at = max(k - seen.start, 0)
        for part in light:
            part[:, at : at + past.shape[1]] *= past

    def _bands(self, p, seen, light):
        k = len(self._of_lines)
        lnz = np.log1p(np.broadcast_to(p.get("zred", self._value("zred")), (len(light),)))
        samples = light[:, k:]
        if self._spread is not None:
            samples = samples @ self._spread.T
        out = np.zeros((len(light), 0))
        if self._spectral is not None:
            out = self._spectral(samples, lnz, seen.start)
        lines = light[:, :k] @ self._of_lines
        if self._emission is not None:
            out += self._emission(lines * self._apart, lnz)
        if self._wanted is not None:
            node, unweighted, line = self._wanted
            out = np.concatenate(
                [out, samples[:, node] * unweighted, lines[:, line] / LIGHTSPEED], axis=1
            )
        return out


def _redshifts(fixed, free, ranges):
    """Range of redshifts to prepare for."""
    if "zred" not in free:
        zred = float(np.asarray(fixed.get("zred", 0.0)))
        return zred, zred
    low, high = ranges.get("zred", ZRED)
    return max((1.0 + low) / _MARGIN - 1.0, min(low, 0.0)), (1.0 + high) * _MARGIN - 1.0


def _samples(wave, curves, zred):
    """Indices (m,) of wavelengths that bands see at some redshift, and their ln(lambda).

    With the ones beside them; at the ends of the grid these are its ends again, a little
    farther out.
    """
    x = np.log(wave)
    beyond = _BEYOND * np.arange(1, _PAD + 1)
    x = np.concatenate([x[0] - beyond[::-1], x, x[-1] + beyond])
    at = np.clip(np.arange(x.size) - _PAD, 0, wave.size - 1)
    low, high = (np.log1p(z) for z in zred)
    some = np.zeros(x.size, dtype=bool)
    for first, last in zip(curves.xmin - high, curves.xmax - low, strict=True):
        start = np.searchsorted(x, first) - _PAD - 1
        stop = np.searchsorted(x, last, side="right") + _PAD + 1
        some[max(start, 0) : stop] = True
    return at[some], x[some]
