"""Priors against scipy.stats and against the mock parameters of Mathews et al. (2023)."""

import numpy as np
import pytest
import scipy.stats as st

from prospect_emu.networks.vector import PARAMETERS
from prospect_emu.prospector import priors
from prospect_emu.prospector.mathews23 import default_priors

U = np.linspace(1e-6, 1 - 1e-6, 1001)


def truncated(dist, lo, hi):
    c0, c1 = dist.cdf(lo), dist.cdf(hi)
    return (
        lambda x: dist.logpdf(x) - np.log(c1 - c0),
        lambda x: (dist.cdf(x) - c0) / (c1 - c0),
        lambda u: dist.ppf(c0 + u * (c1 - c0)),
    )


CASES = {
    "uniform": (priors.Uniform(mini=-2.0, maxi=0.5), truncated(st.uniform(-2.0, 2.5), -2.0, 0.5)),
    "normal": (
        priors.TruncatedNormal(mean=0.3, sigma=1.0, mini=0.0, maxi=4.0),
        truncated(st.norm(0.3, 1.0), 0.0, 4.0),
    ),
    "normal, bulk outside": (
        priors.TruncatedNormal(mean=1.0, sigma=10.0, mini=0.1, maxi=25.0),
        truncated(st.norm(1.0, 10.0), 0.1, 25.0),
    ),
    "student": (
        priors.TruncatedStudentT2(mean=0.0, scale=0.3, mini=-5.0, maxi=5.0),
        truncated(st.t(2, 0.0, 0.3), -5.0, 5.0),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_against_scipy(case):
    """Density, cdf and quantiles to 1e-10: both sides are closed forms in double precision."""
    prior, (logpdf, cdf, ppf) = CASES[case]
    x = prior.unit_transform(U)
    np.testing.assert_allclose(x, ppf(U), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(prior(x), logpdf(x), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(prior.inverse_unit_transform(x), cdf(x), rtol=1e-10, atol=1e-12)


def test_far_tail_stays_inside():
    """Eight sigma out, where 1 - cdf has lost all digits, against scipy's truncnorm."""
    prior = priors.TruncatedNormal(mean=0.0, sigma=1.0, mini=8.0, maxi=9.0)
    x = prior.unit_transform(U)
    np.testing.assert_allclose(x, st.truncnorm(8.0, 9.0).ppf(U), rtol=1e-7)
    np.testing.assert_allclose(prior(x), st.truncnorm(8.0, 9.0).logpdf(x), rtol=1e-7)


@pytest.mark.parametrize("name", list(default_priors()))
def test_unit_transform_and_bounds(name):
    prior = default_priors()[name]
    n = len(prior)
    u = np.random.default_rng(1).random((4, 50, n))
    x = prior.unit_transform(u)
    assert x.shape == u.shape
    lo, hi = prior.bounds()
    assert np.all(x >= lo) and np.all(x <= hi)
    np.testing.assert_allclose(prior.inverse_unit_transform(x), u, atol=1e-9)
    for edge in (0.0, 1.0):
        assert np.isfinite(prior.unit_transform(np.full(n, edge))).all()
    outside = np.broadcast_to(np.asarray(hi) + 1.0, (n,))
    assert np.all(prior(outside) == -np.inf)
    one = prior.unit_transform(u[0, 0])
    np.testing.assert_array_equal(one, x[0, 0])


def test_density_is_normalised():
    """Massmet integrates to one on a grid; the grid's own error is below 1e-4."""
    prior = default_priors()["massmet"]
    z = np.linspace(-1.98, 0.19, 4001)
    for mass in (7.0, 10.0, 11.4):
        x = np.stack([np.full_like(z, mass), z], axis=-1)
        assert np.trapezoid(np.exp(prior(x).sum(-1)), z) * 6.5 == pytest.approx(1.0, abs=1e-4)


def test_against_published_mocks(shared):
    """Kolmogorov-Smirnov over 10,000 draws: p > 1e-3 for each of 18, expected of equal laws."""
    pars = np.load(shared / "mathews23" / "pars.npy")
    prior = default_priors()
    columns = {"massmet": pars[:2].T, "logsfr_ratios": pars[2:8].T}
    columns |= {p: pars[i][:, None] for i, p in enumerate(PARAMETERS) if p in prior}
    for name, values in columns.items():
        u = prior[name].inverse_unit_transform(values)
        for i in range(u.shape[1]):
            assert st.kstest(u[:, i], "uniform").pvalue > 1e-3, (name, i)
