"""Importance sampling with a proposal that learns: a posterior, its evidence, and a verdict.

Draws of a proposal are weighted by the exact posterior. Where too few of them count, a mixture
is fitted to the weighted draws and is the next proposal, and so on; all draws are weighted by all
proposals together (Cornuet et al. 2012). The learnt one stays among them, so that no mixture
can lose what it found (Hesterberg 1995). Whether weights can be relied on, the
shape of their tail says (Vehtari et al. 2024); if they cannot, so does the verdict.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from .mixtures import fit_mixture
from .pareto import log_mean_ratio, pareto_smooth, pareto_threshold

GOOD, GROWN, REFIT = "good", "grown", "refit"

# Effective draws per dimension that a mixture is fitted to: weights are flattened for it.
_PER_DIMENSION = 10
# After so many mixtures this share of the draws that are wanted is a sign of growth.
_PATIENCE, _HOPE = 8, 0.05


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
    rounds : int
        Mixtures that are fitted, at most.
    draws : int
        Of each mixture.
    window : int
        Mixtures, the last ones, whose draws count beside those of the learnt proposal.
    """

    n_eff: int = 1000
    first: int = 8192
    most: int = 40960
    rounds: int = 24
    draws: int = 8192
    window: int = 12


@dataclass(frozen=True, eq=False)
class Weighted:
    """Weighted draws of a posterior.

    Attributes
    ----------
    theta : ndarray, shape (n, ndim)
    logl : ndarray, shape (n,)
    log_weights : ndarray, shape (n,)
        Pareto-smoothed and normalised.
    logz, logz_err : float
    pareto_k, n_eff : float
    first_k, first_efficiency : float
        Of the learnt proposal's own draws: shape of the tail, and effective draws per draw.
    verdict : str
        "good": the learnt proposal did; "grown": mixtures did; "refit": neither.
    reason : str
    rounds : int
        Mixtures that were fitted.
    n_call : int
        Draws that were made in all, a likelihood each.
    """

    theta: np.ndarray
    logl: np.ndarray
    log_weights: np.ndarray
    logz: float
    logz_err: float
    pareto_k: float
    n_eff: float
    first_k: float
    first_efficiency: float
    verdict: str
    reason: str
    rounds: int
    n_call: int


class _Draws:
    """Draws of some proposals, with their densities by all of them; the first one stays.

    Attributes
    ----------
    arrays : dict of ndarray
        ``w``, ``theta``, ``logl``, ``log_target`` (n, ...) and ``log_q`` (n, nproposal).
    """

    def __init__(self, target, window):
        self._target, self._window = target, window
        self.proposals, self.sizes, self.arrays = [], [], {}
        self.smoothed()

    def add(self, proposal, rng, n):
        """Draw from a proposal, a new one or the last; the oldest of too many goes."""
        w, log_own = proposal.draw(rng, n)
        theta, logl, log_prior = self._target(w)
        with np.errstate(invalid="ignore"):
            log_target = np.where(np.isfinite(log_prior), logl + log_prior, -np.inf)
        known = self.proposals and self.proposals[-1] is proposal
        if known:
            self.sizes[-1] += n
        else:
            if len(self.proposals) == 1 + self._window:
                self._forget()
            if self.proposals:
                others = proposal.log_density(self.arrays["w"])[:, None]
                self.arrays["log_q"] = np.concatenate([self.arrays["log_q"], others], axis=1)
            self.proposals.append(proposal)
            self.sizes.append(n)
        log_q = [p.log_density(w) for p in self.proposals[:-1]] + [log_own]
        new = {"w": w, "theta": theta, "logl": logl, "log_target": log_target,
               "log_q": np.stack(log_q, axis=1)}  # fmt: skip
        if self.arrays:
            new = {k: np.concatenate([self.arrays[k], v]) for k, v in new.items()}
        self.arrays = new
        self.smoothed()

    def _forget(self):
        """The oldest mixture."""
        first, oldest, *rest = self.sizes
        self.arrays = {
            k: np.delete(v, slice(first, first + oldest), 0) for k, v in self.arrays.items()
        }
        self.arrays["log_q"] = np.delete(self.arrays["log_q"], 1, axis=1)
        self.proposals, self.sizes = [self.proposals[0], *self.proposals[2:]], [first, *rest]

    def smoothed(self):
        """Weights of what is there, and what they are worth."""
        self.log_ratio, self.k, self.n_eff = np.full(1, -np.inf), np.inf, 0.0
        if self.arrays:
            self.log_ratio = self.arrays["log_target"] - self._mixed(self.arrays["log_q"])
        self.log_weights = np.full(self.log_ratio.size, -np.log(self.log_ratio.size))
        if np.isfinite(self.log_ratio).any():
            self.log_weights, self.k = pareto_smooth(self.log_ratio)
            self.n_eff = float(1.0 / np.sum(np.exp(2.0 * self.log_weights)))

    def _mixed(self, log_q):
        """Log density of all proposals together; any where it is none, for no draw is there."""
        log = logsumexp(log_q + np.log(np.array(self.sizes) / sum(self.sizes)), axis=-1)
        return np.where(np.isfinite(log), log, 0.0)

    def reliable(self):
        return self.k <= pareto_threshold(self.log_ratio.size)

    def logz(self):
        """ln Z and its error."""
        return log_mean_ratio(self.log_ratio, self.log_weights)


