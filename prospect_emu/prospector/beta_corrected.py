"""Prospector-beta's priors without two faults that Prospector's own threads discuss.

Released up to 1.4.1, and disputed in its issue 387 and pull request 399:

* The number of galaxies at each redshift is tabulated for one lowest mass at each redshift, while
  masses are drawn between other limits. Corrected: p(z) is the comoving volume times the integral
  of the mass function between the prior's own limits, and p(mass | z) is normalised between them.
* Bins in which the cosmic star-formation history is averaged are spaced in the logarithm of the
  lookback time from today. Corrected: of that from the galaxy, as the bins of the model's
  history, which they stand for.
"""

import numpy as np
from astropy.cosmology import WMAP9
from prospect.models import priors as prospector
from prospect.models import priors_beta as beta

from ..errors import ModelMismatchError
from . import priors
from .prior_beta import BETA, FORM, Beta, MassFunction

# Nodes in redshift, some even in z and some in ln(z), and in mass.
_NZRED, _NMASS = (1500, 500), 1001


class _Masses:
    """Mass functions that are normalised between their limits.

    Attributes
    ----------
    nodes, number : ndarray, shape (n,)
        Redshifts, and integrals of the mass function there.
    """

    def __init__(self, params, zred):
        self.mass = np.linspace(params["mass_mini"], params["mass_maxi"], _NMASS)
        self.function = MassFunction(params, self.mass)
        low, high = zred
        even = np.linspace(low, high, _NZRED[0])
        self.nodes = np.unique(np.append(even, np.geomspace(max(low, 1e-4), high, _NZRED[1])))
        phi = self.function.on_grid(self.nodes)
        step = 0.5 * (phi[:, 1:] + phi[:, :-1]) * (self.mass[1] - self.mass[0])
        self.until = np.cumsum(np.insert(step, 0, 0.0, axis=1), axis=1)
        self.number = self.until[:, -1].copy()
        self.until /= self.number[:, None]

    def phi(self, mass, zred):
        """Density (n,) in log10(mass) at redshifts (n,)."""
        return self.function.phi(mass, zred) / np.interp(zred, self.nodes, self.number)

    def _until(self, zred):
        """A function: indices (n,) of `mass` to probabilities (n,) below, at redshifts (n,)."""
        row = np.searchsorted(self.nodes[1:-1], zred)
        following = np.minimum(row + 1, self.nodes.size - 1)
        width = np.maximum(self.nodes[following] - self.nodes[row], 1e-300)
        share = np.clip((zred - self.nodes[row]) / width, 0.0, 1.0)
        flat, start, stop = self.until.reshape(-1), row * _NMASS, following * _NMASS
        return lambda i: flat[start + i] * (1.0 - share) + flat[stop + i] * share

    def cumulative(self, mass, zred):
        """Probabilities (n,) of masses (n,)."""
        until = self._until(zred)
        low = np.clip(np.searchsorted(self.mass, mass) - 1, 0, _NMASS - 2)
        part = (mass - self.mass[low]) / (self.mass[low + 1] - self.mass[low])
        return until(low) * (1.0 - part) + until(low + 1) * part

    def __call__(self, u, zred):
        """Masses (n,) at probabilities (n,), by bisection between nodes."""
        until = self._until(zred)
        low, high = np.zeros(u.size, dtype=int), np.full(u.size, _NMASS - 1)
        while (high - low > 1).any():
            middle = (low + high) // 2
            below = until(middle) <= u
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        first, last = until(low), until(high)
        part = np.where(last > first, (u - first) / np.maximum(last - first, 1e-300), 0.0)
        return self.mass[low] + part * (self.mass[high] - self.mass[low])


class CorrectedBeta(prospector.Prior):
    """One of Prospector-beta's priors, corrected; `corrected` makes it.

    Attributes
    ----------
    released : prospect.models.priors_beta prior
        What it corrects, of the same parameters.
    """

    def __init__(self, released):
        self.released, self.params, kind = released, released.params, type(released)
        self.prior_params, self.alias, self.name = released.prior_params, released.alias, ""
        fixed = [self.params["zred"]] * 2 if "zred" in self.params else None
        zred = fixed or [self.params["zred_mini"], self.params["zred_maxi"]]
        masses = density = None
        if kind not in (beta.DymSFH, beta.DymSFHfixZred):
            masses = _Masses(self.params, zred)
        if kind in (beta.ZredMassMet, beta.NzSFH):
            volume = WMAP9.differential_comoving_volume(masses.nodes).value
            density = priors.Tabulated(x=masses.nodes, density=masses.number * volume)
        self.joint = Beta(released, (density, masses))

    def __reduce__(self):
        # Prospector keeps priors pickled in its files.
        return CorrectedBeta, (self.released,)

    def __len__(self):
        return len(self.released)

    @property
    def range(self):
        return self.released.range

    def bounds(self):
        return self.released.bounds()

    def __call__(self, x):
        """Log density of each value, of one vector (k,) or many (n, k)."""
        x = np.asarray(x, dtype=float)
        return self.joint.log_density(np.atleast_2d(x)).reshape(x.shape)

    def unit_transform(self, x):
        """Values at probabilities, of one vector (k,) or many (n, k)."""
        x = np.asarray(x, dtype=float)
        return self.joint.quantile(np.atleast_2d(x)).reshape(x.shape)

    def sample(self, nsample=None):
        """A draw (k,), or `nsample` of them, (nsample, k)."""
        shape = (len(self),) if nsample is None else (nsample, len(self))
        return self.unit_transform(np.random.default_rng().random(shape))


def corrected(prior):
    """A prior of `prospect.models.priors_beta` in the corrected form.

    Raises
    ------
    ModelMismatchError
        If it is another prior.
    """
    if type(prior) not in BETA:
        raise ModelMismatchError(
            f"{type(prior).__name__} is no prior of Prospector-beta; those with a corrected form "
            f"are {', '.join(kind.__name__ for kind in BETA)}."
        )
    return CorrectedBeta(prior)


def beta_form(model):
    """Which of Prospector-beta's priors a model has, such as "released NzSFH"; None without."""
    for name in model.theta_index:
        prior = model.config_dict[name]["prior"]
        if isinstance(prior, CorrectedBeta):
            return f"corrected {type(prior.released).__name__}"
        if type(prior) in BETA:
            return f"{FORM} {type(prior).__name__}"
    return None
