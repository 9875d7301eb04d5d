"""Weights of SSPs: FSPS's own, and integrals done by brute force."""

import numpy as np
import pytest

from prospect_emu.errors import RangeError
from prospect_emu.sps import ages, parametric

LOG_AGE = np.arange(5.5, 10.11, 0.05)
BINS = np.array([[0.0, 7.47712], [7.47712, 8.0], [8.0, 8.8], [8.8, 9.6], [9.6, 10.13]])


@pytest.fixture(scope="module")
def population(fsps_ready):
    import fsps

    return fsps.StellarPopulation(zcontinuous=0, zmet=10, add_dust_emission=False)


def fsps_weights(population, **params):
    for k, v in params.items():
        population.params[k] = v
    population.get_spectrum(tage=params["tage"])
    return population._ssp_weights.sum(axis=1)


def draws(sfh, n):
    """Parametric histories with every parameter in use in some of them."""
    rng = np.random.default_rng(sfh)
    for i in range(n):
        tage = rng.uniform(0.05, 14.0)
        p = {
            "sfh": sfh, "tage": tage, "tau": 10.0 ** rng.uniform(-1.0, 1.5), "const": 0.0,
            "sf_start": 0.0, "sf_trunc": 0.0, "sf_slope": 0.0, "fburst": 0.0, "tburst": 11.0,
        }  # fmt: skip
        if i % 2:
            p["sf_start"] = rng.uniform(0.0, 0.5) * tage
        if i % 3:
            p["sf_trunc"] = rng.uniform(0.3, 1.3) * tage
        if i % 4 and sfh in (1, 4):
            p |= {
                "const": rng.uniform(0.0, 0.5), "fburst": rng.uniform(0.0, 0.5),
                "tburst": rng.uniform(0.0, 1.2) * tage,
            }  # fmt: skip
        if sfh == 5:
            p["sf_slope"] = 2.0 * rng.normal()
        yield p


@pytest.mark.fsps
@pytest.mark.parametrize("sfh", parametric.PARAMETRIC)
def test_parametric_weights_are_those_of_fsps(population, sfh):
    """To 1e-7 of one Msun (measured 2e-9: FSPS loses digits in its exponential integral)."""
    log_age = np.array(population.ssp_ages)
    for p in draws(sfh, 24):
        expected = fsps_weights(population, **p)
        got = ages.light_weights(parametric.parametric_weights(log_age, p))[0]
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-7, err_msg=str(p))


@pytest.mark.fsps
def test_tabular_weights_are_those_of_fsps(population):
    """To 1e-9 of the mass, seen after, within and early in the table."""
    rng = np.random.default_rng(2)
    time, sfr = np.sort(rng.uniform(0.0, 13.5, 8)), rng.uniform(0.0, 5.0, 8)
    time[0], sfr[3] = 0.0, 0.0
    log_age = np.array(population.ssp_ages)
    for tage in (13.5, 6.0, 0.8):
        population.set_tabular_sfh(time, sfr)
        expected = fsps_weights(population, tage=tage, sfh=3, sf_start=0.0, sf_trunc=0.0)
        got = ages.tabular_weights(log_age, time, sfr, tage)[0]
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9 * expected.sum())


@pytest.mark.fsps
def test_step_weights_are_those_of_fsps(population):
    """FastStepBasis's table in FSPS: 1e-7 of the mass (its ramps are 2e-4 of a bin wide)."""
    from prospect.sources import FastStepBasis

    mass = np.array([1e8, 1e6, 1e10, 3e9, 1e9])
    time, sfr, tage = FastStepBasis.convert_sfh(None, BINS, mass)
    population.set_tabular_sfh(time, sfr)
    expected = fsps_weights(population, tage=tage, sfh=3, sf_start=0.0, sf_trunc=0.0)
    got = mass @ ages.step_weights(np.array(population.ssp_ages), BINS)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-7 * mass.sum())
    # Stars beyond the oldest SSP are dropped, while their mass counts as formed.
    assert expected.sum() < 0.995 * mass.sum()


def quadrature(log_age, sfr, start, stop):
    """The definition, by 200,000 midpoints in log time."""
    x = np.linspace(np.log10(start), np.log10(stop), 200_001)
    x, step = 0.5 * (x[1:] + x[:-1]), 10.0 ** x[1:] - 10.0 ** x[:-1]
    mass = sfr(10.0**x) * step
    inside = np.clip(x, log_age[0], None)
    cell = np.clip(np.searchsorted(log_age, inside) - 1, 0, log_age.size - 2)
    frac = (inside - log_age[cell]) / np.diff(log_age)[cell]
    keep = x <= log_age[-1]
    out = np.zeros(log_age.size)
    np.add.at(out, cell[keep], (mass * (1.0 - frac))[keep])
    np.add.at(out, cell[keep] + 1, (mass * frac)[keep])
    return out


