"""Laws of attenuation: FSPS itself, published values, and limits."""

import numpy as np
import pytest

from prospect_emu.errors import RangeError
from prospect_emu.sps import attenuation
from prospect_emu.sps.attenuation import prepare, transmission
from prospect_emu.sps.dust_laws import CURVES_FILE, CURVES_KIND, LAWS

WAVE = np.geomspace(912.0, 1e6, 500)
# Every parameter off its default, in two rows.
PARAMS = {
    "dust1": np.array([0.6, 0.3]),
    "dust1_index": np.array([-1.3, -0.7]),
    "dust2": np.array([0.4, 1.2]),
    "dust3": np.array([0.2, 0.5]),
    "dust_index": np.array([-0.4, -1.1]),
    "mwr": np.array([2.6, 4.0]),
    "uvb": np.array([0.3, 1.4]),
    "wgp1": np.array([3, 12]),
    "wgp2": np.array([2, 6]),
    "wgp3": np.array([1, 2]),
    "frac_nodust": np.array([0.1, 0.0]),
    "frac_obrun": np.array([0.0, 0.3]),
}


@pytest.fixture(scope="module")
def population(fsps_ready):
    """FSPS without gas and dust emission at one of its own metallicities."""
    import fsps

    return fsps.StellarPopulation(zcontinuous=0, zmet=10, add_dust_emission=False)


@pytest.mark.fsps
@pytest.mark.parametrize("dust_type", sorted(LAWS))
@pytest.mark.parametrize("row", [0, 1])
def test_laws_are_those_of_fsps(population, dust_type, row):
    """Ratio of attenuated to plain SSP spectra, young and old, to 1e-10 (rounding) of it.

    912 A to the end of the grid, every parameter of the law off its default.
    """
    p = {k: v[row] for k, v in PARAMS.items()}
    zero = dict.fromkeys(("dust1", "dust2", "dust3", "frac_obrun", "frac_nodust"), 0.0)
    for name in ("young", "old"):
        tage = {"young": 0.004, "old": 1.0}[name]
        for k, v in zero.items():
            population.params[k] = v
        population.params["dust_type"] = 0
        wave, plain = population.get_spectrum(tage=tage)
        population.params["dust_type"] = dust_type
        for k, v in p.items():
            population.params[k] = v
        _, dusty = population.get_spectrum(tage=tage)
        ours = getattr(transmission(dust_type, wave, p), name)[0]
        seen = (plain > 1e-60) & (dusty > 1e-60) & (wave > 912.0)
        assert seen.sum() > 1000
        np.testing.assert_allclose(ours[seen] * plain[seen] / dusty[seen], 1.0, atol=1e-10)


@pytest.mark.fsps
@pytest.mark.parametrize("dust_type", sorted(LAWS))
def test_torus_is_attenuated_as_in_fsps(population, dust_type):
    """The AGN's light too, to 1e-6 (it is a difference of spectra)."""
    p = {k: v[1] for k, v in PARAMS.items()} | {"dust_type": dust_type}
    for k, v in p.items():
        population.params[k] = v
    wave, without = population.get_spectrum(tage=1.0)
    population.params["fagn"] = 1.0
    _, dusty = population.get_spectrum(tage=1.0)
    population.params["dust2"] = 0.0
    _, plain = population.get_spectrum(tage=1.0)
    population.params["fagn"] = 0.0
    _, plain_without = population.get_spectrum(tage=1.0)
    ours = transmission(dust_type, wave, p).agn[0]
    seen = (dusty - without > 0.3 * dusty) & (wave > 1e4)
    assert seen.sum() > 200
    ratio = (dusty - without)[seen] / (plain - plain_without)[seen]
    np.testing.assert_allclose(ratio, ours[seen], rtol=1e-6)


def test_published_values():
    """Laws at wavelengths that their papers state, within what FSPS rounds.

    Calzetti et al. (2000): k(V) = R_V = 4.05, so one at V within 1 %, since
    FSPS normalises by E(B-V) of the stars, 0.44 times the gas's. Cardelli et al.
    (1989), their table 3: A(lambda)/A(V) for R_V = 3.1.
    """
    at = lambda law, wave, **p: float(  # noqa: E731
        -np.log(transmission(law, [wave], {"dust2": 1.0, **p}).diffuse[0, 0])
    )
    for wave, expected in (
        (36500.0 / 10, 1.569),
        (4400.0, 1.337),
        (7000.0, 0.751),
        (22000.0, 0.114),
    ):
        assert at(1, wave, mwr=3.1) == pytest.approx(expected, rel=0.02)
    assert at(0, 2750.0, dust_index=-1.0) == pytest.approx(2.0, rel=1e-6)
    assert at(4, 5500.0, dust_index=-0.4) == pytest.approx(at(2, 5500.0), rel=0.01)
    assert at(5, 5500.0) == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("dust_type", sorted(LAWS))
