"""A model compiled for bands at one redshift: what is fixed in matrices, what is free an array.

With nodes j of the dust (`prospect_emu.sps.columns`), ::

    maggies[b] = sum_{j in b} T_j(dust) sum_i c_i(stars, gas) G[i, j] + ...

and likewise for the light that dust absorbs, its own emission and the AGN.
"""

import numpy as np

from ..parameters import DEFAULTS
from . import ages, agn, dust_emission
from .columns import Columns, dust_rows, fixed_mixture
from .constants import LNU_UNIT, TINY, between, find_cell
from .inputs import Rows
from .light import TOLERANCE, GasAxis, InColumns, Stars, runs
from .nebular import line_profiles
from .nodes import low_rank

# Nodes per metallicity cell of the bolometric luminosity, which is exponential there.
_LBOL_NODES = 256
# Of the columns of dust emission: with more factors than that the templates are quicker.
_NO_GAIN = 0.6
# Bands up to which sums over their nodes are fastest as a product of matrices.
_FEW = 64
HISTORY = (
    "sfh", "tage", "tau", "const", "sf_start", "sf_trunc", "sf_slope", "fburst", "tburst",
    "agebins", "tabular_time", "tabular_sfr", "mass",
)  # fmt: skip
_HISTORY = frozenset(HISTORY)
_SHAPE = ("duste_qpah", "duste_umin", "duste_gamma")


class History:
    """Weights of populations (or of fixed mixtures of them) from the star-formation history.

    Attributes
    ----------
    basis : ndarray, shape (nrow, nage), or None
        Per Msun formed; None where every population has a row of its own.
    """

    def __init__(self, log_age, fixed, free):
        self._log_age = log_age
        self._fixed = {k: v for k, v in fixed.items() if k in HISTORY}
        some = [k for k in HISTORY if k in free]
        binned = "agebins" in fixed or "agebins" in free
        self._kind, self.basis = "free", None
        if "agebins" in fixed and some == ["mass"]:
            self._kind, self.basis = "bins", ages.step_weights(log_age, fixed["agebins"])
        elif not some or (some == ["mass"] and not binned):
            rows = Rows(self._fixed | {"mass": 1.0} if "mass" in free else self._fixed)
            weights, formed, scale = rows.star_formation(log_age)
            self._kind, self.basis = "constant", weights / formed[:, None]
            self._formed, self._scale = formed[0], scale[0]

    def __call__(self, p, n):
        """Shares (n, nrow) of one Msun formed, Msun (n,) formed, and scale (n,) of the light."""
        if self._kind == "bins":
            mass = p["mass"]
            total = mass.sum(axis=1)
            return mass / total[:, None], total, np.ones(n)
        if self._kind == "constant":
            scale = self._scale * p["mass"] if "mass" in p else np.full(n, self._scale)
            return np.ones((n, 1)), np.full(n, self._formed), scale
        some = {k: p[k] for k in HISTORY if k in p}
        weights, formed, scale = Rows(self._fixed | some).star_formation(self._log_age)
        return weights / formed[:, None], formed, scale


