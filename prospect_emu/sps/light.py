"""Stars and gas in the columns of `prospect_emu.sps.columns`: tables, and their use.

Light is linear in the weights of the populations, in those of the metallicities on both
sides, and (where the gas varies) in those of a few nodes of its parameters, between which
the light per photon is an exponential.
"""

import numpy as np

from . import nebular
from .constants import find_cell
from .nodes import low_rank

# Chebyshev-Lobatto nodes across a cell of a gas parameter, in which the light per photon is
# an exponential: steep in log U, where a line may change tenfold between nodes of the tables.
_CELL_NODES = {"gas_logz": 7, "gas_logu": 7}
# Of the largest value of each column, over ages and gas.
TOLERANCE = 3e-5
# Rows of all metallicities up to which one product with all is quicker than one for each cell.
_FEW = 32


class GasAxis:
    """Nodes of ``gas_logz`` or ``gas_logu``: one where it is fixed.

    Attributes
    ----------
    nodes : ndarray
    """

    def __init__(self, name, axis, fixed):
        self.name, self._axis, self.fixed = name, axis, fixed is not None
        if self.fixed:
            self.nodes, self.size, self.ncell = np.array([float(np.asarray(fixed))]), 1, 1
            return
        self.size, self.ncell = _CELL_NODES[name], axis.size - 1
        lobatto = -np.cos(np.pi * np.arange(self.size) / (self.size - 1))
        self.lagrange = np.linalg.inv(np.vander(lobatto, increasing=True))
        x = 0.5 + 0.5 * lobatto[:-1]
        self.nodes = np.append((axis[:-1, None] + np.diff(axis)[:, None] * x).ravel(), axis[-1])

    def weights(self, p):
        """Cell (n,) and weights (n, size) of its nodes, where it is free."""
        cell, f = find_cell(self._axis, p[self.name])
        return cell, np.vander(2.0 * f - 1.0, self.size, increasing=True) @ self.lagrange

    def of_cell(self, cell):
        """Indices of the nodes of a cell."""
        return (self.size - 1) * cell + np.arange(self.size)


