"""Markov chains at a posterior, in coordinates that they learn from each other.

Many chains start at draws that somebody else has made, whose weights need not be right. Each
half moves in a map (`quadratic_map`) of the other half, as a map follows the noise of the points
that it is fitted to. That the chains have forgotten where they began is judged from chains of one
start, and from what the means still do.
"""

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from . import cross_fit
from .quadratic_map import GroupedMap, QuadraticMap
from .walks import learnt_proposal

_HALVES = 2
# Of the Student t distribution in a map's coordinates, with which the chains are compared for ln Z.
_NU = 8.0
_COMPARED, _BRIDGE_STEPS = 4096, 50


@dataclass(frozen=True, eq=False)
class Chains:
    """What chains have found.

    Attributes
    ----------
    theta : ndarray, shape (n, ndim)
    logl : ndarray, shape (n,)
        Of the second half of all rounds, once a round.
    logz, logz_err : float
    n_effective : float
        Independent draws that would know the worst mean as well.
    drift : float
        By how much the worst mean differs between the first and the last rounds of these, in
        standard deviations of the posterior.
    rounds : int
    n_call : int
    """

    theta: np.ndarray
    logl: np.ndarray
    logz: float
    logz_err: float
    n_effective: float
    drift: float
    rounds: int
    n_call: int


class _State:
    """Where chains are: points `w`, parameters, ln likelihood, log density of `w`."""

    def __init__(self, target, w):
        self.w = w
        self.theta, self.logl, log_prior = target(w)
        with np.errstate(invalid="ignore"):
            total = self.logl + log_prior
        self.log_target = np.where(np.isfinite(log_prior), total, -np.inf)

    def take(self, rows, new):
        """Put the `rows` of another state, as many as there are, in place."""
        for name in ("w", "theta", "logl", "log_target"):
            getattr(self, name)[rows] = getattr(new, name)[rows]


def run_chains(target, w, weights, rng, settings):
    """Chains that start at weighted points.

    Parameters
    ----------
    target : callable
        Points (n, ndim) -> parameters (n, ndim), ln likelihood (n,) and log prior density (n,)
        of the points, normalised.
    w : ndarray, shape (n, ndim)
    weights : ndarray, shape (n,)
        They sum to 1; a start for each chain is drawn by them.
    rng : numpy.random.Generator
    settings : object
        ``chains`` and ``steps`` of a round, ``least`` and ``rounds``, the fewest and the most of
        them; the chains end when `Chains.n_effective` and `Chains.drift` reach ``independent``
        and ``drift``.

    Returns
    -------
    Chains
    """
    index = rng.choice(len(w), settings.chains, p=weights)
    state = _State(target, w[index])
    _, clan, sizes = np.unique(index, return_inverse=True, return_counts=True)
    half = cross_fit.balanced(sizes, _HALVES)[clan]
    # At first the starts themselves tell the coordinates.
    maps, kept = [QuadraticMap.fit(w[index])] * _HALVES, []
    while len(kept) < settings.rounds:
        _round(target, state, GroupedMap(maps, half), settings.steps, rng)
        maps = [QuadraticMap.fit(state.w[half != g]) for g in range(_HALVES)]
        kept.append(deepcopy(state))
        used = kept[len(kept) // 2 :]
        n_effective, drift = _convergence(used, clan)
        done = n_effective >= settings.independent and drift <= settings.drift
        if done and len(kept) >= settings.least:
            break
    found = [_bridge(target, used, half == g, maps[g], rng) for g in range(_HALVES)]
    logz, errors = np.array(found).T
    calls = settings.chains * settings.steps * len(kept) + _HALVES * _COMPARED
    return Chains(
        np.concatenate([s.theta for s in used]), np.concatenate([s.logl for s in used]),
        float(logz.mean()), float(np.hypot(*errors) / 2.0), n_effective, drift, len(kept), calls,
    )  # fmt: skip


@np.errstate(over="ignore", invalid="ignore")  # far out a map may overflow; that is refused
def _round(target, state, learnt, steps, rng):
    """Steps of all chains, in place."""
    z = learnt.forward(state.w)
    starts = z.copy()
    for i in range(steps):
        proposal, change = learnt_proposal(i, z, starts, rng)
        w = learnt.inverse(proposal)
        possible = np.isfinite(w).all(axis=1)
        new = _State(target, np.where(possible[:, None], w, 0.0))
        chance = -rng.standard_exponential(len(w))
        rows = np.flatnonzero(possible & (chance < new.log_target - state.log_target + change))
        state.take(rows, new)
        z[rows] = proposal[rows]


def _convergence(rounds, clan):
    """`Chains.n_effective` and `Chains.drift`."""
    w = np.array([s.w for s in rounds])
    mean, sigma = w.mean(axis=(0, 1)), w.std(axis=(0, 1))
    sums = np.zeros((clan.max() + 1, w.shape[2]))
    np.add.at(sums, clan, (w - mean).sum(axis=0))
    error = np.sqrt((sums**2).sum(axis=0)) / (w.shape[0] * w.shape[1]) / sigma
    part = max(1, len(w) // 2)
    drift = np.abs(w[:part].mean(axis=(0, 1)) - w[-part:].mean(axis=(0, 1))) / sigma
    return float(1.0 / error.max() ** 2), float(drift.max())


def _bridge(target, rounds, mine, learnt, rng):
    """ln Z and its error by a bridge from a Student t distribution in a map.

    The map is of other chains than `mine`. Meng & Wong (1996, Stat. Sinica 6, 831).
    """
    w = np.concatenate([s.w[mine] for s in rounds])
    log_target = np.concatenate([s.log_target[mine] for s in rounds])
    ndim = w.shape[1]
    log_scale = np.log(learnt.scale).sum()

    def log_density(z):
        norm = gammaln(0.5 * (_NU + ndim)) - gammaln(0.5 * _NU) - 0.5 * ndim * np.log(_NU * np.pi)
        return norm - 0.5 * (_NU + ndim) * np.log1p((z * z).sum(axis=1) / _NU) - log_scale

    z = rng.standard_normal((_COMPARED, ndim))
    z /= np.sqrt(rng.chisquare(_NU, _COMPARED) / _NU)[:, None]
    drawn = _State(target, learnt.inverse(z))
    ratio = [drawn.log_target - log_density(z), log_target - log_density(learnt.forward(w))]
    # Chains are correlated from round to round: each counts once.
    log_share = np.log(mine.sum() / (mine.sum() + _COMPARED))
    log_rest = np.log(_COMPARED / (mine.sum() + _COMPARED))
    logz = float(np.median(ratio[1]))
    for _ in range(_BRIDGE_STEPS):
        above, below = (r - logz for r in ratio)
        up = np.exp(-np.logaddexp(log_share, log_rest - above))
        down = np.exp(-np.logaddexp(log_share + below, log_rest))
        change = np.log(up.mean() / down.mean())
        logz += change
        if abs(change) < 1e-6:
            break
    each = [up.var() / up.mean() ** 2 / up.size, down.var() / down.mean() ** 2 / mine.sum()]
    return logz, float(np.sqrt(sum(each)))
