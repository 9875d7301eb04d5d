"""Masses formed, star-formation rates and mean ages of FSPS's star-formation histories.

From the parameters themselves, not from populations: nothing here depends on the ages
that FSPS's stars have, so that all mass counts, of stars older than the oldest too.
"""

import numpy as np

from . import ages, parametric
from .inputs import Rows

_GYR = 1e9
# Years over which star-formation rates are averaged, and beyond those of any star.
_RECENT, _OLDEST = np.array([1e7, 3e7, 1e8]), 2e10
# What `quantities` gives, with units.
QUANTITIES = {
    "log_mass_formed": "log10(Msun)",
    "log_stellar_mass": "log10(Msun)",
    "log_sfr_10": "log10(Msun/yr)",
    "log_sfr_30": "log10(Msun/yr)",
    "log_sfr_100": "log10(Msun/yr)",
    "log_ssfr_100": "log10(1/yr)",
    "mass_weighted_age": "Gyr",
    "t50": "Gyr",
}
# Halvings of the time in which half of the mass has formed: 20 Gyr to five years.
_HALVINGS = 32


class History:
    """Star-formation histories of n galaxies.

    Parameters
    ----------
    params : dict
        As `prospect_emu.sps.spectrum.spectrum` takes them.
    log_age : ndarray
        Ages of the ingredients' populations, log10(years); FSPS's ``sfh=5`` without
        truncation reaches to the oldest.
    mfrac : array_like, shape (n,) or (n * ncomponent,), optional
        Needed where ``mass_units`` is "mstar".

    Attributes
    ----------
    formed : ndarray, shape (n,)
        Msun.
    """

    def __init__(self, params, log_age, mfrac=None):
        self._rows = rows = Rows(params)
        self._log_age = log_age
        if rows.binned:
            self._edges = 10.0 ** ages.bin_edges(params["agebins"])
            self._edges[..., 0] = 0.0
            self._mass = np.broadcast_to(rows.mass, (rows.n, rows.mass.shape[1]))
            self.formed = self._mass.sum(axis=1)
        elif rows.table:
            self._tabulate(params)
        else:
            self._mass = rows.mass
            self.formed = self._sum(self._mass)
        if np.all(np.asarray(params.get("mass_units", "mformed")) == "mstar"):
            self._mass = self._mass / np.reshape(mfrac, (-1, *[1] * (self._mass.ndim - 1)))
            self.formed = self._mass.sum(axis=1) if rows.binned else self._sum(self._mass)

    def _sum(self, values):
        """Sums over components, (n, ...) of (n * ncomponent, ...)."""
        return values.reshape(self._rows.n, self._rows.ncomponent, *values.shape[1:]).sum(axis=1)

    def _tabulate(self, params):
        """Rates at lookback times from the present on, (n, ntime + 1)."""
        rows = self._rows
        time = np.atleast_2d(np.asarray(params["tabular_time"], dtype=float))
        sfr = np.maximum(np.atleast_2d(np.asarray(params["tabular_sfr"], dtype=float)), 0.0)
        tage = rows.get("tage")[:, None]
        size = (rows.n, max(time.shape[1], sfr.shape[1]))
        time, sfr = np.broadcast_to(time, size), np.broadcast_to(sfr, size)
        now = [np.interp(t, x, y) for t, x, y in zip(tage[:, 0], time, sfr, strict=True)]
        lookback = np.maximum(tage - time, 0.0)[:, ::-1] * _GYR
        rate = np.where(time > tage, np.array(now)[:, None], sfr)[:, ::-1]
        self._time = np.concatenate([np.zeros((rows.n, 1)), lookback], axis=1)
        self._rate = np.concatenate([np.array(now)[:, None], rate], axis=1)
        self._until = np.concatenate(
            [np.zeros((rows.n, 1)), np.cumsum(self._pieces(self._rate), axis=1)], axis=1
        )
        formed = self._until[:, -1]
        self._mass = rows.mass if "mass" in params else formed
        self.formed = self._mass * np.ones(rows.n)

    def _pieces(self, values):
        """Integrals of straight lines between the table's times."""
        return 0.5 * (values[:, 1:] + values[:, :-1]) * np.diff(self._time, axis=1)

    def formed_since(self, lookback):
        """Mass formed in the last years.

        Parameters
        ----------
        lookback : array_like, shape (m,) or (n, m)
            Years.

        Returns
        -------
        ndarray, shape (n, m)
            Msun.
        """
        t = np.asarray(lookback, dtype=float)
        if self._rows.binned:
            low, high = self._edges[..., :-1, None], self._edges[..., 1:, None]
            share = np.clip((t[..., None, :] - low) / (high - low), 0.0, 1.0)
            return np.einsum("nk,...km->nm" if share.ndim == 2 else "nk,nkm->nm", self._mass, share)
        if self._rows.table:
            out = np.empty((self._rows.n, t.shape[-1]))
            times = np.broadcast_to(t, out.shape)
            for i, (row, since) in enumerate(zip(out, times, strict=True)):
                at = np.clip(np.searchsorted(self._time[i], since, side="right") - 1, 0, None)
                rate = np.interp(since, self._time[i], self._rate[i], right=0.0)
                part = 0.5 * (self._rate[i][at] + rate) * (since - self._time[i][at])
                beyond = since >= self._time[i][-1]
                row[:] = np.where(beyond, self._until[i, -1], self._until[i][at] + part)
            return out * (self.formed / self._until[:, -1])[:, None]
        if t.ndim == 2:
            t = np.repeat(t, self._rows.ncomponent, axis=0)
        return self._sum(self._mass[:, None] * self._components(t, _since))

    def half_mass_time(self):
        """Lookback time since which half of the mass has formed, in Gyr, shape (n,)."""
        low, high = np.zeros((2, self._rows.n, 1))
        high += _OLDEST
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            late = self.formed_since(middle) < 0.5 * self.formed[:, None]
            low, high = np.where(late, middle, low), np.where(late, high, middle)
        return high[:, 0] / _GYR

    def mean_age(self):
        """Mean age of the stars formed, weighted by mass, in Gyr, shape (n,)."""
        if self._rows.binned:
            middle = 0.5 * (self._edges[..., 1:] + self._edges[..., :-1])
            moment = (self._mass * middle).sum(axis=1)
            return moment / self.formed / _GYR
        if self._rows.table:
            t, r = self._time, self._rate
            # The product of two straight lines, by Simpson's rule, which is exact for it.
            middle = 0.25 * (t[:, 1:] + t[:, :-1]) * (r[:, 1:] + r[:, :-1])
            product = (t * r)[:, 1:] + (t * r)[:, :-1] + 4.0 * middle
            moment = (product * np.diff(t, axis=1)).sum(axis=1) / 6.0
            return moment / self._until[:, -1] / _GYR
        moment = self._sum(self._mass[:, None] * self._components(None, _mean))[:, 0]
        return moment / self.formed / _GYR

    def _components(self, t, what):
        """`what` of the parts of a parametric history, weighted by their masses, (rows, m)."""
        rows = self._rows
        sfh, p = parametric.parametric_columns(rows.values | {"sfh": rows.settings["sfh"]})
        p = {k: np.broadcast_to(v, (rows.n * rows.ncomponent,))[:, None] for k, v in p.items()}
        if sfh == 0:
            return what("burst", t, p["tage"] * _GYR)
        h = parametric.lookback_times(p)
        if sfh == 5:
            share = parametric.linear_fraction(self._log_age, p)
            rate = 1.0 - h["slope"] * h["t_linear"]
            late = what("line", t, h["t0"], h["tq"], rate, h["slope"])
            early = what("delayed", t, h["tq"], h["tage"], h["tau"])
            return (1.0 - share) * early + np.where(share > 0.0, share * late, 0.0)
        kind = "delayed" if sfh == 4 else "exponential"
        out = what(kind, t, h["tq"], h["tage"], h["tau"])
        burst = np.where(h["tb"] >= 0.0, p["fburst"], 0.0)
        steady = what("line", t, h["tq"], h["tage"], 1.0, 0.0)
        rest = 1.0 - p["const"] - burst
        return rest * out + p["const"] * steady + burst * what("burst", t, np.maximum(h["tb"], 0.0))

    def quantities(self, mfrac):
        """Physical quantities by name (`QUANTITIES`), each of shape (n,).

        Parameters
        ----------
        mfrac : array_like, shape (n,)
            Surviving over formed mass.
        """
        with np.errstate(divide="ignore"):
            sfr = np.log10(self.formed_since(_RECENT) / _RECENT).T
            formed = np.log10(self.formed)
            left = np.log10(self.formed * mfrac)
        return {
            "log_mass_formed": formed,
            "log_stellar_mass": left,
            "log_sfr_10": sfr[0],
            "log_sfr_30": sfr[1],
            "log_sfr_100": sfr[2],
            "log_ssfr_100": sfr[2] - formed,
            "mass_weighted_age": self.mean_age(),
            "t50": self.half_mass_time(),
        }


