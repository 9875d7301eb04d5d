"""The dust engine against limits that are known in closed form, and an independent Monte Carlo.

Data: ``../shared/dust`` (THEMIS in DustEM's format); without it these tests are skipped.
"""

import dataclasses

import numpy as np
import pytest
from scipy.optimize import brentq

from prospect_emu.errors import DataError, RangeError

numba = pytest.importorskip("numba", reason="numba, of the train extra, is not installed")

from prospect_emu.training.themis import dust_fields as fields  # noqa: E402
from prospect_emu.training.themis.dust_data import read_dust_model, read_field  # noqa: E402
from prospect_emu.training.themis.dust_engine import DustEngine, Resolution, planck  # noqa: E402
from prospect_emu.training.themis.dust_grid import DustStore, GridRecipe, make  # noqa: E402

# Coarse in size, so that the tests are quick; their tolerances hold at any resolution.
COARSE = Resolution(small=0.12, large=0.2)


@pytest.fixture(scope="module")
def dust(shared):
    folder = shared / "dust"
    if not folder.is_dir():
        pytest.skip(f"the dust data are not present at {folder}")
    return folder


@pytest.fixture(scope="module")
def model(dust):
    return read_dust_model(dust / "themis")


@pytest.fixture(scope="module")
def engine(model):
    return DustEngine(model, resolution=COARSE)


@pytest.fixture(scope="module")
def mathis(dust, engine):
    return fields.from_table(engine.field_wave, *read_field(dust / "themis" / "ISRF_MATHIS.DAT"))


def test_composition_is_the_published_one(model):
    # Jones et al. (2013) with the masses of Ysard et al. (2015): M_dust / M_H = 0.00743.
    assert model.dust_to_hydrogen == pytest.approx(7.43e-3, rel=1e-9)
    assert [p.material for p in model.populations] == ["CM20", "CM20", "aPyM5", "aOlM5"]


def test_mathis_field_has_its_published_power(engine, mathis):
    # DESIGN.md section 8: 2.215e-2 erg/s/cm2 over 0.0912-8 micron.
    assert fields.power(engine.field_wave, mathis) == pytest.approx(2.215e-2, rel=1e-3)


def test_radiated_power_at_u_1(model, mathis):
    """Published 5.32e-24 erg/s/H in the Mathis field, to 1 %; integrated on another grid."""
    wave = np.geomspace(0.5, 9e4, 4000)
    lnu = DustEngine(model, wave, COARSE).emission(mathis)[0, 0]
    total = np.trapezoid(lnu * fields.C_MICRON / wave, np.log(wave))
    assert total == pytest.approx(5.32e-24, rel=0.01)


@pytest.mark.parametrize("u", [0.01, 1.0, 1e3, 1e7])
def test_emitted_is_absorbed(model, mathis, u):
    """To 1e-3, with the emission integrated on wavelengths that the engine never used."""
    wave = np.geomspace(0.3, 9e4, 3000)
    engine = DustEngine(model, wave, COARSE)
    lnu = engine.emission(u * mathis, np.array([0.4, 10.0]) * 1e-7)[0]
    emitted = np.trapezoid(lnu * fields.C_MICRON / wave, np.log(wave), axis=1)
    absorbed = engine.absorbed(u * mathis, np.array([0.4, 10.0]) * 1e-7)[0]
    np.testing.assert_allclose(emitted, absorbed, rtol=1e-3)


def test_energy_closes_before_it_is_enforced(engine, mathis):
    # DESIGN.md: 0.98 to 1.02.
    for u in (0.1, 1.0, 1e3, 1e5):
        closure = engine.temperatures(u * mathis)[1]
        assert 0.99 < closure.min() and closure.max() < 1.01


def test_large_grain_is_a_modified_blackbody(engine, mathis):
    """The largest grains (4.9 micron) at T_eq, found here by root finding, to 0.1 %."""
    lnu = engine.grains(mathis)[0]
    dnu = fields._log_weights(engine.field_wave) * fields.C_MICRON / engine.field_wave
    for name, rows in engine.groups.items():
        i = rows.stop - 1
        c_abs = engine.model.materials[name].absorption(engine.radius[i : i + 1])[0]
        heating = (c_abs * mathis) @ dnu

        def excess(t, c=c_abs, h=heating):
            return 4.0 * np.pi * (c * planck(engine.field_wave, [t])[0]) @ dnu - h

        t_eq = brentq(excess, 3.0, 100.0, xtol=1e-10)
        exact = 4.0 * np.pi * c_abs * planck(engine.wave, [t_eq])[0]
        seen = exact > 1e-4 * exact.max()
        np.testing.assert_allclose(lnu[i][seen], exact[seen], rtol=1e-3)


