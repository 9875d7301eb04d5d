"""The factored emulator at one redshift: photometry as a few small matrix products.

At one redshift the bands are fixed combinations of wavelengths, and the ages
of the stars in each bin are fixed. What is left to integrate over wavelength are
ingredients times the transmission of the dust, which depends on three
parameters. Within a band that transmission is so smooth that its values at a few
wavelengths, the *nodes*, give it everywhere (an interpolative decomposition:
chosen and weighted from the curves themselves, to `TOLERANCE`). With G
the ingredients integrated over band and node weights once per galaxy, ::

    maggies[b] = sum_{j in b} T_j(theta) sum_i c_i(theta) G[i, j]

with T_j the transmission at node j and c_i the mass of bin and metallicity, the weight of
a template, and so on. Nothing is learnt and nothing else is approximated.
"""

import numpy as np

from ..sps.constants import between, find_cell, single
from ..sps.nodes import skeleton
from . import sfh
from .vector import PARAMETERS, RATIO_NAMES

COLUMN = {name: i for i, name in enumerate(PARAMETERS)}
RATIOS = slice(COLUMN[RATIO_NAMES[0]], COLUMN[RATIO_NAMES[-1]] + 1)
_DUST = ("dust2", "dust_index", "dust1_fraction")

# Of the light in a band (and of the light absorbed), for any dust in the box.
TOLERANCE = 3e-4
# Of the largest value of each integral over ingredients of young stars and gas.
_RANK_TOLERANCE = 3e-5
# Nodes per metallicity cell of the bolometric luminosity, which is exponential there.
_LBOL_NODES = 16
# Rows that stay in cache.
_CHUNK = 256


def coordinates(theta):
    """Columns of parameter vectors (n, 18) by name."""
    return {name: theta[:, i] for name, i in COLUMN.items()}


def exponents(vectors, p):
    """Exponents of diffuse dust and birth clouds, (n, m) each.

    Parameters
    ----------
    vectors : ndarray, shape (4, m)
        `FactoredEmulator.extinction` at some wavelengths.
    p : dict
        ``dust2``, ``dust_index``, ``dust1_fraction``, shape (n,) each.
    """
    dust2, index = p["dust2"][:, None], p["dust_index"][:, None]
    # In place: these are the largest arrays of a fit.
    diffuse = index * vectors[2]
    np.exp(diffuse, out=diffuse)
    curve = index * (-single(1.9) * vectors[1])
    curve += vectors[0] + single(0.85) * vectors[1]
    diffuse *= curve
    diffuse *= dust2
    return diffuse, np.multiply(p["dust1_fraction"][:, None] * dust2, vectors[3], out=curve)


def dust_family():
    """Dust parameters that span the box, for choosing nodes: dict of (m,) arrays."""
    grid = np.meshgrid(
        [0.0, 0.05, 0.2, 0.5, 1.0, 1.6, 2.3, 3.1, 4.0],
        np.linspace(-1.2, 0.4, 7),
        [0.0, 0.3, 0.7, 1.2, 2.0],
        indexing="ij",
    )
    return {name: axis.ravel() for name, axis in zip(_DUST, grid, strict=True)}


def factorise(matrix, tolerance, most=120):
    """Factors (m, r), (r, n) of a matrix, single precision, by a random projection.

    Errors are relative to each column's largest value. The projection onto `most`
    directions is far wider than the rank that `tolerance` asks for here (about 50).
    """
    scale = np.abs(matrix).max(axis=0)
    scale[scale == 0.0] = 1.0
    matrix = matrix / scale
    sketch = matrix @ np.random.default_rng(0).standard_normal((matrix.shape[1], most))
    basis = np.linalg.qr(sketch)[0]
    u, size, vt = np.linalg.svd(basis.T @ matrix, full_matrices=False)
    rank = max(int((size > tolerance * size[0]).sum()), 1)
    left = np.ascontiguousarray((basis @ (u[:, :rank] * size[:rank])).astype(np.float32))
    return left, (vt[:rank] * scale).astype(np.float32)


