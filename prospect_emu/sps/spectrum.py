"""Spectra from FSPS's parameters by name, in batches, as FSPS composes them.

Stars and gas younger and older than ``dust_tesc`` are attenuated apart; what is
absorbed comes back as dust emission; then the intergalactic gas absorbs, and the
AGN, which it does not absorb, is added.
"""

from typing import NamedTuple

import numpy as np

from . import ages, agn, attenuation, dust_emission, igm, nebular
from .constants import LNU_UNIT, REFERENCE, TINY, between, find_cell, interpolate
from .inputs import Rows, check_ingredients, check_names

# Rows that are computed together: their arrays of wavelengths stay in cache.
_CHUNK = 64


class Parts(NamedTuple):
    """What a spectrum is the sum of, (n, nwave) each in Lsun/Hz, of the mass formed.

    Attributes
    ----------
    young, old : ndarray
        Stars and gas younger and older than ``dust_tesc``, before dust.
    young_attenuated, old_attenuated, dust, agn : ndarray
        As they are seen, intergalactic gas included.
    absorbed : ndarray, shape (n,)
        Lsun.
    """

    young: np.ndarray
    old: np.ndarray
    young_attenuated: np.ndarray
    old_attenuated: np.ndarray
    dust: np.ndarray
    agn: np.ndarray
    absorbed: np.ndarray


class Spectrum(NamedTuple):
    """Spectra of n galaxies.

    Attributes
    ----------
    wave : ndarray, shape (nwave,)
        Angstrom, rest frame, vacuum.
    lnu : ndarray, shape (n, nwave)
        Lsun/Hz of the mass formed, intergalactic absorption included where asked for.
    mfrac : ndarray, shape (n,)
        Share of the mass formed that is left in stars and remnants.
    mass : ndarray, shape (n,)
        Msun formed.
    line_wave : ndarray, shape (nline,)
        Angstrom, vacuum.
    line_lum : ndarray, shape (n, nline)
        Lsun of the mass formed, attenuated by dust.
    lbol : ndarray, shape (n,)
        Lsun of the mass formed, of the stars before dust.
    parts : Parts or None
    """

    wave: np.ndarray
    lnu: np.ndarray
    mfrac: np.ndarray
    mass: np.ndarray
    line_wave: np.ndarray
    line_lum: np.ndarray
    lbol: np.ndarray
    parts: Parts | None = None

    def per_mass(self):
        """The same of one Msun formed."""
        mass = self.mass[:, None]
        return self._replace(
            lnu=self.lnu / mass, line_lum=self.line_lum / mass, lbol=self.lbol / self.mass,
            mass=self.mass**0,
        )  # fmt: skip


