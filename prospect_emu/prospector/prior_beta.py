"""The Prospector-beta priors (Wang et al. 2023, ApJL 944, L58) for whole batches.

Redshift, mass, metallicity and SFR ratios, each given those before it: a uniform
or tabulated redshift, a mass function, the mass-metallicity relation, and
Student's t about the history that the cosmic star-formation rate suggests. All
inputs (tables, mass functions) are Prospector's own. `prospect_emu.prospector.beta_corrected` has
the same priors without two faults of the released ones.
"""

import numpy as np
from prospect.models import priors_beta as beta
from scipy.interpolate import BSpline, PPoly
from scipy.special import ndtr, ndtri

from ..cosmology import age_of_universe
from . import priors
from .prior_families import _even_t2, _student_log

# Prospector's development version has other names, and one class in which p(z) is its own.
_DEVELOPED = hasattr(beta, "BetaPrior")
FORM = "developed" if _DEVELOPED else "released"
_MASSMET = beta.MASSMET if _DEVELOPED else beta.massmet
_RATE = beta.SPL_TL_SFRD if _DEVELOPED else beta.spl_tl_sfrd
_AGES = beta.WMAP9_AGE if _DEVELOPED else (beta.z_age, beta.age)
_AMIN = 7.1295
_ROUNDING = 1e-12
# Where Prospector switches from the mass functions of Leja et al. (2020) to those
# of Tacchella et al. (2018), tabulated at whole redshifts from 4 to 12.
_SWITCH, _LAST = 3, 12


class MassFunction:
    """The mass function at each redshift: its density, and masses at given probabilities.

    Parameters
    ----------
    params : dict
        Of a prior.
    grid : ndarray, shape (m,)
        Masses, log10(Msun), between which probabilities are interpolated.
    """

    def __init__(self, params, grid):
        self.evolving, self.grid = not params["const_phi"], grid
        self.bounds = [params["mass_mini"], params["mass_maxi"]]
        self.linear = 10.0**self.grid
        slopes = beta.draw_at_z(1.0)
        self.slopes = [float(np.squeeze(slopes[k])) + 1.0 for k in ("alpha1", "alpha2")]
        self.powers = [self.linear**s for s in self.slopes]
        if self.evolving:
            self.table = np.array([self._whole(z, self.grid) for z in range(_SWITCH, _LAST + 1)])

    def _whole(self, zred, mass):
        return beta.mass_func_at_z(float(zred), mass, False, self.bounds)

    def phi(self, mass, zred):
        """Density (n,) in log10(mass) as Prospector has it, which is not normalised."""
        out = np.reshape(beta.low_z_mass_func(zred, mass), mass.shape)
        late = zred > _SWITCH if self.evolving else np.zeros(mass.size, dtype=bool)
        if late.any():
            below, share = _between(zred[late])
            nodes = np.array([self._whole(z, mass[late]) for z in range(_SWITCH, _LAST + 1)])
            row = np.arange(below.size)
            nodes = nodes.reshape(-1, below.size)
            out[late] = nodes[below, row] * share + nodes[below + 1, row] * (1.0 - share)
        out[(mass < self.bounds[0]) | (mass > self.bounds[1])] = 0.0
        return out

    def _low(self, zred):
        """Two Schechter functions with one knee, (n, grid)."""
        pars = beta.draw_at_z(zred)
        knee = 10.0 ** pars["logmstar"][:, None]
        out = 0.0
        for key, slope, power in zip(("logphi1", "logphi2"), self.slopes, self.powers, strict=True):
            out = out + (10.0 ** pars[key][:, None] / knee**slope) * power
        return out * (np.log(10.0) * np.exp(-self.linear / knee))

    def on_grid(self, zred):
        """`phi` (n, m) on the grid."""
        if not self.evolving:
            return self._low(zred)
        density = np.empty((len(zred), self.grid.size))
        low = zred <= _SWITCH
        density[low] = self._low(zred[low])
        below, share = _between(zred[~low])
        share = share[:, None]
        density[~low] = self.table[below] * share + self.table[below + 1] * (1.0 - share)
        return density

    def __call__(self, u, zred):
        total, whole = self._sums(zred)
        target = (u * whole)[:, None]
        above = np.clip((total < target).sum(axis=1), 1, self.grid.size - 1)
        row = np.arange(len(u))
        left, right = total[row, above - 1], total[row, above]
        step = self.grid[above] - self.grid[above - 1]
        return self.grid[above - 1] + (target[:, 0] - left) / (right - left) * step

    def cumulative(self, mass, zred):
        """Probabilities (n,) of masses (n,)."""
        total, whole = self._sums(zred)
        above = np.clip(np.searchsorted(self.grid, mass), 1, self.grid.size - 1)
        row = np.arange(len(mass))
        left, right = total[row, above - 1], total[row, above]
        step = self.grid[above] - self.grid[above - 1]
        return (left + (mass - self.grid[above - 1]) / step * (right - left)) / whole

    def _sums(self, zred):
        """Sums of the density below each mass of the grid (n, m), and over all of it (n,)."""
        total = np.cumsum(self.on_grid(zred), axis=1)
        total[:, 0] = 0.0
        return total, total[:, -1]


