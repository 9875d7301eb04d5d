"""What turns spectra into columns: bands and luminosities at the nodes of the dust.

A column is an integral over wavelength with the weights of a node. Where the dust is
free, its transmission multiplies the columns for each galaxy; where it is fixed, it is in
the weights and each band is one column.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..cosmology import MAGGIE
from . import attenuation, dust_emission, igm, nebular
from .constants import LNU_UNIT, REFERENCE, TINY, interpolate, locate
from .nebular import frequency_weights
from .nodes import family, law_ranges, skeleton

# Of the light in a band, and of that absorbed or emitted by dust, for any dust in the ranges.
TOLERANCE = 4e-5
_DUST_TOLERANCE = 3e-5
LINES_TOLERANCE = 0.05
# Below this the light of old stars is far from even across a band: at its end all may be.
_STEEP, _STEEP_TOLERANCE = 2000.0, 0.1


def line_weights(filters, line_wave, zred):
    """Maggies per line luminosity where L_nu is in maggies, (nband, nline).

    As Prospector's ``nebline_photometry`` has them: the transmission at the line, read
    linearly from the curve, times wavelength, over the counts of a source of zero magnitude.
    """
    if hasattr(filters, "line_weights"):
        return filters.line_weights(line_wave, zred)
    seen = line_wave * (1.0 + zred)
    out = np.empty((len(filters), line_wave.size))
    for i, f in enumerate(filters):
        trans = np.interp(seen, f.wavelength, f.transmission, left=0.0, right=0.0)
        out[i] = np.maximum(trans, 0.0) * line_wave * MAGGIE / f.ab_zero_counts
    return out


class Targets(NamedTuple):
    """What is computed of a spectrum: sums over its samples and over its lines.

    Attributes
    ----------
    runs : list of tuple (node, weight)
        Samples of L_nu in each target and their weights; none for a target of lines alone.
    lines : ndarray, shape (ntarget, nline)
        Weights of line luminosities that are not in the spectrum.
    igm : ndarray, shape (nwave,)
        What the intergalactic gas lets through of all but the AGN.
    """

    runs: list
    lines: np.ndarray
    igm: np.ndarray


def band_targets(ingredients, projector, fixed, settings, lines):
    """Bands at one redshift as `Targets`.

    Parameters
    ----------
    ingredients : Ingredients
    projector : FilterProjector
    fixed, settings : dict
    lines : ndarray of bool, shape (nline,), or None
        Lines whose flux is added to the bands.
    """
    zred = float(np.asarray(fixed.get("zred", 0.0)))
    wave = ingredients.wave
    node, weight, start = projector.weights(zred)
    stops = np.append(start[1:], node.size)
    runs = [(node[a:b], weight[a:b]) for a, b in zip(start, stops, strict=True)]
    past = np.ones(wave.size)
    if settings["add_igm_absorption"]:
        factor = float(np.asarray(fixed.get("igm_factor", 1.0)))
        blue = igm.transmission(igm.terms(wave), zred, factor)[0]
        past[: blue.size] = blue
    flux = np.zeros((len(runs), ingredients.line_wave.size))
    if lines is not None:
        flux = line_weights(projector.filters, ingredients.line_wave, zred) * lines
    return Targets(runs, flux, past)


class Columns:
    """Weights of samples of L_nu in all columns.

    Parameters
    ----------
    ingredients : Ingredients
    targets : Targets
    fixed : dict
    free : set of str
    ranges : dict
    settings : dict
        Switches, see `prospect_emu.sps.inputs.SETTINGS`.

    Attributes
    ----------
    young, old : ndarray, shape (nwave, ncol)
        Of the bands' nodes (the first `nb`), then of the absorbed light.
    young_lines, old_lines : ndarray, shape (nline, ncol)
        Of lines that are not in the spectrum.
    dust : ndarray, shape (nspan, nb + ne + 1)
        Of the bands' nodes, of the emission that leaves the dust, of all of it.
    agn : ndarray, shape (nwave, nb)
    law : PreparedLaw or None
        Transmission at the nodes of the bands, of the absorbed light and of the emission
        that leaves the dust, in turn; None where the dust is fixed.
    nb, nl : int
        Where the second and the third begin.
    owner : ndarray of int, shape (nb,)
        Target of each column.
    ranges : dict
        Of the law's free parameters.
    """

    def __init__(self, ingredients, targets, fixed, free, ranges, settings):
        self.g, self.fixed = ingredients, fixed
        self.dust_type = int(settings["dust_type"])
        wave = ingredients.wave
        self._runs, self._in_bands, self._igm = targets
        self._hertz = frequency_weights(wave) * LNU_UNIT
        apart = not settings["nebemlineinspec"] and settings["add_neb_emission"]
        self.apart, self.gas = apart, settings["add_neb_emission"]
        lo = np.clip(locate(wave, ingredients.line_wave), 1, wave.size - 1) - 1
        self._line_lo = lo
        self._line_f = (ingredients.line_wave - wave[lo]) / (wave[lo + 1] - wave[lo])
        self._law = attenuation.LAWS[self.dust_type].parameters + attenuation.COMMON
        names = [k for k in self._law if k in free]
        self.ranges = law_ranges(names, ranges)
        self.emits = bool(settings["add_dust_emission"])
        if names:
            self._free()
        else:
            self._fixed()

    # ---- free dust -----------------------------------------------------------------

    def _free(self):
        g, wave = self.g, self.g.wave
        known = tuple((k, float(np.asarray(v))) for k, v in self.fixed.items() if k in self._law)
        dust = free_dust(
            g, self.dust_type, known, tuple(self.ranges.items()), bool(self.gas), self.emits
        )
        curves = dust.curves
        nodes, parts, owner = [], [], []
        # From blue to red, so that those with dust emission lie together.
        last = [run[-1] if run.size else -1 for run, _ in self._runs]
        for b in np.argsort(last, kind="stable"):
            at, full, count = self._samples(b, *self._runs[b])
            if at.size == 1:
                pick, matrix = np.zeros(1, dtype=int), np.ones((1, 1))
            else:
                # A line at a band's edge may be all that is seen there.
                tolerance = TOLERANCE * (LINES_TOLERANCE if self._in_bands[b].any() else 1.0)
                if wave[at[0]] < _STEEP:
                    tolerance *= _STEEP_TOLERANCE
                pick, matrix = skeleton(curves[:, at], count, tolerance)
            nodes.append(at[pick])
            parts.append((b, at, full, matrix))
            owner += [b] * pick.size
        self.owner = np.array(owner)
        nb = self.nb = self.owner.size
        lost, span = np.zeros(0, dtype=int), slice(g.dust_start, None)
        ne = 0
        if self.emits:
            lost, absorbed = dust.absorbed
            emitted, norm = dust.emitted
            ne = emitted.size
            nodes += [lost, emitted]
        self.nl = nb + lost.size
        self.law = attenuation.prepare(
            self.dust_type, wave[np.concatenate(nodes)], self.fixed, wave, np.float32, self.ranges
        )
        old = np.zeros((wave.size, nb + lost.size), np.float32)
        lines = np.zeros((g.line_wave.size, nb + lost.size))
        self.dust = np.zeros((wave.size - g.dust_start, nb + ne + 1))
        self.agn = np.zeros((wave.size, nb), np.float32)
        first = 0
        for b, at, full, matrix in parts:
            these = slice(first, first + len(matrix))
            first = these.stop
            weights = (full * matrix).T
            self.agn[at, these] = weights
            old[at, these] = weights * self._igm[at, None]
            flux = self._in_bands[b]
            if flux.any():
                dense = np.zeros((wave.size, len(matrix)))
                dense[at] = matrix.T
                lines[:, these] = flux[:, None] * self._at_lines(dense)
        self.dust[:, :nb] = old[span, :nb]
        if self.emits:
            old[:, nb:] = self._hertz[:, None] * absorbed.T
            if self.apart:
                lines[:, nb:] = LNU_UNIT * self._at_lines(absorbed.T)
            self.dust[:, nb : nb + ne] = self._hertz[span, None] * norm.T
        self.dust[:, -1] = self._hertz[span]
        self.young, self.young_lines = old, lines
        self.old, self.old_lines = old, lines

    def _samples(self, b, run, weight):
        """Samples of a band, those beside its lines too: index, weights, and what each counts."""
        flux = self._in_bands[b]
        at = np.flatnonzero(flux)
        beside = np.unique(np.concatenate([self._line_lo[at], self._line_lo[at] + 1]))
        every = np.union1d(run, beside).astype(int)
        full = np.zeros(every.size)
        full[np.searchsorted(every, run)] = weight
        # A line may outshine all else in its band.
        count = np.abs(full)
        count[np.searchsorted(every, beside)] = count.max(initial=0.0) or 1.0
        return every, full, count if count.any() else np.ones(every.size)

    def _at_lines(self, table):
        """Rows of a table (nwave, m) at the lines, linearly between wavelengths."""
        f, lo = self._line_f[:, None], self._line_lo
        return (1.0 - f) * table[lo] + f * table[lo + 1]

    # ---- fixed dust ----------------------------------------------------------------

    def _fixed(self):
        g, wave = self.g, self.g.wave
        law = attenuation.prepare(self.dust_type, wave, self.fixed)
        seen, gone = law({}), law.absorbed({})
        self.law = None
        nb = self.nb = len(self._runs)
        self.owner = np.arange(nb)
        flux = np.zeros((wave.size, nb))
        for b, (run, weight) in enumerate(self._runs):
            flux[run, b] = weight
        igm, span = self._igm[:, None], slice(g.dust_start, None)
        self.emits = self.emits and bool(law.emits({})[0])
        through = line_transmission(law, seen.diffuse, g, self.fixed)
        both = []
        for kind, light, lost in zip(through, (seen.young, seen.old), gone, strict=True):
            column = [flux * light[0][:, None] * igm]
            lines = [self._in_bands.T * kind[:, None]]
            if self.emits:
                column.append((self._hertz * lost[0])[:, None])
                lines.append(self.apart * LNU_UNIT * (1.0 - kind)[:, None])
            both.append((np.concatenate(column, axis=1), np.concatenate(lines, axis=1)))
        (self.young, self.young_lines), (self.old, self.old_lines) = both
        diffuse = seen.diffuse[0][:, None]
        self.dust = np.concatenate(
            [
                (flux * igm * diffuse)[span],
                self._hertz[span, None] * diffuse[span],
                self._hertz[span, None],
            ],
            axis=1,
        )
        self.agn = flux * seen.agn[0][:, None]


class FreeDust(NamedTuple):
    """What `Columns` needs of a law whose parameters are free, the same at all redshifts.

    Attributes
    ----------
    curves : ndarray, shape (ncurve, nwave)
        Transmission over the ranges of the parameters.
    absorbed, emitted : tuple (nodes, matrix), or None
        Of the light that dust absorbs, and of its own as it leaves; see `skeleton`.
    """

    curves: np.ndarray
    absorbed: tuple | None
    emitted: tuple | None


@lru_cache(maxsize=2)
def free_dust(ingredients, dust_type, known, ranges, gas, emits):
    """`FreeDust` for parameters with the values `known` and the limits `ranges`, both as pairs."""
    points, wave = family(dict(ranges)), ingredients.wave
    law = attenuation.prepare(dust_type, wave, dict(known))
    seen = law(points)
    kinds = []
    for curve in seen:
        if not any(np.array_equal(curve, other) for other in kinds):
            kinds.append(np.broadcast_to(curve, (len(curve), wave.size)))
    curves = np.concatenate(kinds).astype(np.float32)
    if not emits:
        return FreeDust(curves, None, None)
    lost = np.concatenate(law.absorbed(points))
    return FreeDust(
        curves, _absorbed_nodes(ingredients, lost, gas), _emitted_nodes(ingredients, seen.diffuse)
    )


def _absorbed_nodes(g, curves, gas):
    light = [g.stars_lnu[np.argmin(np.abs(g.logz))]]
    if gas:
        light[0] = light[0].copy()
        light[0][: g.nneb, : nebular.ionising(g.wave)] = 0.0
        # Lines, Ly alpha above all, hold much of the light of the youngest.
        profiles = nebular.line_profiles(g.wave, g.resolution, g.line_wave)
        for logu in g.neb_logu[[0, -1]]:
            light.append(nebular.continuum(g, 0.0, logu)[0][::9])
            light.append(nebular.lines(g, 0.0, logu)[0][::9] @ profiles)
    light = np.concatenate(light) * (frequency_weights(g.wave) * LNU_UNIT)
    weight = (light / light.sum(axis=1, keepdims=True)).max(axis=0)
    return skeleton(curves[curves.max(axis=1) > 0.0], weight, _DUST_TOLERANCE)


def _emitted_nodes(g, diffuse):
    hertz = frequency_weights(g.wave)[g.dust_start :] * LNU_UNIT
    light = g.dust_lnu.reshape(-1, hertz.size) * hertz
    weight = np.abs(light / light.sum(axis=1, keepdims=True)).max(axis=0)
    nodes, matrix = skeleton(diffuse[:, g.dust_start :], weight, 0.3 * _DUST_TOLERANCE)
    return nodes + g.dust_start, matrix


def line_transmission(law, diffuse, ingredients, fixed):
    """Of the lines, young and old, (nline,) each: FSPS leaves out ``dust3`` there."""
    g = ingredients
    p = attenuation.DEFAULTS | fixed
    value = {k: float(np.asarray(p[k])) for k in attenuation.COMMON}
    diffuse = interpolate(g.wave, diffuse[0], g.line_wave)
    cloud = np.exp(-value["dust1"] * (g.line_wave / REFERENCE) ** value["dust1_index"])
    cloud = cloud * (1.0 - value["frac_obrun"]) + value["frac_obrun"]
    rest = diffuse * (1.0 - value["frac_nodust"]) + value["frac_nodust"]
    used = value["dust1"] > TINY or value["dust2"] > TINY
    if not used and law.dust_type != attenuation.WITT_GORDON:
        return np.ones_like(rest), np.ones_like(rest)
    return cloud * rest, rest


def dust_rows(ingredients, columns):
    """Templates of dust emission in columns, (nqpah * numin * 2, nb + ne + 1)."""
    rows = ingredients.dust_lnu.reshape(-1, ingredients.dust_lnu.shape[-1])
    return rows.astype(float) @ columns.dust


def fixed_mixture(ingredients, fixed):
    """`dust_emission.mixture` of fixed parameters."""
    names = ("duste_qpah", "duste_umin", "duste_gamma")
    values = [np.atleast_1d(np.asarray(fixed.get(k, attenuation.DEFAULTS[k]))) for k in names]
    return dust_emission.mixture(ingredients, *values)