def test_tiny_grain_shines_far_above_its_equilibrium(engine, mathis):
    """A 0.4 nm grain radiates at hundreds of K, where T_eq would be tens (Draine & Li 2001)."""
    weights, _ = engine.temperatures(mathis)
    i = engine.groups["CM20"].start
    power = weights[i] * np.exp(engine._ln_l[i])
    mean = (power * np.exp(engine.x)).sum() / power.sum()
    t_eq = np.exp(np.interp(np.log(power.sum()), engine._ln_l[i], engine.x))
    assert mean > 5.0 * t_eq
    lnu = engine.grains(mathis)[0, i] * fields.C_MICRON / engine.wave
    assert engine.wave[lnu.argmax()] < 15.0 < 2898.0 / t_eq


def test_linear_in_dust_mass(model, engine, mathis):
    doubled = dataclasses.replace(
        model,
        populations=tuple(dataclasses.replace(p, mass=2 * p.mass) for p in model.populations),
    )
    a = engine.emission(mathis)
    b = DustEngine(doubled, resolution=COARSE).emission(mathis)
    np.testing.assert_allclose(b, 2.0 * a, rtol=1e-12)


def test_mass_stays_as_a_min_changes(engine):
    """The weights of a quantity that goes with the volume of a grain do not depend on a_min."""
    a_min = np.array([0.4, 1.3, 10.0]) * 1e-7
    single = dataclasses.replace(engine.model, populations=engine.model.populations[:1])
    weights = DustEngine(single, resolution=COARSE).size_weights(a_min)
    rows = engine.groups["CM20"]
    volume = 4.0 / 3.0 * np.pi * engine.radius[rows] ** 3
    total = weights @ volume * single.populations[0].density / 1.67262192e-24
    np.testing.assert_allclose(total, single.populations[0].mass, rtol=1e-9)


def test_doubling_the_size_resolution(model, mathis):
    """The default resolution, doubled, changes nothing by 2 % above 1e-4 of the peak.

    Measured: 0.3 % at most.
    """
    wave = np.geomspace(1.0, 1000.0, 200)
    default = Resolution()
    finer = dataclasses.replace(default, small=default.small / 2, large=default.large / 2)
    field = np.array([mathis, 1e4 * mathis])
    a_min = np.array([0.4, 1.7, 3.0, 10.0]) * 1e-7
    a, b = (DustEngine(model, wave, r).emission(field, a_min) for r in (default, finer))
    seen = b > 1e-4 * b.max(axis=-1, keepdims=True)
    assert np.abs(a / b - 1.0)[seen].max() < 0.02


def test_close_to_fsps_themis_tables(dust, model, mathis):
    """FSPS's THEMIS at U = 1 and 10: other inputs, so a median of 6 % at 5-500 micron."""
    table = np.loadtxt(dust / "ref" / "THEMIS_MW3.1_40.dat", comments="#")
    wave = table[:, 0]
    part = (wave > 5.0) & (wave < 500.0)
    umin = [0.1, 0.12, 0.15, 0.17, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2, 1.5,
            1.7, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0]  # fmt: skip
    engine = DustEngine(model, wave[part], COARSE)
    for u in (1.0, 10.0):
        theirs = table[part, 1 + 2 * umin.index(u)] * 4.0 * np.pi * 1e-23
        ours = engine.emission(u * mathis)[0, 0]
        assert np.median(np.abs(ours / theirs - 1.0)) < 0.06


def test_against_monte_carlo(engine, mathis):
    """Photon histories of one 2.1 nm grain: an independent way to its temperatures.

    20,000 photons leave about one per cent of noise in the emission.
    """
    rows = engine.groups["CM20"]
    i = rows.start + int(np.argmin(np.abs(engine.radius[rows] - 2.1e-7)))
    share = _photon_histories(engine, i, mathis, 20_000)
    emission = engine._c_out[i] * (share @ engine._planck)
    exact = engine.grains(mathis)[0, i]
    for low, high in ((6, 12), (12, 30), (30, 80), (80, 300)):
        part = (engine.wave > low) & (engine.wave < high)
        ratio = emission[part].sum() / exact[part].sum()
        assert ratio == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(("material", "nm"), [("CM20", 4.0), ("CM20", 8.0), ("aPyM5", 5.0)])
def test_between_stochastic_and_equilibrium_heating(engine, mathis, material, nm):
    """Grains that a hundred photons keep warm, U = 1e3: Monte Carlo within 1 %, even in Wien's
    tail, where their temperatures matter most (100,000 photons leave 0.4 % there).
    """
    rows = engine.groups[material]
    i = rows.start + int(np.argmin(np.abs(engine.radius[rows] - nm * 1e-7)))
    share = _photon_histories(engine, i, 1e3 * mathis, 100_000)
    emission = engine._c_out[i] * (share @ engine._planck)
    exact = engine.grains(1e3 * mathis)[0, i]
    for low, high in ((6, 12), (12, 30), (30, 80), (80, 300), (300, 1000)):
        part = (engine.wave > low) & (engine.wave < high)
        ratio = emission[part].sum() / exact[part].sum()
        assert ratio == pytest.approx(1.0, abs=0.01), (low, high)


