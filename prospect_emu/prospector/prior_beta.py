"""The Prospector-beta priors (Wang et al. 2023, ApJL 944, L58) for whole batches.

Redshift, mass, metallicity and SFR ratios, each given those before it: a uniform
or tabulated redshift, a mass function, the mass-metallicity relation, and
Student's t about the history that the cosmic star-formation rate suggests. All
inputs (tables, mass functions) are Prospector's own.
"""

import numpy as np
from prospect.models import priors_beta as beta
from scipy.interpolate import BSpline, PPoly
from scipy.special import ndtr, ndtri

from ..cosmology import age_of_universe
from .prior_families import _even_t2

_AMIN = 7.1295
# Where Prospector switches from the mass functions of Leja et al. (2020) to those
# of Tacchella et al. (2018), tabulated at whole redshifts from 4 to 12.
_SWITCH, _LAST = 3, 12


class _MassFunction:
    """Masses at given probabilities of the mass function at each redshift."""

    def __init__(self, prior):
        self.evolving = not prior.params["const_phi"]
        self.grid = prior.mgrid
        bounds = [prior.params["mass_mini"], prior.params["mass_maxi"]]
        self.linear = 10.0**self.grid
        slopes = beta.draw_at_z(1.0)
        self.slopes = [float(np.squeeze(slopes[k])) + 1.0 for k in ("alpha1", "alpha2")]
        self.powers = [self.linear**s for s in self.slopes]
        if self.evolving:
            self.table = np.array(
                [
                    beta.mass_func_at_z(float(z), self.grid, False, bounds)
                    for z in range(_SWITCH, _LAST + 1)
                ]
            )

    def _low(self, zred):
        """Two Schechter functions with one knee, (n, grid), less a constant factor."""
        pars = beta.draw_at_z(zred)
        knee = 10.0 ** pars["logmstar"][:, None]
        out = 0.0
        for key, slope, power in zip(("logphi1", "logphi2"), self.slopes, self.powers, strict=True):
            out = out + (10.0 ** pars[key][:, None] / knee**slope) * power
        return out * np.exp(-self.linear / knee)

    def __call__(self, u, zred):
        if not self.evolving:
            density = self._low(zred)
        else:
            density = np.empty((len(zred), self.grid.size))
            low = zred <= _SWITCH
            density[low] = self._low(zred[low])
            # Between whole redshifts the two are mixed as cos^2 and sin^2.
            z = np.minimum(zred[~low], _LAST)
            below = np.minimum(z.astype(int), _LAST - 1)
            share = np.cos(0.5 * np.pi * (z - below))[:, None] ** 2
            at = below - _SWITCH
            density[~low] = self.table[at] * share + self.table[at + 1] * (1.0 - share)
        total = np.cumsum(density, axis=1)
        target = (u * total[:, -1])[:, None]
        total[:, 0] = 0.0
        above = np.clip((total < target).sum(axis=1), 1, self.grid.size - 1)
        row = np.arange(len(u))
        left, right = total[row, above - 1], total[row, above]
        step = self.grid[above] - self.grid[above - 1]
        return self.grid[above - 1] + (target[:, 0] - left) / (right - left) * step


def _metallicity(u, mass, lo, hi):
    mean = np.interp(mass, beta.massmet[:, 0], beta.massmet[:, 1])
    sigma = np.interp(mass, beta.massmet[:, 0], beta.massmet[:, 3] - beta.massmet[:, 2])
    start, end = ndtr((lo - mean) / sigma), ndtr((hi - mean) / sigma)
    return mean + sigma * ndtri(start + u * (end - start))


