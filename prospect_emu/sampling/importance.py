"""Importance sampling with a learnt proposal: a posterior, its evidence, and a verdict.

Draws of the proposal are weighted by the exact posterior. Whether weights can be relied on, the
shape of their tail says (Vehtari et al. 2024). Where they cannot, or too few draws count, Markov
chains start at the weighted draws (`chains`); whether these have arrived, they say themselves.
If they have not, so does the verdict.
"""

from dataclasses import dataclass

import numpy as np

from .chains import run_chains
from .pareto import log_mean_ratio, pareto_smooth, pareto_threshold

GOOD, GROWN, REFIT = "good", "grown", "refit"

# Effective draws per dimension at which chains start: weights are flattened for it; and how many
# there must be at least.
_PER_DIMENSION, _FEWEST = 10, 2


@dataclass(frozen=True)
class ImportanceSettings:
    """How a posterior is sampled.

    Attributes
    ----------
    n_eff : int
        Effective draws to reach.
    first : int
        Draws of the learnt proposal at first.
    most : int
        Draws of it at most: as many are made as `n_eff` seems to need, if not more.
    chains, steps : int
        Chains that start where that does not suffice, and their steps in a round.
    least, rounds : int
        Rounds, at least and at most.
    independent : int
        Chains go on until as many independent draws would know the worst mean as well,
    drift : float
        and until no mean drifts by more than this, in standard deviations of the posterior.
    """

    n_eff: int = 1000
    first: int = 8192
    most: int = 40960
    chains: int = 1000
    steps: int = 40
    least: int = 6
    rounds: int = 24
    independent: int = 300
    drift: float = 0.1


@dataclass(frozen=True, eq=False)
class Weighted:
    """Weighted draws of a posterior.

    Attributes
    ----------
    theta : ndarray, shape (n, ndim)
    logl : ndarray, shape (n,)
    log_weights : ndarray, shape (n,)
        Normalised; Pareto-smoothed, or those of chains, all equal.
    logz, logz_err : float
    n_eff : float
        Effective draws; of chains, independent ones that would know the worst mean as well.
    pareto_k, efficiency : float
        Of the learnt proposal's own draws: shape of the tail, and effective draws per draw.
    verdict : str
        "good": the learnt proposal did; "grown": chains did; "refit": neither.
    reason : str
    n_call : int
        Likelihoods that were computed.
    rounds : int
        Of chains.
    drift : float
        Of chains; see `prospect_emu.sampling.chains.Chains`.
    """

    theta: np.ndarray
    logl: np.ndarray
    log_weights: np.ndarray
    logz: float
    logz_err: float
    n_eff: float
    pareto_k: float
    efficiency: float
    verdict: str
    reason: str
    n_call: int
    rounds: int = 0
    drift: float = 0.0


class _Draws:
    """Draws of a proposal and their weights."""

    def __init__(self, target, proposal, rng):
        self._target, self._proposal, self._rng = target, proposal, rng
        self.w, self.theta, self.logl, self.log_ratio = None, None, None, np.zeros(0)

    def add(self, n):
        w, log_q = self._proposal.draw(self._rng, n)
        theta, logl, log_prior = self._target(w)
        with np.errstate(invalid="ignore"):
            log_ratio = np.where(np.isfinite(log_prior), logl + log_prior - log_q, -np.inf)
        new = {"w": w, "theta": theta, "logl": logl, "log_ratio": log_ratio}
        for name, value in new.items():
            old = getattr(self, name) if self.log_ratio.size else value[:0]
            new[name] = np.concatenate([old, value])
        vars(self).update(new)
        size = self.log_ratio.size
        self.log_weights, self.k, self.n_eff = np.full(size, -np.log(size)), np.inf, 0.0
        if np.isfinite(self.log_ratio).any():
            self.log_weights, self.k = pareto_smooth(self.log_ratio)
            self.n_eff = float(1.0 / np.sum(np.exp(2.0 * self.log_weights)))

    def reliable(self):
        return self.k <= pareto_threshold(self.log_ratio.size)