def _since(kind, t, start, stop=None, *shape):
    """Share of a part's mass formed at lookback times below `t`."""
    if kind == "burst":
        return (t >= start).astype(float)
    t = np.clip(t, start, stop)
    if kind == "line":
        return _ratio(_integral(start, t, *shape), _integral(start, stop, *shape))
    since, whole = ((stop - a) / shape[0] for a in (t, start))
    share = _exponential if kind == "exponential" else _delayed
    return _ratio(share(whole) - share(since), share(whole))


def _mean(kind, t, start, stop=None, *shape):
    """Mean lookback time of a part, years."""
    if kind == "burst":
        return start
    if kind == "line":
        rate, slope = shape
        moment = 0.5 * rate * (stop**2 - start**2) + slope * (stop**3 - start**3) / 3.0
        return _ratio(moment, _integral(start, stop, rate, slope))
    tau = shape[0]
    x = (stop - start) / tau
    if kind == "exponential":
        return stop - tau * _ratio(_delayed(x), _exponential(x))
    square = 2.0 - (2.0 + 2.0 * x + x**2) * np.exp(-x)
    # Of short histories by series: the difference above is of order x^3.
    square = np.where(x < 1e-3, x**3 / 3.0 * (1.0 - 0.75 * x), square)
    return stop - tau * _ratio(square, _delayed(x))


def _integral(start, stop, rate, slope):
    return rate * (stop - start) + 0.5 * slope * (stop**2 - start**2)


def _exponential(x):
    return -np.expm1(-x)


def _delayed(x):
    small = x**2 * (0.5 - x / 3.0 + x**2 / 8.0)
    return np.where(x < 1e-3, small, -np.expm1(-x) - x * np.exp(-x))


def _ratio(a, b):
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(b != 0.0, a / b, 0.0)
