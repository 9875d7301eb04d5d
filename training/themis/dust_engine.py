"""The dust engine: radiation fields in, emission of a dust model out.

Everything that a grain does depends on the field and its size alone, so that one
computation of the grains serves any number of size distributions.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from prospect_emu.errors import DataError, RangeError

from .dust_fields import BOLTZMANN, C_MICRON, PLANCK, _log_weights
from .dust_heating import photon_rates, rate_energies, temperature_weights

PROTON = 1.67262192e-24  # g
_FOUR_PI = 4.0 * np.pi
# From erg/s/Hz per gram to W/Hz per kilogram.
_SI = 1e-7 * 1e3


@dataclass(frozen=True)
class Resolution:
    """What decides precision and cost of `DustEngine`.

    Attributes
    ----------
    small, large : float
        Steps in ln(a) below and above `split`.
    split : float
        nm.
    n_temperature : int
        Nodes of the emission in ln T, 2 to 8000 K.
    n_wide, n_core : int
        Nodes of a stochastic grain's energy, over all its range and around equilibrium; see
        `dust_heating.temperature_weights`.
    per_photon : float
        Nodes around equilibrium per photon that heats; raises `n_core` for the grains
        between stochastic and equilibrium heating.
    n_most : int
        Bound on that.
    narrow : float
        Standard deviation of ln T below which a grain's distribution is a Gaussian.
    """

    small: float = 0.032
    large: float = 0.1
    split: float = 12.0
    n_temperature: int = 1000
    n_wide: int = 240
    n_core: int = 150
    per_photon: float = 6.0
    n_most: int = 1200
    narrow: float = 0.015

    def __post_init__(self):
        for name in ("small", "large", "split", "narrow", "per_photon"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise RangeError(f"{name} = {getattr(self, name)} must be a positive number.")
        for name in ("n_temperature", "n_wide", "n_core", "n_most"):
            if getattr(self, name) < 20:
                raise RangeError(f"{name} = {getattr(self, name)} is too small; use 20 or more.")

    def sizes(self, a_min, a_max):
        """Size nodes from `a_min` to `a_max` (cm)."""
        split = min(max(self.split * 1e-7, a_min), a_max)
        parts = []
        for lo, hi, step in ((a_min, split, self.small), (split, a_max, self.large)):
            if hi > lo:
                n = int(np.ceil(np.log(hi / lo) / step - 1e-9)) + 1
                parts.append(np.geomspace(lo, hi, max(n, 4)))
        return np.unique(np.concatenate(parts))


def planck(wave, temperature):
    """B_nu in erg/s/cm2/Hz/sr at wavelengths (micron), shape (ntemperature, nwave)."""
    nu = C_MICRON / wave
    x = PLANCK * nu / (BOLTZMANN * np.asarray(temperature)[:, None])
    out = 2.0 * PLANCK * nu**3 / (C_MICRON * 1e-4) ** 2 / np.expm1(np.minimum(x, 690.0))
    # Denormal numbers would slow the matrix product a hundredfold.
    return np.where(x < 600.0, out, 0.0)


class DustEngine:
    """Emission of a dust model in any radiation field.

    Parameters
    ----------
    model : prospect_emu.training.themis.dust_data.DustModel
    wave : array_like, shape (nwave,), optional
        Wavelengths of the emission, micron; default those of the optics.
    resolution : Resolution, optional
    threads : int
        Fields computed at a time.

    Attributes
    ----------
    field_wave : ndarray
        Wavelengths of radiation fields: those of the optics, micron.
    wave : ndarray, shape (nwave,)
    groups : dict of str to slice
        Grains of each material.
    radius : ndarray, shape (ngrain,)
        cm.
    """

    def __init__(self, model, wave=None, resolution=None, threads=1):
        self.model, self.threads = model, threads
        self.resolution = resolution or Resolution()
        self.field_wave = np.asarray(model.wave, dtype=float)
        self.wave = self.field_wave if wave is None else np.asarray(wave, dtype=float)
        lo, hi = self.field_wave[[0, -1]]
        if self.wave.ndim != 1 or not (self.wave.min() >= lo and self.wave.max() <= hi):
            raise RangeError(
                f"Wavelengths of the emission must lie within {lo:g} to {hi:g} micron, those of "
                "the optics."
            )
        self._build_grains()
        self._build_heating()

    def _build_grains(self):
        model, r = self.model, self.resolution
        self.groups, radius, heat, c_abs, c_out = {}, [], [], [], []
        n = 0
        self.x = np.linspace(np.log(2.0), np.log(8000.0), r.n_temperature)
        for name in dict.fromkeys(p.material for p in model.populations):
            material = model.materials[name]
            ends = [(p.a_min, p.a_max) for p in model.populations if p.material == name]
            a = r.sizes(min(e[0] for e in ends), max(e[1] for e in ends))
            self.groups[name] = slice(n, n + a.size)
            n += a.size
            radius.append(a)
            absorption = material.absorption(a)
            c_abs.append(absorption)
            c_out.append(_log_interpolate(self.field_wave, absorption, self.wave))
            volume = _FOUR_PI / 3.0 * a**3
            heat.append(_ln_energy(material.log_t, material.heat_capacity(a), self.x))
            heat[-1] += np.log(volume)[:, None]
        self.radius = np.concatenate(radius)
        self._c_abs, self._c_out = np.concatenate(c_abs), np.concatenate(c_out)
        self._ln_e = np.concatenate(heat)
        temperature = np.exp(self.x)
        dnu = _log_weights(self.field_wave) * C_MICRON / self.field_wave
        b = planck(self.field_wave, temperature) * dnu
        self._ln_l = np.log(_FOUR_PI * (self._c_abs @ b.T))
        self._planck = _FOUR_PI * planck(self.wave, temperature)

    def _build_heating(self):
        """Operators from a field to what heats a grain."""
        energy = PLANCK * C_MICRON / self.field_wave
        self._dnu = _log_weights(self.field_wave) * C_MICRON / self.field_wave
        self._rate_nodes, self._first = rate_energies(energy[-1], energy[0])
        x, at = np.log(energy[::-1]), np.log(self._rate_nodes.clip(energy[-1], energy[0]))
        cell = np.clip(np.searchsorted(x, at, side="right") - 1, 0, x.size - 2)
        self._cell, self._step = cell, np.diff(x)
        self._frac = (at - x[cell]) / self._step[cell]
        self._energy = energy

    def _rates(self, photons):
        """R(>e) at the energies of `rate_energies`, (ngrain, nrate).

        `photons` (ngrain, nwave) is the rate per ln(energy), linear between wavelengths.
        """
        out = np.empty((len(photons), self._cell.size))
        photon_rates(photons[:, ::-1], self._step, self._cell, self._frac, out)
        return out

    def temperatures(self, field):
        """Weights of each temperature ``exp(self.x)`` for each grain in one field.

        Parameters
        ----------
        field : ndarray, shape (nfield_wave,)
            ``4 pi J_nu``, erg/s/cm2/Hz.

        Returns
        -------
        weights : ndarray, shape (ngrain, ntemperature)
            Scaled so that each grain radiates what it absorbs.
        closure : ndarray, shape (ngrain,)
            Radiated over absorbed before that scaling.
        """
        per_nu = self._c_abs * field
        heating = per_nu @ self._dnu
        # d nu = nu d ln(nu): photons per ln(energy) carry 1/h.
        spread2 = per_nu @ (self._dnu * self._energy)
        rate = self._rates(per_nu / PLANCK)
        hard = self._energy[np.flatnonzero(field > 0)[0]] if (field > 0).any() else 0.0
        r = self.resolution
        weights = np.empty((self.radius.size, self.x.size))
        closure = np.empty(self.radius.size)
        temperature_weights(
            self.x[0], self.x[1] - self.x[0], self._ln_e, self._ln_l, heating, spread2, hard,
            self._rate_nodes, rate, self._first, r.n_wide, r.n_core, r.per_photon,
            max(r.n_most, r.n_core), r.narrow, weights, closure,
        )  # fmt: skip
        return weights, closure

    def grains(self, fields, keep_closure=None):
        """Emission of every grain: ``4 pi C_abs <B_nu>`` in erg/s/Hz, (nfield, ngrain, nwave).

        Parameters
        ----------
        fields : ndarray, shape (nfield, nfield_wave) or (nfield_wave,)
            ``4 pi J_nu`` in erg/s/cm2/Hz at `field_wave`.
        keep_closure : list, optional
            Receives each field's closure (`temperatures`).
        """
        fields = self._check(fields)

        def one(field):
            weights, closure = self.temperatures(field)
            return self._c_out * (weights @ self._planck), closure

        if self.threads > 1 and len(fields) > 1:
            with ThreadPoolExecutor(self.threads) as pool:
                done = list(pool.map(one, fields))
        else:
            done = [one(f) for f in fields]
        if keep_closure is not None:
            keep_closure.extend(c for _, c in done)
        return np.array([e for e, _ in done])

    def _check(self, fields):
        fields = np.atleast_2d(np.asarray(fields, dtype=float))
        if fields.ndim != 2 or fields.shape[1] != self.field_wave.size:
            raise DataError(
                f"Radiation fields need {self.field_wave.size} values each, at the wavelengths of "
                f"the optics; got shape {fields.shape} (dust_fields.from_table resamples)."
            )
        if not (np.isfinite(fields).all() and (fields >= 0).all()):
            raise DataError("A radiation field must be finite and not negative.")
        return fields

    def size_weights(self, a_min=None):
        """What turns grains into the emission of the mixture, per H atom.

        Parameters
        ----------
        a_min : array_like, shape (m,), optional
            Minimum sizes in cm; each population starts at this or at its own minimum,
            whichever is larger, and keeps its mass. Default: each its own.

        Returns
        -------
        ndarray, shape (m, ngrain)
        """
        a_min = np.zeros(1) if a_min is None else np.atleast_1d(np.asarray(a_min, dtype=float))
        out = np.zeros((a_min.size, self.radius.size))
        for i, low in enumerate(a_min):
            for p in self.model.populations:
                rows = self.groups[p.material]
                lo = max(low, p.a_min)
                if not lo < p.a_max:
                    raise RangeError(
                        f"a_min = {low * 1e7:g} nm exceeds the largest grains of {p.material}."
                    )
                number, volume = _integrals(self.radius[rows], p, lo)
                mass = p.density * _FOUR_PI / 3.0 * volume
                out[i, rows] += p.mass * PROTON * number / mass
        return out

    def emission(self, fields, a_min=None):
        """Emission of the mixture per H atom, erg/s/Hz/H.

        Parameters
        ----------
        fields : ndarray, shape (nfield, nfield_wave)
        a_min : array_like, shape (m,), optional
            cm; see `size_weights`.

        Returns
        -------
        ndarray, shape (nfield, m, nwave)
        """
        weights = self.size_weights(a_min)
        return np.array([weights @ self.grains(f)[0] for f in self._check(fields)])

    @property
    def per_kilogram(self):
        """Factor from erg/s/Hz/H to W/Hz/kg of dust."""
        return _SI / (self.model.dust_to_hydrogen * PROTON)

    def absorbed(self, fields, a_min=None):
        """Power absorbed by the mixture, erg/s/H, shape (nfield, m)."""
        heating = self._check(fields) @ (self._c_abs * self._dnu).T
        return heating @ self.size_weights(a_min).T


def _log_interpolate(wave, table, at):
    """Rows of a positive table, log-log in wavelength."""
    x, lx = np.log(at), np.log(wave)
    if at.size == wave.size and np.array_equal(at, wave):
        return table
    return np.exp([np.interp(x, lx, np.log(row)) for row in table])


def _ln_energy(log_t, log_c, x):
    """ln of the energy per volume at ln T = x, (nsize, nt): C a power of T between nodes."""
    lt, lc = log_t * np.log(10.0), log_c * np.log(10.0)
    t, c = np.exp(lt), np.exp(lc)
    slope = np.diff(lc, axis=1) / np.diff(lt) + 1.0
    below = c[:, :1] * t[0] / slope[:, :1]
    total = below + np.concatenate(
        [np.zeros((len(c), 1)), np.cumsum(np.diff(c * t, axis=1) / slope, axis=1)], axis=1
    )
    # The last slope holds beyond the table.
    k = np.clip(np.searchsorted(lt, x, side="right") - 1, 0, lt.size - 2)
    here = c[:, k] * t[k] * np.expm1(slope[:, k] * (x - lt[k])) / slope[:, k]
    return np.log(total[:, k] + here)


def _integrals(nodes, population, low):
    """``int s/a^3 P dlna`` as weights of P at the nodes, and ``int s dlna``, from `low` on.

    P / a^3 is interpolated by cubics in ln(a) through four nodes; the size
    distribution itself is integrated by 6-point Gauss-Legendre in each cell.
    """
    x, w = np.polynomial.legendre.leggauss(6)
    ln = np.log(nodes)
    lo = np.maximum(ln[:-1], np.log(low))
    hi = np.minimum(ln[1:], np.log(population.a_max))
    cell = np.flatnonzero(hi > lo)
    lo, hi = lo[cell, None], hi[cell, None]
    at = 0.5 * (lo + hi) + 0.5 * (hi - lo) * x
    s = population.volume_density(np.exp(at)) * 0.5 * (hi - lo) * w
    first = np.clip(cell - 1, 0, nodes.size - 4)
    weights = np.zeros(nodes.size)
    stencil = ln[first[:, None] + np.arange(4)]
    for k in range(4):
        basis = np.ones_like(at)
        for m in range(4):
            if m != k:
                basis *= (at - stencil[:, m, None]) / (stencil[:, k] - stencil[:, m])[:, None]
        np.add.at(weights, first + k, (s * basis).sum(axis=1))
    return weights / nodes**3, s.sum()
