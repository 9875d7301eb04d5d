"""Masses and ages of histories against numerical integrals, FSPS's populations, and Prospector."""

import numpy as np
import pytest
from scipy.integrate import quad

from prospect_emu.sps.history import History
from prospect_emu.sps.ingredients import find_ingredients

T = np.array([1e6, 3e7, 1e8, 7e8, 2e9, 6e9, 2e10])


@pytest.fixture(scope="module")
def log_age():
    return find_ingredients(imf_type=1).log_age


RATES = {
    # sfh: star-formation rate at a time in Gyr, up to a factor.
    1: lambda t, p: np.exp(-(t - p["sf_start"]) / p["tau"]),
    4: lambda t, p: (t - p["sf_start"]) * np.exp(-(t - p["sf_start"]) / p["tau"]),
    5: lambda t, p: (
        (t - p["sf_start"]) * np.exp(-(t - p["sf_start"]) / p["tau"])
        if t < p["sf_trunc"]
        else max(
            (p["sf_trunc"] - p["sf_start"])
            * np.exp(-(p["sf_trunc"] - p["sf_start"]) / p["tau"])
            * (1 + p["sf_slope"] * (t - p["sf_trunc"])),
            0.0,
        )
    ),
}


@pytest.mark.parametrize("sfh", [1, 4, 5])
def test_parametric_against_quadrature(sfh, log_age):
    p = {"tage": 6.0, "tau": 1.7, "sf_start": 0.5, "sf_trunc": 4.5, "sf_slope": -0.3}
    if sfh != 5:
        p["sf_trunc"] = 0.0
    history = History({"sfh": sfh, "mass": 3e9, **p}, log_age)
    rate = lambda t: RATES[sfh](t, p)  # noqa: E731
    points = [p["sf_trunc"]] if sfh == 5 else None
    whole = quad(rate, p["sf_start"], p["tage"], points=points)[0]
    got = history.formed_since(T)[0] / 3e9
    for t, share in zip(T, got, strict=True):
        since = max(p["tage"] - t / 1e9, p["sf_start"])
        expected = quad(rate, since, p["tage"], points=points if since < 4.5 else None)[0] / whole
        # FSPS's own formula for the straight part's share agrees to 1e-9.
        assert share == pytest.approx(expected, rel=1e-7, abs=1e-12)
    mean = quad(lambda t: (p["tage"] - t) * rate(t), p["sf_start"], p["tage"], points=points)[0]
    assert history.mean_age()[0] == pytest.approx(mean / whole, rel=1e-7)
    since = p["tage"] - history.half_mass_time()[0]
    late = quad(rate, since, p["tage"], points=points if since < 4.5 else None)[0]
    assert late / whole == pytest.approx(0.5, rel=1e-7)


def test_constant_and_burst(log_age):
    p = {"sfh": 1, "tage": 5.0, "tau": 2.0, "const": 0.3, "fburst": 0.2, "tburst": 4.95}
    history = History(p | {"mass": np.array([1.0, 2.0])}, log_age)
    got = history.formed_since(np.array([4e7, 6e7]))
    tail = np.exp(-(5.0 - 0.06) / 2.0) - np.exp(-2.5)
    expected = 0.5 * tail / (1 - np.exp(-2.5)) + 0.3 * 0.06 / 5.0 + 0.2
    assert got[0, 1] == pytest.approx(expected, rel=1e-9)
    assert got[1, 1] == pytest.approx(2 * expected, rel=1e-9)
    assert got[0, 0] < 0.01  # before the burst


def test_steps_and_table_agree(log_age):
    edges = np.array([0.0, 7.5, 8.0, 8.5, 9.5])
    bins = np.stack([edges[:-1], edges[1:]], axis=1)
    mass = np.array([[1.0, 4.0, 2.0, 9.0], [2.0, 1.0, 1.0, 1.0]])
    history = History({"agebins": bins, "mass": mass}, log_age)
    year = np.append(0.0, 10.0 ** edges[1:])
    rate = mass[0] / np.diff(year)
    # The same steps as a table: two times at each edge.
    time = (year[-1] - np.repeat(year, 2)[1:-1][::-1]) / 1e9
    table = {"tabular_time": time, "tabular_sfr": np.repeat(rate, 2)[::-1], "tage": time[-1]}
    tabular = History(table, log_age)
    np.testing.assert_allclose(tabular.formed[0], 16.0, rtol=1e-9)
    np.testing.assert_allclose(tabular.formed_since(T)[0], history.formed_since(T)[0], rtol=1e-9)
    np.testing.assert_allclose(tabular.mean_age(), history.mean_age()[:1], rtol=1e-9)
    # 7 of 16 are in the first three bins: half is reached after 1/9 of the last.
    half = (year[3] + (year[4] - year[3]) / 9.0) / 1e9
    both = [tabular.half_mass_time()[0], history.half_mass_time()[0]]
    np.testing.assert_allclose(both, half, rtol=1e-7)
    assert history.quantities(np.array([0.7, 0.6]))["log_stellar_mass"][1] == pytest.approx(
        np.log10(5.0 * 0.6)
    )


def test_surviving_mass_units(log_age):
    burst = {"sfh": 0, "tage": 2.0, "mass": 1e10, "mass_units": "mstar"}
    history = History(burst, log_age, mfrac=np.array([0.5]))
    assert history.formed[0] == 2e10 and history.mean_age()[0] == 2.0
    # Each component by its own share.
    both = burst | {"tage": np.array([[1.0, 5.0]]), "mass": np.array([[1e10, 2e10]])}
    history = History(both, log_age, mfrac=np.array([0.8, 0.5]))
    assert history.formed[0] == pytest.approx(1.25e10 + 4e10)
    assert history.mean_age()[0] == pytest.approx((1.25 + 5.0 * 4.0) / 5.25)