def _photon_histories(engine, i, field, n):
    """Shares of time on the engine's temperatures, by following one grain."""
    rng = np.random.default_rng(4)
    wave = engine.field_wave
    photons = (engine._c_abs[i] * field / 6.62607015e-27)[::-1]
    x = np.log((6.62607015e-27 * fields.C_MICRON / wave)[::-1])
    cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (photons[1:] + photons[:-1]) * np.diff(x))])
    rate = cumulative[-1]
    energy = np.exp(engine._ln_e[i])
    # Time to cool from each temperature to the lowest: dt = dE / Lambda.
    step = np.diff(energy) / np.exp(0.5 * (engine._ln_l[i][1:] + engine._ln_l[i][:-1]))
    clock = np.concatenate([[0.0], np.cumsum(step)])
    spent = np.zeros(engine.x.size)
    # Every quantile of energies and of waiting times once, in random order: a fair sample
    # without the noise of its mean, which Wien's tail would amplify tenfold.
    quantiles = (np.arange(n) + 0.5) / n
    hits = np.exp(np.interp(rng.permutation(quantiles) * rate, cumulative, x))
    waits = -np.log(rng.permutation(quantiles)) / rate
    _follow(energy, clock, hits, waits, spent)
    return spent / waits.sum()


@numba.njit
def _follow(energy, clock, hits, waits, spent):
    e, last = energy[0], energy.size - 1
    for k in range(hits.size):
        e = min(e + hits[k], energy[last])
        t0 = np.interp(e, energy, clock)
        t1 = max(t0 - waits[k], 0.0)
        lo = max(np.searchsorted(clock, t1) - 1, 0)
        hi = min(np.searchsorted(clock, t0), last)
        for j in range(lo, hi):
            length = min(clock[j + 1], t0) - max(clock[j], t1)
            spent[j] += 0.5 * length
            spent[j + 1] += 0.5 * length
        spent[0] += max(waits[k] - t0, 0.0)
        e = np.interp(t1, clock, energy)


def test_blackbody_field_and_user_tables(engine):
    wave = engine.field_wave
    star = fields.blackbody(wave, 5000.0, u=3.0)
    assert fields.power(wave, star) == pytest.approx(3.0 * fields.UNIT_POWER, rel=1e-12)
    # A table finer than the optics keeps its power: averaged, not sampled.
    fine = np.geomspace(0.05, 20.0, 20_000)
    spiky = np.exp(-0.5 * ((np.log(fine) - np.log(0.4)) / 0.001) ** 2)
    got = fields.from_table(wave, fine, spiky)
    exact = np.trapezoid(spiky * fields.C_MICRON / fine, np.log(fine))
    assert fields.power(wave, got) == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize(
    "table",
    [([1.0, 2.0], [1.0]), ([2.0, 1.0], [1.0, 1.0]), ([1.0, 2.0], [1.0, np.nan]),
     ([1.0, 2.0], [-1.0, 1.0])],
)  # fmt: skip
def test_bad_fields_are_refused(engine, table):
    with pytest.raises(DataError):
        fields.from_table(engine.field_wave, *table)


def test_wrong_shape_names_what_is_needed(engine):
    with pytest.raises(DataError, match="800 values"):
        engine.emission(np.ones(7))


def test_ssp_fields(dust, engine):
    table = fields.StellarFields.read(dust / "ssp_field_lambda_grid.npz", engine.field_wave)
    got = table([0.3, 1e5], [6.37, 9.9])
    np.testing.assert_allclose(
        fields.power(engine.field_wave, got), np.array([0.3, 1e5]) * fields.UNIT_POWER, rtol=1e-12
    )
    with pytest.raises(RangeError, match="6 to 10"):
        table(1.0, 10.5)


def test_missing_and_truncated_files_are_named(dust, tmp_path):
    with pytest.raises(DataError, match=r"LAMBDA\.DAT"):
        read_dust_model(tmp_path)
    for name in ("LAMBDA.DAT", "GRAIN_J13.DAT", "C_CM20.DAT"):
        (tmp_path / name).write_bytes((dust / "themis" / name).read_bytes())
    whole = (dust / "themis" / "Q_CM20.DAT").read_text()
    (tmp_path / "Q_CM20.DAT").write_text(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"Q_CM20\.DAT"):
        read_dust_model(tmp_path)


def test_grid_resumes_and_refuses_another_recipe(dust, tmp_path):
    recipe = GridRecipe("grid", (2, 2, 3), n_wave=40, resolution=Resolution(small=0.3, large=0.5))
    args = (dust / "themis", dust / "ssp_field_lambda_grid.npz")
    store = make(recipe, tmp_path, *args, progress=False)
    theta, ln = store.load()
    assert theta.shape == (12, 3) and ln.shape == (12, 40) and np.isfinite(ln).all()
    before = store.path(0).read_bytes()
    store.path(1).write_bytes(b"torn")
    again = make(recipe, tmp_path, *args, progress=False)
    assert store.path(0).read_bytes() == before
    np.testing.assert_array_equal(again.load()[1], ln)
    with pytest.raises(Exception, match="recipe"):
        make(dataclasses.replace(recipe, seed=1), tmp_path, *args, progress=False)
    assert DustStore.open(tmp_path).fingerprint == store.fingerprint