class Folded:
    """Band fluxes and surviving mass of rows inside the grids; made by `compile_sps`.

    Parameters
    ----------
    ingredients : Ingredients
    targets : Targets
        The bands.
    fixed : dict
    free : set of str
    ranges : dict
    settings : dict
    gas_tolerance : float, optional
        Of light of the gas, relative to the largest value of each column.
    """

    # Rows that stay in cache.
    chunk = 512
    # Of the largest value of each column, over ages and gas and over templates of dust emission.
    gas_tolerance, dust_tolerance = TOLERANCE, 3e-7

    def __init__(self, ingredients, targets, fixed, free, ranges, settings, gas_tolerance=None):
        g = self.g = ingredients
        self.gas_tolerance = gas_tolerance or self.gas_tolerance
        self.fixed, self.free = fixed, free
        self.history = History(g.log_age, fixed, free)
        self.columns = c = Columns(g, targets, fixed, free, ranges, settings)
        self._metals = None
        if "logzsol" not in free:
            cell, f = find_cell(g.logz, self._value("logzsol"), extrapolate=True)
            self._metals = int(cell), float(f)
        self._fold_light(settings)
        self._sum_nodes()
        self._plain = c.law is None
        self._warm = slice(0, 0)
        if c.emits:
            self._fold_dust()
        self._torus = None
        if "fagn" in free or self._value("fagn") > TINY:
            self._fold_agn()
        self._within = self._limits()
        self._mass = g.stars_mass
        if self._metals is not None:
            cell, f = self._metals
            self._mass = ((1.0 - f) * g.stars_mass[cell] + f * g.stars_mass[cell + 1])[None]
        if self.history.basis is not None:
            self._mass = self._mass @ self.history.basis.T

    def _value(self, name):
        return float(np.asarray(self.fixed.get(name, DEFAULTS[name])))

    # ---- once per fit ----------------------------------------------------------

    def _sum_nodes(self):
        c, owner = self.columns, self.columns.owner
        self._start = np.flatnonzero(np.diff(owner, prepend=-1))
        self._order = np.argsort(owner[self._start])
        self.nband = self._start.size
        self._sum = None
        if self.nband <= _FEW:
            # Products are quickest where their width is a multiple of 16.
            self._sum = np.zeros((c.nb, -(-self.nband // 16) * 16), np.float32)
            self._sum[np.arange(c.nb), owner] = 1.0

    def _fold_light(self, on):
        g, c = self.g, self.columns
        nyoung = ages.young(g.log_age, on["dust_tesc"])
        self._gas = None
        lines = c.young_lines, c.old_lines
        if on["add_neb_emission"]:
            self._gas = tuple(
                GasAxis(
                    name,
                    axis,
                    None if name in self.free else self._value(name),
                    self.gas_tolerance,
                )
                for name, axis in (("gas_logz", g.neb_logz), ("gas_logu", g.neb_logu))
            )
            if on["nebemlineinspec"]:
                profiles = line_profiles(g.wave, g.resolution, g.line_wave)
                lines = [InColumns(c.young)(profiles)] * 2
                if c.old is not c.young:
                    lines[1] = InColumns(c.old)(profiles)
        common = (
            self.history.basis, self._metals, self._gas, self._value("frac_obrun"),
            bool(on["add_neb_continuum"]), self.gas_tolerance,
        )  # fmt: skip
        self._young = Stars(g, slice(0, nyoung), c.nb, c.young, lines[0], *common)
        self._old = Stars(g, slice(nyoung, None), c.nb, c.old, lines[1], *common)
        # Those that vary, the metallicity first.
        self._gas_free = [a for a in self._gas or () if not a.fixed]

    def _fold_dust(self):
        table = dust_rows(self.g, self.columns)
        nb = self.columns.nb
        table /= table[:, -1].max()
        # Columns with dust emission: those of the redder bands.
        warm = np.append(np.flatnonzero(np.abs(table[:, :nb]).max(axis=0) > 0.0), nb)
        self._warm = slice(warm[0], warm[-2] + 1 if warm.size > 1 else nb)
        table = np.concatenate([table[:, self._warm], table[:, nb:]], axis=1)
        if not any(k in self.free for k in _SHAPE):
            index, weight = fixed_mixture(self.g, self.fixed)
            table = weight @ table[index[0]]
        # Relative to each template's own luminosity, which span many decades.
        total = table[:, -1:]
        left, right = low_rank(table / total, self.dust_tolerance)
        left *= total
        self._warmth = right.astype(np.float32)
        if left.shape[1] > _NO_GAIN * table.shape[1]:
            left, self._warmth = table, None
        self._dust = left.astype(np.float32)[None]
        if left.shape[0] > 1:
            # At Umin and up to Umax side by side.
            self._dust = self._dust.reshape(-1, 2 * left.shape[1])

    def _fold_agn(self):
        g = self.g
        self._torus = g.agn_lnu @ self.columns.agn
        if "agn_tau" not in self.free:
            index, weight = agn.mixture(g, self._value("agn_tau"))
            self._torus = weight @ self._torus[index[0]]
        self._torus = self._torus.astype(np.float32)
        log = g.stars_loglbol
        if self._metals is not None:
            cell, f = self._metals
            self._lbol = 10.0 ** ((1.0 - f) * log[cell] + f * log[cell + 1])[None]
        else:
            x = np.arange(_LBOL_NODES) / _LBOL_NODES
            self._logz = np.append((g.logz[:-1, None] + np.diff(g.logz)[:, None] * x), g.logz[-1])
            cell, f = find_cell(g.logz, self._logz)
            self._lbol = 10.0 ** between(log, cell, f)
        if self.history.basis is not None:
            self._lbol = self._lbol @ self.history.basis.T

    # ---- which rows --------------------------------------------------------------

    def _limits(self):
        """Names of parameters that are held in ranges, and their (low, high), (m, 1) each."""
        limits = dict(self.columns.ranges)
        if self._metals is None:
            limits["logzsol"] = self.g.logz[0], self.g.logz[-1]
        if "duste_umin" in self.free and self.columns.emits:
            limits["duste_umin"] = -np.inf, self.g.dust_umin[-1]
        return tuple(limits), *np.reshape(list(limits.values()), (-1, 2)).T[:, :, None]

    def inside(self, p, n):
        """Rows (n,) inside the metallicities and the ranges of the dust."""
        out = np.ones(n, dtype=bool)
        names, low, high = self._within
        if names:
            values = np.array([p[k] for k in names])
            out = ((values >= low) & (values <= high)).all(axis=0)
        if self.history._kind == "bins" and not p["mass"].min() > 0.0:
            out &= (p["mass"] >= 0.0).all(axis=1) & (p["mass"] > 0.0).any(axis=1)
        return out

    # ---- per row -------------------------------------------------------------------

    def __call__(self, p, n, mfrac=False):
        """Fluxes (n, nband) of L_nu in Lsun/Hz, and (`mfrac`) the share of mass left, (n,)."""
        raw, formed, scale = self.history(p, n)
        left = None
        p = {k: v for k, v in p.items() if k not in _HISTORY}
        cell = f = np.zeros(n, dtype=int)
        if self._metals is None:
            cell, f = find_cell(self.g.logz, p["logzsol"])
        order = self._arranged(p, cell)
        if order is not None:
            raw, formed, cell, f = raw[order], formed[order], cell[order], f[order]
            p = {k: v[order] for k, v in p.items()}
        if mfrac:
            left = self._left(raw, cell, f)
        out = np.empty((n, self.nband))
        for i in range(0, n, self.chunk):
            at = slice(i, min(i + self.chunk, n))
            some = {k: v[at] for k, v in p.items()}
            out[at] = self._chunk(some, raw[at], formed[at], cell[at], f[at])
        if order is not None:
            back = np.empty_like(order)
            back[order] = np.arange(n)
            out, formed = out[back], formed[back]
            left = left[back] if mfrac else None
        out *= (formed * scale * LNU_UNIT)[:, None]
        return out, left

    def _arranged(self, p, cell):
        """Order of the rows, by cells of metallicity; None where any is as good."""
        return cell.argsort(kind="stable") if self._metals is None and cell.size > 1 else None

    def _seen(self, p):
        """Which of the bands' columns some rows need."""
        return slice(0, self.columns.nb)

    def surviving(self, p, n):
        """Share of the mass formed that is left, (n,)."""
        raw, _, _ = self.history(p, n)
        if self._metals is not None:
            return self._left(raw, None, None)
        return self._left(raw, *find_cell(self.g.logz, p["logzsol"]))

    def _left(self, raw, cell, f):
        if self._metals is not None:
            return raw @ self._mass[0]
        return np.einsum("nk,nk->n", between(self._mass, cell, f), raw)

    def _chunk(self, p, raw, formed, cell, f):
        c, n = self.columns, len(raw)
        share = np.maximum(raw, 0.0).astype(np.float32)
        metals = None
        if self._metals is None:
            metals = f.astype(np.float32)[:, None], cell, runs(cell)
        gas = self._gas_weights(p) if self._gas_free else None
        seen = self._seen(p)
        (old, warms), (young, warms_young) = (
            half(share, metals, gas, seen) for half in (self._old, self._young)
        )
        self._past_gas(p, seen, old, young)
        torus = dust = None
        if self._torus is not None:
            torus = self._agn(p, raw, n) @ self._torus[:, seen]
        # Columns with dust emission, of those seen.
        first, last = max(self._warm.start, seen.start), min(self._warm.stop, seen.stop)
        warm = slice(first - seen.start, max(last, first) - seen.start)
        if self._plain:
            old += young
            if last > first:
                lost = (warms + warms_young)[:, 0]
                old[:, warm] += self._warm_dust(p, lost, formed, first, last)
            if torus is not None:
                old += torus
            return self._bands(p, seen, old)
        law = {k: p[k].astype(np.float32) for k in c.ranges}
        sets = seen, slice(c.nb, c.nl), slice(c.nl, None)
        through, absorbed, leaving = c.law.in_turn(law, *sets)
        if last > first:
            warms *= absorbed[1]
            warms_young *= absorbed[0]
            warms += warms_young
            lost = np.where(c.law.emits(law), warms.sum(axis=1), 0.0)
            dust = self._warm_dust(p, lost, formed, first, last, leaving)
        young *= through.young
        if through.diffuse is through.old is through.agn:
            if dust is not None:
                old[:, warm] += dust
            if torus is not None:
                old += torus
            old *= through.old
        else:
            old *= through.old
            if dust is not None:
                old[:, warm] += dust * through.diffuse[:, warm]
            if torus is not None:
                old += torus * through.agn
        old += young
        return self._bands(p, seen, old)

    def _past_gas(self, p, seen, *light):
        """Intergalactic absorption in place; at one redshift it is in the columns."""

    def _bands(self, p, seen, light):
        """Bands (n, nband) from light at the nodes (n, nb)."""
        if self._plain:
            return light
        if self._sum is not None:
            return (light @ self._sum)[:, : self.nband]
        return np.add.reduceat(light, self._start, axis=1)[:, self._order]

    def _gas_weights(self, p):
        first, *second = self._gas_free
        cell, weight = first.weights(p)
        for axis in second:
            u, of_u = axis.weights(p)
            cell = cell * axis.ncell + u
            weight = (weight[:, :, None] * of_u[:, None]).reshape(len(u), -1)
        weight = weight.astype(np.float32)
        order = cell.argsort(kind="stable")
        return order, runs(cell[order]), weight[order]

    def _warm_dust(self, p, lost, formed, first, last, leaves=None):
        """Dust emission in columns `first` to `last` for light absorbed, Lsun per Msun formed."""
        n, k = len(lost), self._warm.stop - self._warm.start
        shape = self._dust[0] if self._dust.ndim == 3 else self._dust_mixture(p, n)
        if self._warmth is not None:
            shape = shape @ self._warmth
        leaving, norm = shape[:, k:-1], shape[:, -1].astype(float)
        leaving = leaving.sum(axis=1) if leaves is None else (leaving * leaves).sum(axis=1)
        power = dust_emission.escaped(lost.astype(float) * formed, leaving / norm) / formed
        power = np.where(lost > 0.0, power, 0.0)
        shape = shape[:, first - self._warm.start : last - self._warm.start]
        return shape * (power / norm).astype(np.float32)[:, None]

    def _dust_mixture(self, p, n):
        """`dust_emission.mixture` of the first factor of the templates, (n, r)."""
        g = self.g
        qpah, umin, gamma = (p[k] if k in p else np.full(n, self._value(k)) for k in _SHAPE)
        i, fi = find_cell(g.dust_qpah, qpah)
        j, fj = find_cell(g.dust_umin, umin)
        corner = np.array([0, 1, g.dust_umin.size, g.dust_umin.size + 1])
        index = (i * g.dust_umin.size + j)[:, None] + corner
        gamma = np.minimum(np.maximum(gamma, 0.0), 1.0)
        of_corner = np.empty((n, 4))
        of_corner[:, 3] = fi * fj
        of_corner[:, 2], of_corner[:, 1] = fi - of_corner[:, 3], fj - of_corner[:, 3]
        of_corner[:, 0] = (1.0 - fi) - of_corner[:, 1]
        weight = np.empty((n, 4, 2), np.float32)
        weight[:, :, 1] = of_corner * gamma[:, None]
        weight[:, :, 0] = of_corner - weight[:, :, 1]
        some = self._dust.take(index, axis=0).reshape(n, 8, -1)
        return (weight.reshape(n, 1, 8) @ some)[:, 0]

    def _agn(self, p, raw, n):
        """Weights (n, ntau) of the torus templates: luminosities of the AGN per Msun formed."""
        if self._metals is None:
            cell, f = find_cell(self._logz, p["logzsol"])
            power = np.einsum("nk,nk->n", between(self._lbol, cell, f), raw)
        else:
            power = raw @ self._lbol[0]
        fagn = p["fagn"] if "fagn" in p else self._value("fagn")
        power = power * np.maximum(fagn, 0.0)
        if "agn_tau" not in p:
            return power.astype(np.float32)[:, None]
        cell, f = find_cell(self.g.agn_tau, p["agn_tau"])
        out, rows = np.zeros((n, len(self._torus)), np.float32), np.arange(n)
        out[rows, cell], out[rows, cell + 1] = power * (1.0 - f), power * f
        return out