def test_prepared_forms_agree(dust_type):
    """Fixed, free, in part, single precision, the absorbed share: one and the same.

    1e-13 in double precision, 1e-5 in single (exponents of up to 40 there).
    """
    whole = transmission(dust_type, WAVE, PARAMS)
    for row in (0, 1):
        one = prepare(dust_type, WAVE, {k: v[row] for k, v in PARAMS.items()})({})
        for a, b in zip(whole, one, strict=True):
            np.testing.assert_allclose(a[row % len(a)], b[0], rtol=1e-13)
    some = {k: PARAMS[k] for k in ("dust1", "dust2")}
    rest = {k: v[0] for k, v in PARAMS.items() if k not in some}
    partly = prepare(dust_type, WAVE, rest)(some)
    np.testing.assert_allclose(partly.young[0], whole.young[0], rtol=1e-13)
    short = prepare(dust_type, WAVE, dtype=np.float32)(PARAMS)
    assert all(a.dtype == np.float32 for a in short)
    for a, b in zip(short, whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-30)
    absorbed = prepare(dust_type, WAVE).absorbed(PARAMS)
    np.testing.assert_allclose(1.0 - absorbed[0], whole.young, rtol=0, atol=1e-14)
    np.testing.assert_allclose(1.0 - absorbed[1], whole.old, rtol=0, atol=1e-14)
    law = prepare(dust_type, WAVE)
    seen, gone, diffuse = law.in_turn(PARAMS, slice(0, 40), slice(40, 90), slice(90, None))
    parts = [slice(0, 40)] * 4 + [slice(40, 90)] * 2 + [slice(90, None)]
    for a, b, at in zip(
        (*seen, *gone, diffuse), (*whole, *absorbed, whole.diffuse), parts, strict=True
    ):
        np.testing.assert_allclose(a, b[:, at], rtol=1e-13, atol=1e-34)


@pytest.mark.parametrize("name", ["frac_nodust", "frac_obrun"])
def test_fractions_vary_where_the_law_is_fixed(name):
    """As with the law varying too."""
    fixed = {k: v[0] for k, v in PARAMS.items() if k != name}
    given = {name: np.array([0.0, 0.2, 0.7])}
    law = prepare(4, WAVE, fixed)
    whole = {**given, "dust2": np.full(3, fixed["dust2"]), "dust1": np.full(3, fixed["dust1"])}
    for ours, expected in zip(law(given)[:2], prepare(4, WAVE, fixed)(whole)[:2], strict=True):
        np.testing.assert_allclose(np.broadcast_to(ours, expected.shape), expected, rtol=1e-14)
    for ours, seen in zip(law.absorbed(given), law(given)[:2], strict=True):
        np.testing.assert_allclose(1.0 - ours, seen, atol=1e-14)


def test_absorbed_keeps_its_digits():
    """1e-6 of optical depth in single precision: first-order expansion, to 1e-5."""
    law = prepare(4, WAVE, dtype=np.float32)
    young, old = law.absorbed({"dust2": np.array([1e-6]), "dust_index": np.array([-0.2])})
    tau = -np.log(transmission(4, WAVE, {"dust2": 1.0, "dust_index": -0.2}).diffuse)
    np.testing.assert_allclose(old, 1e-6 * tau, rtol=2e-5)
    np.testing.assert_allclose(young, old, rtol=1e-6)


def test_some_wavelengths_of_a_grid():
    """With FSPS's grid given, a law is the same at any subset of it (laws 1 and 6 are joined)."""
    for dust_type in LAWS:
        every = prepare(dust_type, WAVE)(PARAMS).young
        some = prepare(dust_type, WAVE[3::7], grid=WAVE)(PARAMS).young
        assert np.array_equal(every[:, 3::7], some)


def test_no_dust_means_none():
    """FSPS skips its dust routine without dust1 and dust2, so dust3 alone does nothing."""
    got = transmission(4, WAVE, {"dust3": np.array([1.0, 1.0]), "dust2": np.array([0.0, 0.1])})
    assert np.all(got.old[0] == 1.0)
    assert np.all(got.old[1, :10] < 0.9)


def test_refusals():
    with pytest.raises(RangeError, match="dust_type is 7"):
        prepare(7, WAVE)
    for name, value in (("frac_obrun", 1.2), ("uvb", -1.0), ("dust_clumps", 0.1), ("dust_tesc", 5)):
        with pytest.raises(RangeError, match=f"{name} is"):
            attenuation.check({name: np.array([value])})
    with pytest.raises(RangeError, match="wgp1 is 19"):
        attenuation.check({"dust_type": 3, "wgp1": 19})
    attenuation.check(PARAMS)


@pytest.mark.fsps
def test_tables_are_those_of_fsps(tmp_path, fsps_ready):
    """The bundled curves are what FSPS's data folder holds today."""
    import os

    from prospect_emu.files import load_tensors
    from prospect_emu.training.attenuation_curves import write_attenuation_curves

    path = tmp_path / "curves.safetensors"
    write_attenuation_curves(os.environ["SPS_HOME"], path)
    made, _ = load_tensors(path, CURVES_KIND)
    bundled, _ = load_tensors(CURVES_FILE, CURVES_KIND)
    assert set(made) == set(bundled)
    assert all(np.array_equal(made[k], bundled[k]) for k in made)


def test_series_in_the_index():
    """Kriek & Conroy's curve as a power series in single precision, to 1e-6 of optical depth."""
    p = {"dust2": np.linspace(0.0, 4.0, 30), "dust_index": np.linspace(-1.2, 0.4, 30)}
    ranges = {"dust2": (0.0, 4.0), "dust_index": (-1.2, 0.4)}
    law = prepare(4, WAVE, dtype=np.float32, ranges=ranges)
    assert law._series is not None
    depth = -np.log(prepare(4, WAVE)(p).diffuse)
    got = -np.log(law(p).diffuse.astype(float))
    seen = depth < 60.0
    np.testing.assert_allclose(got[seen], depth[seen], rtol=1e-5, atol=2e-6)
    # Too wide a range for so few terms: the curve itself.
    assert prepare(4, WAVE, ranges=ranges | {"dust_index": (-40.0, 40.0)})._series is None