def _between(zred):
    """Whole redshifts below, from `_SWITCH`, and their shares: two are mixed as cos^2, sin^2."""
    z = np.minimum(zred, _LAST)
    below = np.minimum(z.astype(int), _LAST - 1)
    return below - _SWITCH, np.cos(0.5 * np.pi * (z - below)) ** 2


def _mean_sigma(mass):
    """Metallicities that Gallazzi et al. (2005) saw at a mass."""
    mean, low, high = (np.interp(mass, _MASSMET[:, 0], c) for c in _MASSMET[:, 1:4].T)
    return mean, high - low


def _metallicity(u, mass, lo, hi):
    mean, sigma = _mean_sigma(mass)
    start, end = ndtr((lo - mean) / sigma), ndtr((hi - mean) / sigma)
    return mean + sigma * ndtri(start + u * (end - start))


def _metallicity_cumulative(met, mass, lo, hi):
    mean, sigma = _mean_sigma(mass)
    start, end = ndtr((lo - mean) / sigma), ndtr((hi - mean) / sigma)
    return (ndtr((met - mean) / sigma) - start) / (end - start)


class _ExpectedRatios:
    """SFR ratios of the cosmic star-formation history, shifted in time by mass.

    Where `own` is set, bins are spaced in the galaxy's own lookback time, as its history is; as
    released they are in lookback time from today.
    """

    def __init__(self, params, own):
        self.lo, self.hi = params["logsfr_ratio_mini"], params["logsfr_ratio_maxi"]
        self.nbin, self.own = params["nbins_sfh"], own
        knots = _RATE.get_knots()
        lo, hi = knots[[0, -1]]
        knots = np.concatenate([[lo] * 3, knots, [hi] * 3])
        # The same polynomials, evaluated four times faster; nothing forms outside the table.
        self.formed = PPoly.from_spline(BSpline(knots, _RATE.get_coeffs(), 3).antiderivative())
        self.span = (lo, hi)
        self.redshifts, self.ages = (table[::-1] for table in _AGES)
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
            if self.own:
                last = np.flatnonzero(np.isfinite(ratios[i]))[-1]
                ratios[i, last + 1 :] = ratios[i, last]
            else:
                ratios[i] = beta.expe_logsfr_ratios(zred[i], mass[i], self.lo, self.hi, self.nbin)
        return ratios

    def _edges(self, zred):
        """Lookback times in years of the bins of a galaxy at `zred`, (n, nbin + 1)."""
        first = self.now - age_of_universe(zred)
        zero = first if self.own else np.zeros(zred.size)
        last = np.log10(self.start - 0.1 * (self.start - first) - zero)
        edges = np.empty((zred.size, self.nbin + 1))
        edges[:, 0], edges[:, -1] = first, self.start
        late = zred <= _SWITCH
        edges[late, 1] = first[late] + 3e7
        for rows, begin, at in ((late, 1.3e8, 2), (~late, 10.0**_AMIN, 1)):
            start = np.log10(first[rows] + begin - zero[rows])
            inner = np.linspace(start, last[rows], self.nbin - at, axis=-1)
            edges[rows, at:-1] = zero[rows, None] + 10.0**inner
        return edges


