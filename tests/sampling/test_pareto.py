"""Pareto smoothing against arviz and SciPy."""

import numpy as np
import pytest
from scipy.stats import genpareto, norm

from prospect_emu.fit.certificate import compare
from prospect_emu.sampling import pareto


@pytest.mark.parametrize("spread", [0.01, 0.3, 1.0, 3.0, 30.0])
@pytest.mark.parametrize("n", [200, 1000, 5000])
def test_smoothed_weights_are_arvizs(n, spread):
    """arviz's psislw: log weights and k to 1e-8."""
    array_stats = pytest.importorskip(
        "arviz_stats.base.array", reason="arviz-stats (the test extra) is not installed"
    ).array_stats
    log_ratio = spread * np.random.default_rng(n).standard_normal(n)
    expected, k = array_stats.psislw(-log_ratio)  # it expects what is left out
    ours, our_k = pareto.pareto_smooth(log_ratio)
    assert our_k == pytest.approx(float(k), rel=1e-8, abs=1e-8)
    np.testing.assert_allclose(ours, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("k", [-0.3, 0.2, 0.7, 1.2])
def test_the_shape_of_a_pareto_tail_is_found(k):
    """Samples of scipy's generalised Pareto: k to 4 of its errors, (1 + k) / sqrt(n)."""
    n = 4000
    x = np.sort(genpareto.rvs(k, scale=2.0, size=n, random_state=3))
    found, scale = pareto.fit_generalised_pareto(x)
    error = 4 * (1 + max(k, 0.0)) / np.sqrt(n)
    assert found == pytest.approx(k, abs=error)
    assert scale == pytest.approx(2.0, rel=2 * error)


@pytest.mark.parametrize("k", [-0.4, 0.0, 0.6])
def test_quantiles_are_scipys(k):
    p = np.array([0.001, 0.3, 0.9, 0.9999])
    expected = genpareto.ppf(p, k, scale=0.3)
    np.testing.assert_allclose(pareto.generalised_pareto_quantile(p, k, 0.3), expected, rtol=1e-10)


def test_equal_weights_need_no_smoothing():
    log_weights, k = pareto.pareto_smooth(np.full(300, -7.0))
    np.testing.assert_allclose(log_weights, -np.log(300))
    assert k == -np.inf
    assert pareto.log_mean_ratio(np.full(300, -7.0), log_weights) == pytest.approx((-7.0, 0.0))


def test_rounding_is_no_tail():
    """Likelihoods of another batch: a few differ by 1e-7, most not at all. Their k was 398."""
    log_ratio = np.zeros(400)
    log_ratio[::40] = 1e-7 * np.arange(10)
    log_weights, k = pareto.pareto_smooth(log_ratio)
    assert k == -np.inf
    np.testing.assert_allclose(log_weights, -np.log(400))
    assert pareto.log_mean_ratio(log_ratio, log_weights)[0] == pytest.approx(0.0, abs=1e-6)


def test_gaussians_are_corrected_and_their_evidence_too():
    """Draws from N(0, 1), target N(0.3, 0.8) times e^2.5: mean, width, ln of the mean ratio."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal(20000)
    log_ratio = 2.5 + norm.logpdf(x, 0.3, 0.8) - norm.logpdf(x)
    log_weights, k = pareto.pareto_smooth(log_ratio)
    w = np.exp(log_weights)
    assert k < pareto.pareto_threshold(x.size) and w.sum() == pytest.approx(1.0)
    error = 1.0 / np.sqrt(1.0 / np.sum(w**2))
    mean = w @ x
    assert mean == pytest.approx(0.3, abs=4 * error)
    assert np.sqrt(w @ (x - mean) ** 2) == pytest.approx(0.8, abs=4 * error)
    dlogz, err = pareto.log_mean_ratio(log_ratio, log_weights)
    assert dlogz == pytest.approx(2.5, abs=4 * err) and 0 < err < 0.02
    shift, width = compare({"x": x}, w)
    # Half intervals 1 and 0.8.
    assert shift["x"] == pytest.approx(0.3 / np.sqrt(0.5 * (1 + 0.64)), abs=6 * error)
    assert width["x"] == pytest.approx(0.8, abs=6 * error)


def test_a_target_far_away_is_told():
    """Proposals that miss the target give k above the limit."""
    x = np.random.default_rng(6).standard_normal((2000, 10))
    log_ratio = (norm.logpdf(x, 1.5, 0.5) - norm.logpdf(x)).sum(axis=1)
    assert pareto.pareto_smooth(log_ratio)[1] > pareto.pareto_threshold(2000)


def test_the_limit_of_k():
    """min(1 - 1/log10 n, 0.7) of Vehtari et al. (2024)."""
    assert pareto.pareto_threshold(200) == pytest.approx(1 - 1 / np.log10(200))
    assert pareto.pareto_threshold(10**6) == 0.7