def test_against_quadrature():
    """No FSPS: the definition of the weights by brute force, to 1e-4 of the largest."""
    got = ages.step_weights(LOG_AGE, BINS)
    for k, (lo, hi) in enumerate(10.0**BINS):
        expected = quadrature(LOG_AGE, lambda t: np.ones_like(t), lo, hi) / (hi - lo)
        np.testing.assert_allclose(got[k], expected, atol=1e-4 * expected.max())
    tage, tau = 3.0e9, 0.7e9
    for sfh, form in (
        (1, lambda t: np.exp(t / tau)),
        (4, lambda t: (tage - t) * np.exp(t / tau)),
    ):
        p = {"sfh": sfh, "tage": 3.0, "tau": 0.7}
        expected = quadrature(LOG_AGE, form, 1.0, tage)
        got = parametric.parametric_weights(LOG_AGE, p)[0]
        np.testing.assert_allclose(got, expected / expected.sum(), atol=1e-4 * got.max())


def test_short_timescales_do_not_overflow():
    """tau of 1 Myr at 13 Gyr (exp(13,000)): a burst at tage, which FSPS returns as NaN."""
    for sfh in (1, 4):
        got = parametric.parametric_weights(LOG_AGE, {"sfh": sfh, "tage": 10.0, "tau": 1e-3})[0]
        burst = parametric.parametric_weights(LOG_AGE, {"sfh": 0, "tage": 10.0})[0]
        np.testing.assert_allclose(got, burst, atol=2e-3)


def test_batches():
    """Rows of a batch are what each is alone; bins per row as bins shared."""
    rng = np.random.default_rng(0)
    p = {"tage": rng.uniform(1, 12, 5), "tau": rng.uniform(0.1, 5, 5), "const": 0.1, "sfh": 4}
    many = parametric.parametric_weights(LOG_AGE, p)
    for i in range(5):
        one = {k: v[i] if np.ndim(v) else v for k, v in p.items()}
        np.testing.assert_allclose(
            many[i], parametric.parametric_weights(LOG_AGE, one)[0], rtol=1e-12
        )
    shared = ages.step_weights(LOG_AGE, BINS)
    assert shared.shape == (5, LOG_AGE.size)
    each = ages.step_weights(LOG_AGE, np.stack([BINS, BINS]))
    assert np.array_equal(each[1], shared)
    # Rows of masses and bins at once: to rounding, of masses that span ten decades.
    mass = 10.0 ** np.random.default_rng(1).uniform(0.0, 10.0, (2, 5))
    got = ages.step_sums(LOG_AGE, np.stack([BINS, BINS]), mass)
    np.testing.assert_allclose(got, mass @ shared, rtol=0, atol=1e-14 * mass.sum())
    table = ages.tabular_weights(
        LOG_AGE, [0.0, 5.0], [[1.0, 1.0], [1.0, 2.0]], np.array([5.0, 5.0])
    )
    assert table.sum(axis=1) == pytest.approx([5e9, 7.5e9], rel=1e-6)


def test_burst_older_than_the_oldest():
    """FSPS extrapolates: one weight above one, one negative, which makes no light."""
    w = parametric.parametric_weights(LOG_AGE, {"sfh": 0, "tage": 13.5})[0]
    assert w.sum() == pytest.approx(1.0)
    assert w[-1] > 1.0 > 0.0 > w[-2]
    assert ages.light_weights(w)[-2] == 0.0


def test_refusals():
    for bins, match in (
        (np.array([[0.0, 8.0], [7.9, 9.0]]), "bins 1 and 2 overlap"),
        (np.array([[0.0, 8.0], [8.1, 9.0]]), "leave a gap"),
        (np.array([[8.0, 7.0]]), "does not end after it begins"),
        (np.array([0.0, 8.0]), "have shape"),
    ):
        with pytest.raises(RangeError, match=match):
            ages.step_weights(LOG_AGE, bins)
    for p, match in (
        ({"sfh": 1}, "tage is 0"),
        ({"sfh": 4, "tage": 1.0, "sf_start": 2.0}, "sf_start is 2"),
        ({"sfh": 1, "tage": 1.0, "const": 0.8, "fburst": 0.5}, "fburst"),
        ({"sfh": 1, "tage": 1.0, "tau": 0.0}, "tau is 0"),
        ({"sfh": 2, "tage": 1.0}, "sfh is 2"),
    ):
        with pytest.raises(RangeError, match=match):
            parametric.parametric_weights(LOG_AGE, p)