def importance_sample(target, proposal, rng, settings=None):
    """Sample a posterior by a learnt proposal.

    Parameters
    ----------
    target : callable
        Points (n, ndim) -> parameters (n, ndim), ln likelihood (n,) and log prior density (n,)
        of the points, normalised.
    proposal : object
        ``draw(rng, n)`` gives points and their log density.
    rng : numpy.random.Generator
    settings : ImportanceSettings, optional

    Returns
    -------
    Weighted
    """
    s = settings or ImportanceSettings()
    draws = _Draws(target, proposal, rng)
    draws.add(s.first)
    wanted = int(1.2 * s.first * s.n_eff / max(draws.n_eff, 1e-3))
    if draws.reliable() and draws.n_eff < s.n_eff and wanted <= s.most:
        draws.add(wanted - s.first)
    calls = draws.log_ratio.size
    own = {"pareto_k": draws.k, "efficiency": draws.n_eff / calls}
    if np.isfinite(draws.log_ratio).sum() < _FEWEST * draws.w.shape[1]:
        return Weighted(
            draws.theta, draws.logl, draws.log_weights, -np.inf, np.inf, 0.0, **own,
            verdict=REFIT, reason="hardly a draw is inside the prior", n_call=calls,
        )  # fmt: skip
    if draws.reliable() and draws.n_eff >= s.n_eff:
        return Weighted(
            draws.theta, draws.logl, draws.log_weights,
            *log_mean_ratio(draws.log_ratio, draws.log_weights), draws.n_eff, **own,
            verdict=GOOD, reason="the draws of the learnt proposal suffice", n_call=calls,
        )  # fmt: skip
    starts = _flattened(draws.log_ratio, draws.w.shape[1])
    found = run_chains(target, draws.w, starts, rng, s)
    verdict, reason = GROWN, f"chains started at its draws and took {found.rounds * s.steps} steps"
    if found.drift > s.drift:
        verdict = REFIT
        reason = f"chains still drift, by {found.drift:.2f} standard deviations of the posterior"
    elif found.n_effective < s.independent:
        verdict = REFIT
        reason = f"chains are worth {found.n_effective:.0f} draws, of {s.independent} wanted"
    size = found.logl.size
    return Weighted(
        found.theta, found.logl, np.full(size, -np.log(size)), found.logz, found.logz_err,
        found.n_effective, **own, verdict=verdict, reason=reason, rounds=found.rounds,
        drift=found.drift, n_call=calls + found.n_call,
    )  # fmt: skip


def _flattened(log_ratio, ndim):
    """Weights that stand for enough draws to start at: flattened as little as that takes."""
    top, possible = log_ratio.max(), np.isfinite(log_ratio)

    def weights(power):
        w = np.zeros(log_ratio.size)
        w[possible] = np.exp(power * (log_ratio[possible] - top))
        return w / w.sum()

    def enough(power):
        return 1.0 / np.sum(weights(power) ** 2) >= _PER_DIMENSION * ndim

    low, high = (1.0, 1.0) if enough(1.0) else (0.0, 1.0)
    for _ in range(16 if low < high else 0):
        power = 0.5 * (low + high)
        low, high = (power, high) if enough(power) else (low, power)
    return weights(low)


def thin(weights, rng, keep):
    """Some of many weighted draws, with weights that mean the same.

    Heavy draws stay as they are. Light ones are kept with a probability that goes with their
    weight, and all have one weight then: no mean is biased.

    Parameters
    ----------
    weights : ndarray, shape (n,)
        They sum to 1.
    rng : numpy.random.Generator
    keep : int
        About so many are kept.

    Returns
    -------
    index : ndarray of int, shape (m,)
    weights : ndarray, shape (m,)
        They sum to 1.
    """
    low, high = 0.0, max(1.0, weights.max() * weights.size)
    for _ in range(40):
        light = 0.5 * (low + high)
        low, high = (light, high) if np.minimum(weights / light, 1.0).sum() > keep else (low, light)
    index = np.flatnonzero(rng.random(weights.size) < weights / high)
    kept = np.maximum(weights[index], high)
    return index, kept / kept.sum()