class Beta:
    """(zred, mass, metallicity, ratios...) of one of Prospector's priors, each given the former.

    Parameters
    ----------
    prior : prospect.models.priors_beta prior
    corrected : (zred, masses), optional
        A prior of the redshift, or None for Prospector's, and a function like `MassFunction`, or
        None where any mass is as likely; the ratios are then those in the galaxy's own time.
    """

    def __init__(self, prior, corrected=None):
        self.prior, params = prior, prior.params
        kind, self.range = type(prior), [params[k] for k in ("z_mini", "z_maxi")]
        self.fixed = kind in (beta.DymSFHfixZred, beta.PhiSFHfixZred)
        if corrected:
            self.zred, self.masses = corrected
        else:
            tabulated = kind in (beta.ZredMassMet, beta.NzSFH) and not _redshift_is_uniform(prior)
            self.zred = prior if tabulated else None
            any_mass = kind in (beta.DymSFH, beta.DymSFHfixZred)
            self.masses = None if any_mass else MassFunction(params, _mass_grid(prior))
        self.number = getattr(prior, "finterp_mass_norm", None)
        if corrected or self.number is None:
            self.number = np.ones_like
        self.ratios = None
        if "nbins_sfh" in params:
            self.ratios = _ExpectedRatios(params, corrected is not None)
            self.half = np.asarray(params["logsfr_ratio_maxi"], dtype=float)
            self.scale = np.asarray(params["logsfr_ratio_tscale"], dtype=float)
            self.spread = _even_t2(self.half, self.scale)

    def _uniform(self, name):
        return self.prior.params[f"{name}_mini"], self.prior.params[f"{name}_maxi"]

    def quantile(self, u):
        """Values (n, k) at probabilities (n, k)."""
        out = np.empty(u.shape)
        if self.fixed:
            out[:, 0] = self.prior.zred
        elif self.zred is None:
            low, high = self._uniform("zred")
            out[:, 0] = low + u[:, 0] * (high - low)
        elif self.zred is self.prior:
            out[:, 0] = self.prior.finterp_cdf_z(u[:, 0])
        else:
            out[:, 0] = self.zred.unit_transform(u[:, :1])[:, 0]
        if self.masses is None:
            low, high = self._uniform("mass")
            out[:, 1] = low + u[:, 1] * (high - low)
        else:
            out[:, 1] = self.masses(u[:, 1], out[:, 0])
        out[:, 2] = _metallicity(u[:, 2], out[:, 1], *self.range)
        if self.ratios is not None:
            out[:, 3:] = self.spread(u[:, 3:]) + self.ratios(out[:, 0], out[:, 1])
            np.clip(out[:, 3:], self.ratios.lo, self.ratios.hi, out=out[:, 3:])
        return out

    def cumulative(self, x):
        """Probabilities (n, k) of values (n, k): the inverse of `quantile`.

        nan for ratios that have a density, but that no probability leads to.
        """
        out = np.empty(x.shape)
        zred, mass, met = x[:, :3].T
        if self.fixed:
            out[:, 0] = 0.5  # any gives the same redshift
        elif self.zred is None:
            low, high = self._uniform("zred")
            out[:, 0] = (zred - low) / (high - low)
        elif self.zred is self.prior:
            table = self.prior.finterp_cdf_z
            # Prospector's draws below its table's first entry have redshift 0.
            out[:, 0] = np.interp(zred, table.y, table.x, left=0.0)
        else:
            out[:, 0] = self.zred.inverse_unit_transform(x[:, :1])[:, 0]
        if self.masses is None:
            low, high = self._uniform("mass")
            out[:, 1] = (mass - low) / (high - low)
        else:
            out[:, 1] = self.masses.cumulative(mass, zred)
        out[:, 2] = _metallicity_cumulative(met, mass, *self.range)
        if self.ratios is not None:
            around = x[:, 3:] - self.ratios(zred, mass)
            known = np.abs(around) <= self.half + _ROUNDING
            known &= (x[:, 3:] >= self.ratios.lo) & (x[:, 3:] <= self.ratios.hi)
            around = np.clip(around, -self.half, self.half)
            inside = priors.t2_cumulative(around, 0.0, self.scale, -self.half, self.half)
            out[:, 3:] = np.where(known, inside, np.nan)
        return np.clip(out, 0.0, 1.0, out=out)

    def log_density(self, x):
        """Log density (n, k) of values (n, k), column by column as Prospector gives it."""
        x, out = np.asarray(x, dtype=float), np.zeros(np.shape(x))
        zred, mass, met = x[:, :3].T
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            if self.zred is self.prior:
                out[:, 0] = np.log(self.prior.finterp_z_pdf(zred))
            elif self.zred is not None:
                out[:, 0] = self.zred(x[:, :1])[:, 0]
            elif not self.fixed:
                out[:, 0] = _flat(zred, *self._uniform("zred"))
            if self.masses is None:
                out[:, 1] = _flat(mass, *self._uniform("mass"))
            else:
                number = self.number(zred)
                number[number == 0.0] = 1.0  # outside all redshifts, where nothing is likely
                out[:, 1] = np.log(self.masses.phi(mass, zred) / number)
            low, high = self.range
            inside = priors.truncnorm_logpdf(met, *_mean_sigma(mass), low, high)
            out[:, 2] = np.where((met >= low) & (met <= high), inside, -np.inf)
            if self.ratios is not None:
                # Outside all redshifts nothing is expected of the history.
                known = np.isfinite(out[:, :3]).all(axis=1)
                out[~known, 3:] = -np.inf
                centre = self.ratios(zred[known], mass[known])
                out[known, 3:] = _student_log(x[known, 3:], centre, self.scale, 2.0)
        return out


def _mass_grid(prior):
    """Masses between which Prospector finds probabilities."""
    if not _DEVELOPED:
        return prior.mgrid
    bounds = prior.params["mass_mini"], prior.params["mass_maxi"]
    return np.linspace(*bounds, prior.MASS_SUBGRID_LEN)


def _flat(x, low, high):
    return np.where((x >= low) & (x <= high), -np.log(high - low), -np.inf)


def _of_prior(prior, size):
    """As the functions of `prospect_emu.prospector.prior_joint.JOINT`."""
    joint = Beta(prior)
    return joint.quantile, lambda x: joint.log_density(x).sum(axis=1), True, joint.cumulative


def _redshift_is_uniform(prior):
    """Prospector's NzSFH keeps both a table and a uniform: its own draws say which it uses."""
    size = len(prior)
    zred = prior.unit_transform(np.full(size, 0.3))[0]
    dist = getattr(prior, "zred_dist", None)
    return dist is not None and bool(np.isclose(zred, dist.unit_transform(0.3), rtol=1e-12))


BETA = {
    kind: _of_prior
    for kind in (
        beta.PhiMet, beta.ZredMassMet, beta.DymSFH, beta.DymSFHfixZred, beta.PhiSFH,
        beta.PhiSFHfixZred, beta.NzSFH,
    )
}  # fmt: skip