def importance_sample(target, proposal, rng, settings=None):
    """Sample a posterior by a learnt proposal.

    Parameters
    ----------
    target : callable
        Points (n, ndim) -> parameters (n, ndim), ln likelihood (n,) and log prior density (n,)
        of the points, normalised.
    proposal : object
        ``draw(rng, n)`` gives points and their log density, ``log_density(w)`` that of others.
    rng : numpy.random.Generator
    settings : ImportanceSettings, optional

    Returns
    -------
    Weighted
    """
    s = settings or ImportanceSettings()
    draws, rounds = _Draws(target, s.window), 0
    draws.add(proposal, rng, s.first)
    wanted = int(1.2 * s.first * s.n_eff / max(draws.n_eff, 1e-3))
    if draws.reliable() and draws.n_eff < s.n_eff and wanted <= s.most:
        draws.add(proposal, rng, wanted - s.first)
    calls = draws.log_ratio.size
    first_k, first_efficiency = draws.k, draws.n_eff / calls

    def enough():
        return draws.reliable() and draws.n_eff >= s.n_eff

    while not enough() and rounds < s.rounds and draws.n_eff > 0:
        if rounds >= _PATIENCE and draws.n_eff < _HOPE * s.n_eff:
            break
        w = draws.arrays["w"]
        draws.add(fit_mixture(w, _flattened(draws.log_ratio, w.shape[1]), rng), rng, s.draws)
        calls, rounds = calls + s.draws, rounds + 1
    logz, logz_err = draws.logz() if draws.n_eff else (-np.inf, np.inf)
    return Weighted(
        draws.arrays["theta"], draws.arrays["logl"], draws.log_weights, logz, logz_err, draws.k,
        draws.n_eff, first_k, first_efficiency, *_judge(draws, rounds, s), rounds, calls,
    )  # fmt: skip


def _flattened(log_ratio, ndim):
    """Weights that stand for enough draws to fit a mixture: flattened as little as that takes."""
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


def _judge(draws, rounds, settings):
    """Verdict and reason."""
    if not draws.reliable():
        return REFIT, f"a few draws carry the posterior (Pareto k {draws.k:.2f})"
    if draws.n_eff < settings.n_eff:
        return REFIT, f"{draws.n_eff:.0f} draws are effective, of {settings.n_eff} that are wanted"
    if rounds:
        return GROWN, f"{rounds} mixtures were fitted to draws"
    return GOOD, "the draws of the learnt proposal suffice"
