"""Importance sampling on a posterior in closed form: a linear model with Gaussian errors."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal, multivariate_t

from prospect_emu.sampling.importance import (
    GOOD,
    GROWN,
    REFIT,
    ImportanceSettings,
    importance_sample,
)
from prospect_emu.sampling.mixtures import Mixture, fit_mixture, thin

NDIM, NDATA = 6, 20
SETTINGS = ImportanceSettings(n_eff=1000, first=4096, most=12288, draws=4096)


class Linear:
    """``data = A w + noise`` with a standard normal prior: mean, covariance and ln Z are known."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        self.a, self.sigma = rng.normal(size=(NDATA, NDIM)), 0.7
        self.data = self.a @ rng.normal(size=NDIM) + self.sigma * rng.normal(size=NDATA)
        precision = np.eye(NDIM) + self.a.T @ self.a / self.sigma**2
        self.covariance = np.linalg.inv(precision)
        self.mean = self.covariance @ self.a.T @ self.data / self.sigma**2
        spread = self.sigma**2 * np.eye(NDATA) + self.a @ self.a.T
        self.logz = multivariate_normal(cov=spread).logpdf(self.data)

    def __call__(self, w):
        residual = (self.data - w @ self.a.T) / self.sigma
        log_norm = -NDATA * np.log(self.sigma * np.sqrt(2 * np.pi))
        logl = log_norm - 0.5 * (residual**2).sum(axis=1)
        return 3.0 * w, logl, multivariate_normal(cov=np.eye(NDIM)).logpdf(w)

    def proposal(self, shift=0.0, stretch=1.0):
        """A Student t about the posterior, displaced by `shift` of its standard deviations."""
        chol = np.linalg.cholesky(stretch * self.covariance)
        mean = self.mean + shift * np.sqrt(np.diag(self.covariance))
        return Mixture(np.ones(1), mean[None], chol[None])


@pytest.fixture(scope="module")
def linear():
    return Linear()


def check(run, linear):
    """Mean, covariance and ln Z within five of their errors."""
    w, weights = run.theta / 3.0, np.exp(run.log_weights)
    sigma = np.sqrt(np.diag(linear.covariance))
    off = (weights @ w - linear.mean) / sigma
    assert np.abs(off).max() < 5.0 / np.sqrt(run.n_eff)
    variance = weights @ (w - linear.mean) ** 2 / sigma**2
    # Of a variance the error is sqrt(2 / n).
    assert np.abs(variance - 1.0).max() < 5.0 * np.sqrt(2.0 / run.n_eff)
    assert run.logz == pytest.approx(linear.logz, abs=5.0 * run.logz_err)
    assert run.logz_err < 0.05


def test_a_right_proposal_is_good(linear):
    run = importance_sample(linear, linear.proposal(), np.random.default_rng(1), SETTINGS)
    assert run.verdict == GOOD and run.rounds == 0 and run.n_eff >= SETTINGS.n_eff
    assert run.n_call == SETTINGS.first
    check(run, linear)


def test_more_draws_where_they_suffice(linear):
    proposal = linear.proposal(stretch=3.0)
    run = importance_sample(linear, proposal, np.random.default_rng(1), SETTINGS)
    assert run.verdict == GOOD and SETTINGS.first < run.n_call <= SETTINGS.most
    check(run, linear)


@pytest.mark.parametrize("shift, stretch", [(3.0, 1.0), (1.0, 0.2), (0.0, 30.0)])
def test_mixtures_mend_a_poor_proposal(linear, shift, stretch):
    proposal = linear.proposal(shift, stretch)
    run = importance_sample(linear, proposal, np.random.default_rng(1), SETTINGS)
    assert run.verdict == GROWN and run.rounds > 0
    check(run, linear)


def test_a_wrong_proposal_is_refused(linear):
    """So far off that no mixture gets there in its rounds."""
    short = ImportanceSettings(first=512, rounds=2, draws=512)
    run = importance_sample(linear, linear.proposal(60.0), np.random.default_rng(1), short)
    assert run.verdict == REFIT and run.reason