def spectrum(ingredients, params, parts=False):
    """Spectra of a batch of galaxies.

    Parameters
    ----------
    ingredients : Ingredients
    params : dict
        FSPS's parameters by name (`prospect_emu.parameters.PARAMETERS`); absent ones are
        FSPS's defaults, and those of the stars the ingredients' own. Scalars or (n,).
        The star-formation history is one of

        - ``agebins`` (nbin, 2) or (n, nbin, 2), log10(years), and ``mass`` (n, nbin) or
          (nbin,), Msun formed in each;
        - ``tabular_time`` (Gyr) and ``tabular_sfr`` (Msun/yr), (ntime,) or (n, ntime), seen
          at ``tage``;
        - ``sfh`` 0, 1, 4 or 5 with its parameters, and ``mass`` (n,) Msun (default 1). Any
          parameter may be (n, ncomponent); components sum.

        With ``mass_units="mstar"`` the mass is that of what is left of the stars.
    parts : bool
        Whether to return `Parts` too.

    Returns
    -------
    Spectrum

    Raises
    ------
    ModelMismatchError
        For an unknown name, or stellar parameters other than the ingredients'.
    RangeError
        Where FSPS stops, for age bins that do not adjoin, and the like.
    """
    check_names(params)
    check_ingredients(ingredients, params)
    rows = Rows(params)
    rows.check(ingredients)
    weights, formed, scale = rows.star_formation(ingredients.log_age)
    engine = _Engine(ingredients, rows)
    size, nwave = len(weights), ingredients.wave.size
    lnu, lines = np.empty((size, nwave)), np.empty((size, ingredients.line_wave.size))
    left, lbol, pieces = np.empty(size), np.empty(size), []
    for i in range(0, size, _CHUNK):
        some = slice(i, min(i + _CHUNK, size))
        lnu[some], lines[some], left[some], lbol[some], piece = engine(weights[some], some, parts)
        pieces.append(piece)
    mfrac = left / formed
    formed = formed * scale
    if np.all(np.asarray(params.get("mass_units", "mformed")) == "mstar"):
        scale, formed = scale / mfrac, formed / mfrac
    total = formed.reshape(rows.n, -1).sum(axis=1)

    def collect(a):
        a = a * scale.reshape(-1, *[1] * (a.ndim - 1))
        return a.reshape(rows.n, rows.ncomponent, *a.shape[1:]).sum(axis=1)

    split = None
    if parts:
        split = Parts(*(collect(np.concatenate(p)) for p in zip(*pieces, strict=True)))
    return Spectrum(
        wave=ingredients.wave,
        lnu=collect(lnu),
        mfrac=(mfrac * formed).reshape(rows.n, -1).sum(axis=1) / total,
        mass=total,
        line_wave=ingredients.line_wave,
        line_lum=collect(lines),
        lbol=collect(lbol),
        parts=split,
    )


def surviving(ingredients, params, components=False):
    """Share of the mass formed that is left in stars and remnants, (n,); as `spectrum` has it.

    Parameters
    ----------
    ingredients : Ingredients
    params : dict
        As for `spectrum`.
    components : bool
        Of each component by itself, (n * ncomponent,).
    """
    rows = Rows(params)
    weights, formed, scale = rows.star_formation(ingredients.log_age)
    cell, f = find_cell(ingredients.logz, rows.get("logzsol"), extrapolate=True)
    mfrac = (between(ingredients.stars_mass, cell, f) * weights).sum(axis=1) / formed
    if components:
        return mfrac
    formed = np.broadcast_to(formed * scale, mfrac.shape)
    if np.all(np.asarray(params.get("mass_units", "mformed")) == "mstar"):
        formed = formed / mfrac
    total = formed.reshape(rows.n, -1).sum(axis=1)
    return (mfrac * formed).reshape(rows.n, -1).sum(axis=1) / total