class Stars:
    """Young or old light: rows of populations (or of fixed mixtures of them).

    Parameters
    ----------
    ingredients : Ingredients
    ages : slice
        Populations of this half.
    nb : int
        How many of the columns are the bands'.
    weights, lines : ndarray
        (nwave, ncol) and (nline, ncol) of `Columns`; lines are those of the spectrum too.
    basis : ndarray, shape (nrow, nage), or None
        Populations in each row; None where each is its own.
    metals : tuple (cell, position) or None
        Where the metallicity is fixed.
    gas : tuple of GasAxis or None
    outside : float
        ``frac_obrun``.
    continuum : bool
    tolerance : float
        Of the gas, relative to the largest value of each column.

    Attributes
    ----------
    rows : ndarray of int
        Of the basis (or populations) that have light here.
    """

    def __init__(
        self, ingredients, ages, nb, weights, lines, basis, metals, gas, outside, continuum,
        tolerance=TOLERANCE,
    ):  # fmt: skip
        g = self.g = ingredients
        self._tolerance = tolerance
        self._ages = np.arange(g.log_age.size)[ages]
        self.ncol = weights.shape[1]
        self.continuum = continuum
        share = np.eye(g.logz.size) if metals is None else _row(metals, g.logz.size)
        light = np.eye(self._ages.size) if basis is None else np.maximum(basis[:, self._ages], 0.0)
        some = light.any(axis=1)
        self.rows, light = (self._ages if basis is None else np.flatnonzero(some)), light[some]
        table = self._stars(weights, gas, outside, share, metals)
        self.gas, amplitudes = None, np.zeros((*share.shape[:1], len(light), 0))
        neb = self._ages < g.nneb
        if gas is not None and neb.any():
            photons = share @ g.photons[:, self._ages[neb]] * (1.0 - outside)
            if all(axis.fixed for axis in gas):
                table[:, neb] += photons[:, :, None] * self._gas(gas, weights, lines)[0]
            else:
                amount = photons[:, None] * light[:, neb]
                amplitudes = self._fold_gas(self._gas(gas, weights, lines), gas, amount)
        if basis is not None:
            table = np.einsum("ka,zac->zkc", light, table, optimize=True)
        table = np.concatenate([table, amplitudes], axis=2).astype(np.float32)
        # Bands apart: passes over an array of their own are quicker. By cell of metallicity.
        halves = [np.ascontiguousarray(half) for half in (table[:, :, :nb], table[:, :, nb:])]
        self._pairs = [
            [half[c : c + 2].reshape(2 * len(light), half.shape[2]) for half in halves]
            for c in range(len(table) - 1)
        ]
        if self.gas is not None:
            cells, right = self.gas
            self.gas = cells, right[:, :nb].copy(), right[:, nb:].copy()
        self._few = None
        if len(table) == 1 or len(table) * len(light) <= _FEW:
            few, rest = (half.reshape(len(table) * len(light), half.shape[2]) for half in halves)
            self._few = few if self.gas is None else np.concatenate([few, self.gas[1]]), rest

    def _stars(self, weights, gas, outside, share, metals):
        g = self.g
        lnu = g.stars_lnu[:, self._ages]
        if metals is not None:
            lnu = np.tensordot(share, lnu, 1)
        weights = weights.astype(np.float32)
        if gas is None:
            return (lnu @ weights).astype(float)
        ionised = weights.copy()
        ionised[: nebular.ionising(g.wave)] *= np.float32(outside)
        neb = self._ages < g.nneb
        both = [lnu[:, part] @ w for part, w in ((neb, ionised), (~neb, weights))]
        return np.concatenate(both, axis=1).astype(float)

    def _gas(self, gas, weights, lines):
        """Light per unit of photons at all nodes, (nnode, nage of those with gas, ncol)."""
        g = self.g
        log_age = g.log_age[self._ages[self._ages < g.nneb]]
        kinds = [(g.neb_logline, lines)]
        if self.continuum:
            kinds.append((g.neb_logcont, weights))
        size = gas[0].nodes.size, gas[1].nodes.size
        out = np.zeros((*size, log_age.size, self.ncol), np.float32)
        for table, columns in kinds:
            columns = columns.astype(np.float32)
            for i, logz in enumerate(gas[0].nodes):
                at = nebular.at_ages(g, table, logz, log_age)
                for j, logu in enumerate(gas[1].nodes):
                    out[i, j] += nebular.at_logu(g, at, logu) @ columns
        return out.reshape(-1, *out.shape[2:])

    def _fold_gas(self, light, gas, amount):
        """Tables of the gas; returns amplitudes (nz, nrow, r).

        Parameters
        ----------
        light : ndarray, shape (nnode, nage, ncol)
            Per unit of photons.
        gas : tuple of GasAxis
        amount : ndarray, shape (nz, nrow, nage)
            Photons of each row's populations.
        """
        nnode, nage, ncol = light.shape
        light = light.transpose(1, 0, 2).reshape(nage, -1)
        total = amount.sum(axis=2)
        some = total > 0.0
        if some.sum() < nage:
            # Fewer mixtures of ages than ages.
            mixtures = amount[some] / total[some][:, None]
            left, right = low_rank(mixtures @ light, self._tolerance)
            amplitudes = np.zeros((*total.shape, left.shape[1]))
            amplitudes[some] = left * total[some][:, None]
        else:
            left, right = low_rank(light, self._tolerance)
            amplitudes = amount @ left
        r = left.shape[1]
        tables = right.reshape(r, nnode, ncol).transpose(1, 0, 2)
        left, right = low_rank(tables.reshape(nnode * r, ncol), self._tolerance)
        left = left.reshape(gas[0].nodes.size, gas[1].nodes.size, r, -1)
        cells = []
        for i in range(gas[0].ncell):
            for j in range(gas[1].ncell):
                part = left[gas[0].of_cell(i)][:, gas[1].of_cell(j)]
                cells.append(part.reshape(-1, left.shape[-1]))
        self.gas = np.array(cells, dtype=np.float32), right.astype(np.float32)
        return amplitudes

    def __call__(self, share, metals, gas):
        """Light of rows in the order of their metallicity: bands (n, nb), other columns (n, m).

        Parameters
        ----------
        share : ndarray, shape (n, nrow)
        metals : tuple or None
            Position (n, 1), cells (n,) and runs [(cell, start, stop), ...].
        gas : tuple or None
            Order, runs [(cell, start, stop), ...] and weights (n, nnode) in that order.
        """
        if share.shape[1] != self.rows.size:
            share = share[:, self.rows]
        if self._few is not None:
            if metals is not None:
                share = self._spread(share, *metals[:2])
            rest = share @ self._few[1]
            if self.gas is None:
                return share @ self._few[0], rest
        else:
            bands, rest = self._by_cells(share, *metals)
            if self.gas is None:
                return bands, rest
        order, runs, weight = gas
        cells, of_bands, of_rest = self.gas
        k = of_rest.shape[1]
        rest, amplitude = rest[:, :k], rest[:, k:]
        product = (weight[:, :, None] * amplitude[order][:, None]).reshape(len(rest), -1)
        ordered = np.empty((len(rest), cells.shape[2]), np.float32)
        for cell, a, b in runs:
            np.dot(product[a:b], cells[cell], out=ordered[a:b])
        mix = np.empty_like(ordered)
        mix[order] = ordered
        if self._few is not None:
            bands = np.concatenate([share, mix], axis=1) @ self._few[0]
        else:
            bands += mix @ of_bands
        rest += mix @ of_rest
        return bands, rest

    def _spread(self, share, f, cell):
        """Shares (n, nrow) as those of the rows of all metallicities."""
        n, k = share.shape
        out = np.zeros((n, (len(self._pairs) + 1) * k), np.float32)
        row, column = np.arange(n)[:, None], cell[:, None] * k + np.arange(k)
        out[row, column], out[row, column + k] = share * (1.0 - f), share * f
        return out

    def _by_cells(self, share, f, cell, runs):
        """Bands and other columns, each cell of metallicity by itself."""
        pair = np.concatenate([share * (1.0 - f), share * f], axis=1)
        bands, rest = (np.empty((len(share), a.shape[1]), np.float32) for a in self._pairs[0])
        for at, a, b in runs:
            first, second = self._pairs[at]
            np.dot(pair[a:b], first, out=bands[a:b])
            np.dot(pair[a:b], second, out=rest[a:b])
        return bands, rest


def _row(metals, n):
    cell, f = metals
    out = np.zeros((1, n))
    out[0, cell], out[0, cell + 1] = 1.0 - f, f
    return out


def runs(cells):
    """Runs (value, start, stop) of a sorted array of integers."""
    edges = np.flatnonzero(cells[1:] != cells[:-1]) + 1
    starts = [0, *edges.tolist()]
    return list(zip(cells[starts].tolist(), starts, [*edges.tolist(), cells.size], strict=True))