class _ExpectedRatios:
    """SFR ratios of the cosmic star-formation history, shifted in time by mass."""

    def __init__(self, prior):
        self.lo, self.hi = prior.params["logsfr_ratio_mini"], prior.params["logsfr_ratio_maxi"]
        self.nbin = prior.params["nbins_sfh"]
        rate, (lo, hi) = beta.spl_tl_sfrd, beta.tl_b19[[0, -1]]
        knots = np.concatenate([[lo] * 3, rate.get_knots(), [hi] * 3])
        # The same polynomials, evaluated four times faster; nothing forms outside the table.
        self.formed = PPoly.from_spline(BSpline(knots, rate.get_coeffs(), 3).antiderivative())
        self.span = (lo, hi)
        self.ages, self.redshifts = beta.age[::-1], beta.z_age[::-1]
        self.now = float(age_of_universe(0.0))
        self.start = float(beta.cosmo.lookback_time(15).to_value("yr"))

    def __call__(self, zred, mass):
        shift = np.interp(mass, [9.0, 12.0], [-0.2, 0.8])
        age = age_of_universe(zred) / 1e9 * 10.0**shift
        shifted = np.interp(age, self.ages, self.redshifts)
        shifted[age < self.ages[0]], shifted[age > self.ages[-1]] = 10.0, 0.15
        edges = self._edges(np.clip(shifted, 0.15, 10.0))
        formed = self.formed(np.clip(edges, *self.span))
        rate = np.diff(formed, axis=1) / np.diff(edges, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios = np.clip(np.log10(rate[:, :-1] / rate[:, 1:]), self.lo, self.hi)
        for i in np.flatnonzero(~np.isfinite(ratios).all(axis=1)):
            # Bins before the first stars: as Prospector fills them.
            ratios[i] = beta.expe_logsfr_ratios(zred[i], mass[i], self.lo, self.hi, self.nbin)
        return ratios

    def _edges(self, zred):
        """Lookback times in years of the bins of a galaxy at `zred`, (n, nbin + 1)."""
        first = self.now - age_of_universe(zred)
        last = np.log10(self.start - 0.1 * (self.start - first))
        edges = np.empty((zred.size, self.nbin + 1))
        edges[:, 0], edges[:, -1] = first, self.start
        late = zred <= _SWITCH
        edges[late, 1] = first[late] + 3e7
        for rows, begin, at in ((late, 1.3e8, 2), (~late, 10.0**_AMIN, 1)):
            start = np.log10(first[rows] + begin)
            inner = np.linspace(start, last[rows], self.nbin - at, axis=-1)
            edges[rows, at:-1] = 10.0**inner
        return edges


def _quantile(prior, size):
    """Quantiles of (zred, mass, metallicity, ratios...) from those of each given the former."""
    kind, params = type(prior), prior.params
    fixed = kind in (beta.DymSFHfixZred, beta.PhiSFHfixZred)
    tabulated = kind in (beta.ZredMassMet, beta.NzSFH) and not _redshift_is_uniform(prior)
    any_mass = kind in (beta.DymSFH, beta.DymSFHfixZred)
    masses = None if any_mass else _MassFunction(prior)
    ratios = None
    if size > 3:
        ratios = _ExpectedRatios(prior)
        half = np.asarray(params["logsfr_ratio_maxi"], dtype=float)
        spread = _even_t2(half, np.asarray(params["logsfr_ratio_tscale"], dtype=float))

    def quantile(u):
        out = np.empty(u.shape)
        if fixed:
            out[:, 0] = prior.zred
        elif tabulated:
            out[:, 0] = prior.finterp_cdf_z(u[:, 0])
        else:
            out[:, 0] = params["zred_mini"] + u[:, 0] * (params["zred_maxi"] - params["zred_mini"])
        if masses is None:
            lo, hi = params["mass_mini"], params["mass_maxi"]
            out[:, 1] = lo + u[:, 1] * (hi - lo)
        else:
            out[:, 1] = masses(u[:, 1], out[:, 0])
        out[:, 2] = _metallicity(u[:, 2], out[:, 1], params["z_mini"], params["z_maxi"])
        if ratios is not None:
            out[:, 3:] = spread(u[:, 3:]) + ratios(out[:, 0], out[:, 1])
            np.clip(out[:, 3:], ratios.lo, ratios.hi, out=out[:, 3:])
        return out

    return quantile, None, False


def _redshift_is_uniform(prior):
    """Prospector's NzSFH keeps both a table and a uniform: its own draws say which it uses."""
    size = len(prior)
    zred = prior.unit_transform(np.full(size, 0.3))[0]
    dist = getattr(prior, "zred_dist", None)
    return dist is not None and bool(np.isclose(zred, dist.unit_transform(0.3), rtol=1e-12))


BETA = {
    kind: _quantile
    for kind in (
        beta.PhiMet, beta.ZredMassMet, beta.DymSFH, beta.DymSFHfixZred, beta.PhiSFH,
        beta.PhiSFHfixZred, beta.NzSFH,
    )
}  # fmt: skip
