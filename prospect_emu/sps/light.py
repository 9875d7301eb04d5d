"""Stars and gas in the columns of `prospect_emu.sps.columns`: tables, and their use.

Light is linear in the weights of the populations, in those of the metallicities on both
sides, and (where the gas varies) in those of a few nodes of its parameters, between which
the light per photon is an exponential.
"""

from functools import lru_cache

import numpy as np

from . import nebular
from .constants import find_cell
from .nodes import low_rank

# Chebyshev-Lobatto nodes across a cell of a gas parameter, in which the light per photon is
# an exponential: steep in log U, where a line may change tenfold between nodes of the tables.
_CELL_NODES = {"gas_logz": 5, "gas_logu": 7}
# Likewise where lines are wanted to 1e-6.
_FINE_NODES = 7
# Of the largest value of each column, over ages and gas.
TOLERANCE = 3e-5
# Rows of all metallicities up to which one product with all is quicker than one for each cell.
_FEW = 32
# This many nodes show what the light of all is made of.
_FEW_NODES = 200
# Of the brightest column (lines and light per Hz differ much): what is fainter is dark.
_DARK = 1e-25
# Columns that are computed at a time: those side by side see neighbouring wavelengths.
_WIDE = 64
# Columns differ in brightness, so that mixtures of ages are held to less than the tolerance.
_AGES = 0.15
# The same of gas whose metallicity and ionisation are both free.
_BOTH = 0.1