class _Engine:
    """Spectra of rows of `Rows` from their SSP weights; settings are shared by all rows."""

    def __init__(self, ingredients, rows):
        self.g, self.rows, self.on = ingredients, rows, rows.settings
        g = ingredients
        nyoung = ages.young(g.log_age, self.on["dust_tesc"])
        self.split = slice(0, nyoung), slice(nyoung, None)
        self.nion = nebular.ionising(g.wave)
        self.hertz = nebular.frequency_weights(g.wave)
        # What all rows share is computed once.
        shared = {k: v[0] for k, v in rows.values.items() if np.ptp(v) == 0}
        self.law = attenuation.prepare(int(self.on["dust_type"]), g.wave, shared)
        self.free = [k for k in self.law.parameters if k in rows.values and k not in shared]
        self.igm = igm.terms(g.wave) if self.on["add_igm_absorption"] else None
        self.profiles = None
        if self.on["add_neb_emission"] and self.on["nebemlineinspec"]:
            self.profiles = nebular.line_profiles(g.wave, g.resolution, g.line_wave)

    def __call__(self, weights, some, parts):
        """L_nu (n, nwave), lines (n, nline), surviving mass and Lbol (n,), parts of some rows."""
        g = self.g
        p = {k: self.rows.get(k)[some] for k in _USED}
        cell, f = find_cell(g.logz, p["logzsol"], extrapolate=True)
        young, old, line_young, line_old = self._light(weights, cell, f, p)
        dust = {k: self.rows.values[k][some] for k in self.free}
        through = self.law(dust)
        lost = self.law.absorbed(dust)
        seen_young, seen_old = young * through.young, old * through.old
        lines, line_lost = self._attenuate_lines(line_young, line_old, through, dust, p)
        absorbed = (young * lost[0] + old * lost[1]) @ self.hertz * LNU_UNIT
        if not self.on["nebemlineinspec"]:
            absorbed = absorbed + line_lost.sum(axis=1) * LNU_UNIT
        warm = self._emission(absorbed, through, p, dust)
        lbol = (10.0 ** between(g.stars_loglbol, cell, f) * weights).sum(axis=1)
        torus = self._torus(lbol, through, p)
        if self.on["add_igm_absorption"]:
            past = igm.transmission(self.igm, p["zred"], p["igm_factor"])
            for light in (seen_young, seen_old, warm):
                light[:, : past.shape[1]] *= past
        left = between(g.stars_mass, cell, f)
        mass = (left * weights).sum(axis=1)
        lnu = (seen_young + seen_old + warm + torus) * LNU_UNIT
        piece = None
        if parts:
            piece = [a * LNU_UNIT for a in (young, old, seen_young, seen_old, warm, torus)]
            piece.append(absorbed)
        return lnu, lines * LNU_UNIT, mass, lbol, piece

    def _light(self, weights, cell, f, p):
        """Young and old light (n, nwave) and lines (n, nline), before dust, in `LNU_UNIT`."""
        g, n = self.g, len(weights)
        light = ages.light_weights(weights)
        out = [np.zeros((n, g.wave.size)) for _ in self.split]
        lines = [np.zeros((n, g.line_wave.size)) for _ in self.split]
        # Beyond the metallicities FSPS extrapolates.
        inside = (f >= 0.0) & (f <= 1.0)
        for i in np.flatnonzero(~inside):
            out[0][i], out[1][i], lines[0][i], lines[1][i] = self._extrapolated(
                light[i], cell[i], f[i], {k: v[i] for k, v in p.items()}
            )
        rows = np.flatnonzero(inside)
        if not rows.size:
            return *out, *lines
        light, cell, f = light[rows], cell[rows], f[rows]
        p = {k: v[rows] for k, v in p.items()}
        ion = light
        if self.on["add_neb_emission"]:
            cont, line = self._gas(light, cell, f, p)
            for k in (0, 1):
                out[k][rows], lines[k][rows] = cont[k], line[k]
            ion = light.copy()
            ion[:, : g.nneb] *= p["frac_obrun"][:, None]
        for c in np.unique(cell):
            at = np.flatnonzero(cell == c)
            stars = g.stars_lnu[c : c + 2].astype(float)
            low, high = 1.0 - f[at, None], f[at, None]
            for half, part in zip(self.split, out, strict=True):
                for w, wave in ((ion, slice(0, self.nion)), (light, slice(self.nion, None))):
                    both = np.concatenate([w[at, half] * low, w[at, half] * high], axis=1)
                    # There may be none of one half.
                    table = stars[:, half, wave]
                    part[rows[at], wave] += both @ table.reshape(both.shape[1], table.shape[2])
        return *out, *lines

    def _extrapolated(self, light, cell, f, p):
        """`_light` of one galaxy (nage,) beyond the metallicities.

        FSPS extrapolates linearly, ionising photons too, adds the gas and then cuts each
        population at zero.
        """
        g, n = self.g, self.g.nneb
        pair = slice(cell, cell + 2)
        share = np.array([1.0 - f, f])
        stars = np.tensordot(share, g.stars_lnu[pair].astype(float), 1)
        lines = np.zeros((len(stars), g.line_wave.size))
        if self.on["add_neb_emission"]:
            photons = (share @ g.photons[pair] * (1.0 - p["frac_obrun"]))[:, None]
            stars[:n, : self.nion] *= p["frac_obrun"]
            lines[:n] = photons * nebular.lines(g, p["gas_logz"], p["gas_logu"])[0]
            if self.on["add_neb_continuum"]:
                stars[:n] += photons * nebular.continuum(g, p["gas_logz"], p["gas_logu"])[0]
            if self.profiles is not None:
                stars[:n] += lines[:n] @ self.profiles
        kinds = [np.maximum(a, 0.0) for a in (stars, lines)]
        return [light[half] @ a[half] for a in kinds for half in self.split]

    def _gas(self, light, cell, f, p):
        """Continuum (with lines where they are in the spectrum) and lines, young and old."""
        g, n = self.g, len(light)
        photons = between(g.photons, cell, f) * light[:, : g.nneb]
        photons *= 1.0 - p["frac_obrun"][:, None]
        cont = [np.zeros((n, g.wave.size)) for _ in self.split]
        line = [np.zeros((n, g.line_wave.size)) for _ in self.split]
        pairs, which = np.unique(
            np.stack([p["gas_logz"], p["gas_logu"]], axis=1), axis=0, return_inverse=True
        )
        for k, (logz, logu) in enumerate(pairs):
            at = np.flatnonzero(which.ravel() == k)
            per_line = nebular.lines(g, logz, logu)[0]
            per_cont = None
            if self.on["add_neb_continuum"]:
                per_cont = nebular.continuum(g, logz, logu)[0]
            for half, a, b in zip(self.split, cont, line, strict=True):
                b[at] = photons[at, half] @ per_line[half]
                if per_cont is not None:
                    a[at] = photons[at, half] @ per_cont[half]
        if self.profiles is not None:
            for a, b in zip(cont, line, strict=True):
                a += b @ self.profiles
        return cont, line

    def _attenuate_lines(self, young, old, through, dust, p):
        """Lines as they are seen, and what is lost of them, (n, nline) each.

        FSPS takes the diffuse dust at a line from its wavelength grid, linearly, and
        leaves out ``dust3``.
        """
        diffuse = interpolate(self.g.wave, through.diffuse, self.g.line_wave)
        power = (self.g.line_wave / REFERENCE) ** p["dust1_index"][:, None]
        cloud = np.exp(-p["dust1"][:, None] * power)
        outside, free = p["frac_obrun"][:, None], p["frac_nodust"][:, None]
        cloud = cloud * (1.0 - outside) + outside
        both = young * cloud + old
        seen = both * (diffuse * (1.0 - free) + free)
        used = (p["dust1"] > TINY) | (p["dust2"] > TINY)
        if self.law.dust_type != attenuation.WITT_GORDON:
            seen = np.where(used[:, None], seen, young + old)
        return seen, young + old - seen

    def _emission(self, absorbed, through, p, dust):
        """Dust emission as it leaves the dust, (n, nwave) in `LNU_UNIT`."""
        g = self.g
        out = np.zeros((absorbed.size, g.wave.size))
        emits = np.broadcast_to(self.law.emits(dust), absorbed.shape)
        if not self.on["add_dust_emission"] or not emits.any():
            return out
        shape = dust_emission.templates(g, p["duste_qpah"], p["duste_umin"], p["duste_gamma"])
        span = slice(g.dust_start, None)
        leaves = shape * through.diffuse[:, span]
        norm = shape @ self.hertz[span]
        power = dust_emission.escaped(absorbed, (leaves @ self.hertz[span]) / norm)
        out[:, span] = leaves * (np.where(emits, power, 0.0) / norm / LNU_UNIT)[:, None]
        return out

    def _torus(self, lbol, through, p):
        """AGN as it leaves the dust, (n, nwave) in `LNU_UNIT`."""
        if not (p["fagn"] > TINY).any():
            return np.zeros((len(lbol), 1))
        power = lbol * np.where(p["fagn"] > TINY, p["fagn"], 0.0)
        return power[:, None] * agn.torus(self.g, p["agn_tau"]) * through.agn


_USED = (
    "logzsol", "gas_logz", "gas_logu", "dust1", "dust1_index", "dust2", "frac_nodust", "frac_obrun",
    "duste_qpah", "duste_umin", "duste_gamma", "fagn", "agn_tau", "zred", "igm_factor",
)  # fmt: skip