def test_a_proposal_outside_the_prior_is_refused(linear):
    def nowhere(w):
        return w, np.zeros(len(w)), np.full(len(w), -np.inf)

    run = importance_sample(nowhere, linear.proposal(), np.random.default_rng(1), SETTINGS)
    assert run.verdict == REFIT and run.n_eff == 0.0


def test_few_draws_inside_the_prior(linear):
    """Too few for a mixture of their own: all count alike, and growth goes on."""

    def narrow(w):
        theta, logl, prior = linear(w)
        far = np.abs(w - linear.mean) > 2.0 * np.sqrt(np.diag(linear.covariance))
        return theta, logl, np.where(far.any(axis=1), -np.inf, prior)

    settings = ImportanceSettings(n_eff=300, first=2048, most=2048, draws=2048)
    proposal = linear.proposal(stretch=10.0)
    w, _ = proposal.draw(np.random.default_rng(3), settings.first)
    assert 0 < np.isfinite(narrow(w)[2]).sum() < 10 * NDIM  # what `_flattened` wants at least
    run = importance_sample(narrow, proposal, np.random.default_rng(3), settings)
    assert run.verdict == GROWN and np.isfinite(run.logz)


def test_what_the_proposal_found_is_not_lost(linear):
    """Two equal modes, of which hardly a draw of the learnt proposal knows the other."""
    step = 40.0 * np.sqrt(np.diag(linear.covariance))

    def two(w):
        _, logl, prior = linear(w)
        other = linear(w - step)
        return w, np.logaddexp(logl + prior, other[1] + other[2]) - prior, prior

    proposal = Mixture(
        np.array([0.995, 0.005]),
        linear.mean + np.outer([0.0, 1.0], step),
        np.repeat(np.linalg.cholesky(2.0 * linear.covariance)[None], 2, axis=0),
    )
    run = importance_sample(two, proposal, np.random.default_rng(2), SETTINGS)
    assert run.verdict == GROWN
    far = (run.theta[:, 0] - linear.mean[0]) / step[0] > 0.5
    share = np.exp(run.log_weights)[far].sum()
    assert share == pytest.approx(0.5, abs=5.0 * 0.5 / np.sqrt(run.n_eff))
    assert run.logz == pytest.approx(linear.logz + np.log(2.0), abs=5.0 * run.logz_err)


def test_the_same_seed_gives_the_same(linear):
    proposal = linear.proposal(3.0)
    one, two, other = (
        importance_sample(linear, proposal, np.random.default_rng(s), SETTINGS) for s in (7, 7, 8)
    )
    np.testing.assert_array_equal(one.theta, two.theta)
    assert one.logz == two.logz != other.logz


def test_density_of_a_mixture():
    """Against SciPy's multivariate t, to rounding."""
    rng = np.random.default_rng(0)
    chol = np.tril(rng.normal(size=(2, 3, 3))) + 2.0 * np.eye(3)
    mix = Mixture(np.array([0.3, 0.7]), rng.normal(size=(2, 3)), chol)
    w, log_density = mix.draw(rng, 500)
    parts = [multivariate_t(m, c @ c.T, df=8.0).pdf(w) for m, c in zip(mix.mean, chol, strict=True)]
    np.testing.assert_allclose(log_density, np.log(mix.share @ parts), rtol=1e-10)


def test_two_components_describe_two_heaps():
    """The mean log density gains more than 0.3 on a single component, of 0.56 (the entropy)."""
    w = np.random.default_rng(0).normal(size=(4000, 2))
    w[:1000] += 12.0
    one, two = (
        fit_mixture(w, np.full(4000, 1 / 4000), np.random.default_rng(3), most=k) for k in (1, 2)
    )
    assert two.share.size == 2
    assert two.log_density(w).mean() > one.log_density(w).mean() + 0.3


def test_thinning_is_unbiased():
    """Means of many thinnings against that of all draws, within five errors."""
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=5000), rng.exponential(size=5000) ** 3
    weights /= weights.sum()
    means = []
    for _ in range(200):
        index, kept = thin(weights, rng, 300)
        assert 200 < index.size < 400 and kept.sum() == pytest.approx(1.0)
        means.append(kept @ x[index])
    assert abs(np.mean(means) - weights @ x) < 5.0 * np.std(means) / np.sqrt(200)