class GasAxis:
    """Nodes of ``gas_logz`` or ``gas_logu``: one where it is fixed.

    Attributes
    ----------
    nodes : ndarray
    """

    def __init__(self, name, axis, fixed, tolerance=TOLERANCE):
        self.name, self._axis, self.fixed = name, axis, fixed is not None
        if self.fixed:
            self.nodes, self.size, self.ncell = np.array([float(np.asarray(fixed))]), 1, 1
            return
        self.size = max(_CELL_NODES[name], _FINE_NODES * (tolerance < 1e-6))
        self.ncell = axis.size - 1
        lobatto = -np.cos(np.pi * np.arange(self.size) / (self.size - 1))
        self.lagrange = np.linalg.inv(np.vander(lobatto, increasing=True))
        x = 0.5 + 0.5 * lobatto[:-1]
        self.nodes = np.append((axis[:-1, None] + np.diff(axis)[:, None] * x).ravel(), axis[-1])

    def weights(self, p):
        """Cell (n,) and weights (n, size) of its nodes, where it is free."""
        cell, f = find_cell(self._axis, p[self.name])
        powers = np.ones((f.size, self.size))
        powers[:, 1:] = (2.0 * f - 1.0)[:, None]
        return cell, np.multiply.accumulate(powers, axis=1) @ self.lagrange

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
        share = np.eye(g.logz.size) if metals is None else _row(metals, g.logz.size)
        light = np.eye(self._ages.size) if basis is None else np.maximum(basis[:, self._ages], 0.0)
        some = light.any(axis=1)
        self.rows, light = (self._ages if basis is None else np.flatnonzero(some)), light[some]
        table = self._stars(weights, gas, outside, share, metals)
        self.gas, amplitudes = None, np.zeros((*share.shape[:1], len(light), 0))
        neb = self._ages < g.nneb
        if gas is not None and light[:, neb].any():
            photons = share @ g.photons[:, self._ages[neb]] * (1.0 - outside)
            kinds = [("neb_logline", lines.astype(np.float32))]
            if continuum:
                kinds.append(("neb_logcont", weights.astype(np.float32)))
            log_age = g.log_age[self._ages[neb]]
            if all(axis.fixed for axis in gas):
                light_of_one = self._gas(gas, slice(None), log_age, kinds)[0]
                table[:, neb] += photons[:, :, None] * light_of_one
            else:
                amount = photons[:, None] * light[:, neb]
                amplitudes = self._fold_gas(gas, log_age, kinds, amount)
        if basis is not None:
            table = np.einsum("ka,zac->zkc", light, table, optimize=True)
        table = np.concatenate([table, amplitudes], axis=2).astype(np.float32)
        # Bands apart: passes over an array of their own are quicker. By cell of metallicity.
        halves = [np.ascontiguousarray(half) for half in (table[:, :, :nb], table[:, :, nb:])]
        self._pairs = [
            [
                half[c : c + 2].swapaxes(0, 1).reshape(2 * len(light), half.shape[2])
                for half in halves
            ]
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
            return InColumns(weights)(lnu).astype(float)
        ionised = weights.copy()
        ionised[: nebular.ionising(g.wave)] *= np.float32(outside)
        neb = self._ages < g.nneb
        both = [InColumns(w)(lnu[:, part]) for part, w in ((neb, ionised), (~neb, weights))]
        return np.concatenate(both, axis=1).astype(float)

    def _gas(self, gas, which, log_age, kinds):
        """Light per unit of photons, (nnode, nage, ncol).

        Parameters
        ----------
        gas : tuple of GasAxis
        which : slice
            Of the nodes of both, those of ``gas_logz`` first.
        log_age : ndarray, shape (nage,)
        kinds : list of tuple (name, columns)
            Tables of the gas, and what becomes of their wavelengths or lines.
        """
        if gas[1].fixed:
            logz, at = tuple(gas[0].nodes[which].tolist()), (gas[1].nodes[0], *log_age[[0, -1]])
            return sum(InColumns(w)(_gas_light(self.g, name, logz, *at)) for name, w in kinds)
        nodes = np.stack(np.meshgrid(*(a.nodes for a in gas), indexing="ij"), -1).reshape(-1, 2)
        nodes = nodes[which]
        out = np.zeros((len(nodes), log_age.size, kinds[0][1].shape[1]), np.float32)
        for name, columns in kinds:
            in_columns, table = InColumns(columns), getattr(self.g, name)
            for i, (logz, logu) in enumerate(nodes):
                if i == 0 or logz != nodes[i - 1, 0]:
                    at = nebular.at_ages(self.g, table, logz, log_age)
                out[i] += in_columns(nebular.from_log10(nebular.at_logu(self.g, at, logu)))
        return out

    def _fold_gas(self, gas, log_age, kinds, amount):
        """Tables of the gas; returns amplitudes (nz, nrow, r).

        Parameters
        ----------
        gas : tuple of GasAxis
        log_age : ndarray, shape (nage,)
        kinds : list
            See `_gas`.
        amount : ndarray, shape (nz, nrow, nage)
            Photons of each row's populations.
        """
        # Few directions of the columns hold all light: those of some nodes.
        nnode = gas[0].nodes.size * gas[1].nodes.size
        step = max(nnode // _FEW_NODES, 1)
        some = self._gas(gas, slice(None, None, step), log_age, kinds)
        few = some.reshape(-1, self.ncol)
        scale = np.abs(few).max(axis=0).astype(float)
        scale = np.maximum(scale, _DARK * scale.max())
        basis = low_rank((few / scale).T, 0.3 * self._tolerance)[0]
        inwards = (basis / scale[:, None]).astype(np.float32)
        if step == 1:
            light = some @ inwards
        else:
            kinds = [(table, columns @ inwards) for table, columns in kinds]
            light = self._gas(gas, slice(None), log_age, kinds)
        light = light.transpose(1, 0, 2).astype(float)
        nage, _, ncol = light.shape
        each = np.repeat(np.linalg.norm(light, axis=2).max(axis=0), ncol)
        light = light.reshape(nage, -1)
        total = amount.sum(axis=2)
        some = total > 0.0
        if some.sum() < nage:
            # Fewer mixtures of ages than ages.
            mixtures = amount[some] / total[some][:, None]
            left, right = low_rank(mixtures @ light, _AGES * self._tolerance, each)
            amplitudes = np.zeros((*total.shape, left.shape[1]))
            amplitudes[some] = left * total[some][:, None]
        else:
            left, right = low_rank(light, _AGES * self._tolerance, each)
            amplitudes = amount @ left
        r = left.shape[1]
        tables = right.reshape(r, nnode, ncol).transpose(1, 0, 2)
        # Between ionised gases of any kind a band's light varies by more than a metallicity's.
        finer = self._tolerance * (_BOTH if min(a.nodes.size for a in gas) > 1 else 1.0)
        left, right = low_rank(tables.reshape(nnode * r, ncol), finer, np.ones(ncol))
        left = left.reshape(gas[0].nodes.size, gas[1].nodes.size, r, -1)
        cells = []
        for i in range(gas[0].ncell):
            for j in range(gas[1].ncell):
                part = left[gas[0].of_cell(i)][:, gas[1].of_cell(j)]
                cells.append(part.reshape(-1, left.shape[-1]))
        right = right @ (basis * scale[:, None]).T
        self.gas = np.array(cells, dtype=np.float32), right.astype(np.float32)
        return amplitudes

    def __call__(self, share, metals, gas, seen=slice(None)):
        """Light of rows in the order of their metallicity: bands (n, nb), other columns (n, m).

        Parameters
        ----------
        share : ndarray, shape (n, nrow)
        metals : tuple or None
            Position (n, 1), cells (n,) and runs [(cell, start, stop), ...].
        gas : tuple or None
            Order, runs [(cell, start, stop), ...] and weights (n, nnode) in that order.
        seen : slice
            Of the bands.
        """
        if share.shape[1] != self.rows.size:
            share = share[:, self.rows]
        if self._few is not None:
            if metals is not None:
                share = self._spread(share, *metals[:2])
            rest = share @ self._few[1]
            if self.gas is None:
                return share @ self._few[0][:, seen], rest
        else:
            bands, rest = self._by_cells(share, *metals, seen)
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
            bands = np.concatenate([share, mix], axis=1) @ self._few[0][:, seen]
        else:
            bands += mix @ of_bands[:, seen]
        rest += mix @ of_rest
        return bands, rest

    def _spread(self, share, f, cell):
        """Shares (n, nrow) as those of the rows of all metallicities."""
        n, k = share.shape
        out = np.zeros((n, (len(self._pairs) + 1) * k), np.float32)
        row, column = np.arange(n)[:, None], cell[:, None] * k + np.arange(k)
        out[row, column], out[row, column + k] = share * (1.0 - f), share * f
        return out

    def _by_cells(self, share, f, cell, runs, seen):
        """Bands and other columns, each cell of metallicity by itself."""
        # Up to the oldest that has light in any row: at high redshift few are that old.
        n, old = len(share), int(np.flatnonzero(share.any(axis=0)).max(initial=0)) + 1
        sides = np.concatenate([1.0 - f, f], axis=1)
        pair = (share[:, :old, None] * sides[:, None]).reshape(n, -1)
        used = slice(0, pair.shape[1])
        first, second = self._pairs[0]
        bands, rest = (np.empty((n, a.shape[1]), np.float32) for a in (first[:, seen], second))
        for at, a, b in runs:
            first, second = self._pairs[at]
            first, second = first[used], second[used]
            np.dot(pair[a:b], first[:, seen], out=bands[a:b])
            np.dot(pair[a:b], second, out=rest[a:b])
        return bands, rest


@lru_cache(maxsize=4)
def _gas_light(ingredients, name, logz, logu, first, last):
    """Light of a table of the gas at some metallicities and all ages between two, per photon."""
    log = nebular.at_logu(ingredients, getattr(ingredients, name), logu)
    log_age = ingredients.log_age
    log_age = log_age[(log_age >= first) & (log_age <= last)]
    each = [nebular.at_ages(ingredients, log, z, log_age) for z in logz]
    return nebular.from_log10(np.array(each))


class InColumns:
    """``light @ weights`` for weights (nwave, ncol) of which most are zero."""

    def __init__(self, weights):
        self._ncol, self._parts = weights.shape[1], []
        for first in range(0, self._ncol, _WIDE):
            part = weights[:, first : first + _WIDE]
            some = np.flatnonzero(part.any(axis=1))
            if some.size:
                seen = slice(some[0], some[-1] + 1)
                self._parts.append((slice(first, first + _WIDE), seen, part[seen].copy()))

    def __call__(self, light):
        """Columns (..., ncol) of light (..., nwave)."""
        flat = light.reshape(-1, light.shape[-1])
        out = np.zeros((len(flat), self._ncol), np.float32)
        for columns, seen, part in self._parts:
            out[:, columns] = flat[:, seen] @ part
        return out.reshape(*light.shape[:-1], self._ncol)


def _row(metals, n):
    cell, f = metals
    out = np.zeros((1, n))
    out[0, cell], out[0, cell + 1] = 1.0 - f, f
    return out


def runs(cells):
    """Runs (value, start, stop) of a sorted array of integers."""
    edges = (cells[1:] != cells[:-1]).nonzero()[0] + 1
    starts = [0, *edges.tolist()]
    return list(zip(cells[starts].tolist(), starts, [*edges.tolist(), cells.size], strict=True))