class FoldedEmulator:
    """Photometry at one redshift; made by `FactoredEmulator.at_redshift`.

    Parameters
    ----------
    source : FactoredEmulator
    zred : float
    """

    def __init__(self, source, zred):
        self.source, self.zred, self.filters = source, zred, source.filters
        self._log_durations = np.log10(sfh.bin_durations(zred))
        self._weights = source.age_weights(zred)
        self._place_nodes()
        self._integrate()
        self._luminosities()

    def __repr__(self):
        return f"FoldedEmulator({self.source.name!r}, zred={self.zred:g}, {self._nband} nodes)"

    # ---- once per galaxy -------------------------------------------------------

    def _place_nodes(self):
        """Nodes of all bands, of the absorbed light and of the dust emission's norm."""
        s = self.source
        family = dust_family()
        diffuse, cloud = (a.astype(np.float32) for a in exponents(s.extinction, family))
        through = np.exp(diffuse + cloud)
        node, weight, start = s.projector.weights(self.zred)
        stops = np.append(start[1:], node.size)
        self._bands, nodes, owner = [], [], []
        for b, (lo, hi) in enumerate(zip(start, stops, strict=True)):
            wave = node[lo:hi]
            pick, matrix = skeleton(through[:, wave], weight[lo:hi], TOLERANCE, worst=np.inf)
            self._bands.append((wave, weight[lo:hi] * matrix))
            nodes.append(wave[pick])
            owner += [b] * pick.size
        self._nband = len(owner)
        self._sum = np.zeros((self._nband, len(self.filters)), np.float32)
        self._sum[np.arange(self._nband), owner] = 1.0
        lost, absorbed, emitted, norm = s.dust_nodes
        self._absorbed, self._norm = absorbed, norm
        at = np.concatenate([*nodes, lost, emitted])
        self._vectors = s.extinction[:, at].astype(np.float32)
        self._nlost = self._nband + lost.size

    def _integrate(self):
        """All ingredients integrated over bands (and frequency) with their nodes' weights."""
        s, g, w = self.source, self.source.ingredients, self._weights
        igm = s.igm(self.zred) * s.flux_unit(self.zred)
        ny, nn = s.nyoung, s.nneb
        if w[1:, :nn].any():
            raise AssertionError("stars with nebulae beyond the first age bin")
        lnu = s.populations
        old = np.einsum("ka,zaw->kzw", w[:, ny:], lnu[:, ny:], optimize=True)
        young = np.einsum("a,zaw->zw", w[0, :ny], lnu[:, :ny], optimize=True)
        photons = g["photons"] * w[0, :nn]
        gas = [
            np.einsum("za,gaw->zgw", photons[:, ages], s.nebulae[:, ages], optimize=True)
            for ages in (slice(0, ny), slice(ny, nn))
        ]
        gas[0] += young[:, None]
        flat = lambda a: a.reshape(-1, a.shape[-1])  # noqa: E731
        self._old = self._to_nodes(flat(old), igm, absorbed=True)
        pair = [self._to_nodes(flat(a), igm, absorbed=True) for a in gas]
        both = np.concatenate(pair, axis=1)
        self._mix, right = factorise(both, _RANK_TOLERANCE)
        self._ngas = gas[0].shape[1]
        self._young, self._gas = np.split(right, 2, axis=1)
        first = s.wavelengths.size - s.dust_templates.shape[1]
        dust = np.zeros((len(s.dust_templates), s.wavelengths.size))
        dust[:, first:] = s.dust_templates
        dust = self._to_nodes(dust, igm)
        self._warm = np.flatnonzero(np.abs(dust).max(axis=0) > 0.0)
        emitted = s.dust_templates @ (s.hertz[first:, None] * self._norm.T)
        self._dust = np.concatenate([dust[:, self._warm], emitted], axis=1).astype(np.float32)
        self._old = self._old.astype(np.float32)
        unit = np.full(s.wavelengths.size, s.flux_unit(self.zred))
        self._torus = self._to_nodes(g["agn_lnu"], unit).astype(np.float32)

    def _to_nodes(self, lnu, factor, absorbed=False):
        """Integrals (m, nodes) of spectra (m, nwave), those over the absorbed light last."""
        parts = [(lnu[:, wave] * factor[wave]) @ matrix.T for wave, matrix in self._bands]
        if absorbed:
            parts.append(lnu @ (self.source.hertz[:, None] * self._absorbed.T))
        return np.concatenate(parts, axis=1)

    def _luminosities(self):
        """Bolometric luminosity of each bin's stars on a fine grid of metallicity."""
        logz, log = self.source.logz, self.source.ingredients["ssp_loglbol"]
        x = np.arange(_LBOL_NODES) / _LBOL_NODES
        self._logz = np.append((logz[:-1, None] + np.diff(logz)[:, None] * x).ravel(), logz[-1])
        cell, f = find_cell(logz, self._logz, extrapolate=True)
        self._lbol = 10.0 ** between(log, cell, f) @ self._weights.T

    # ---- per parameter vector --------------------------------------------------

    def reference_maggies(self, theta):
        """Fluxes at the reference mass and distance, (n, nband) of `theta` (n, 18), unchecked.

        The redshift column is not looked at.
        """
        theta = np.asarray(theta, dtype=float)
        out = np.empty((len(theta), len(self.filters)))
        for i in range(0, len(theta), _CHUNK):
            out[i : i + _CHUNK] = self._chunk(theta[i : i + _CHUNK])
        return out

    def _chunk(self, theta):
        s, p, n = self.source, coordinates(theta), len(theta)
        share = self._shares(theta)
        cell, f = find_cell(s.logz, p["logzsol"], extrapolate=True)
        rows = np.arange(n)
        metals = np.zeros((n, 1, s.logz.size), np.float32)
        metals[rows, 0, cell], metals[rows, 0, cell + 1] = 1.0 - f, f
        light = (share[:, :, None] * metals).reshape(n, -1) @ self._old
        node, weight = s.gas_weights(p["gas_logz"])
        pick = (cell[:, None] + np.arange(2))[:, :, None] * self._ngas + node[:, None]
        pair = np.stack([1.0 - f, f], axis=1) * share[:, :1]
        weight = (pair[:, :, None] * weight[:, None]).astype(np.float32)
        mix = np.einsum("ni,nir->nr", weight.reshape(n, -1), self._mix[pick.reshape(n, -1)])
        light += mix @ self._gas
        young = mix @ self._young
        diffuse, cloud = exponents(self._vectors, {k: p[k].astype(np.float32) for k in _DUST})
        nb, nl = self._nband, self._nlost
        lost = light[:, nb:] * np.expm1(diffuse[:, nb:nl])
        lost += young[:, nb:] * np.expm1(diffuse[:, nb:nl] + cloud[:, nb:nl])
        through = np.exp(diffuse)
        light, young = light[:, :nb], young[:, :nb]
        young *= np.exp(cloud[:, :nb])
        light += young
        index, weight = s.dust_weights(p["duste_qpah"], p["duste_umin"], p["log_duste_gamma"])
        warm = np.einsum("ni,nij->nj", weight.astype(np.float32), self._dust[index])
        norm = (warm[:, self._warm.size :] * through[:, nl:]).sum(axis=1)
        light[:, self._warm] += warm[:, : self._warm.size] * (-lost.sum(axis=1) / norm)[:, None]
        light += self._agn(p, share) @ self._torus
        light *= through[:, :nb]
        return light @ self._sum

    def _shares(self, theta):
        """`sfh.bin_masses` of one Msun at this redshift, single precision."""
        log = np.empty((len(theta), sfh.NBINS))
        log[:, 0] = 0.0
        np.cumsum(-theta[:, RATIOS], axis=1, out=log[:, 1:])
        log += self._log_durations
        log -= log.max(axis=1, keepdims=True)
        share = np.power(np.float32(10.0), log.astype(np.float32))
        share /= share.sum(axis=1, keepdims=True)
        return share

    def _agn(self, p, share):
        """Weights (n, ntau) of the torus templates: luminosities of the AGN."""
        cell, f = find_cell(self._logz, p["logzsol"], extrapolate=True)
        power = (between(self._lbol, cell, f) * share).sum(axis=1) * 10.0 ** p["log_fagn"]
        node, weight = self.source.torus_weights(p["log_agn_tau"])
        out = np.zeros((len(share), len(self._torus)), np.float32)
        np.put_along_axis(out, node, weight * power[:, None], axis=1)
        return out
