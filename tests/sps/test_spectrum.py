"""Spectra: FSPS through Prospector's bases, limits, and what is refused."""

import dataclasses

import numpy as np
import pytest

from prospect_emu.errors import ModelMismatchError, RangeError
from prospect_emu.sps.ingredients import BUNDLED, find_ingredients
from prospect_emu.sps.nebular import frequency_weights
from prospect_emu.sps.spectrum import spectrum

BINS = np.array([[0.0, 7.47712], [7.47712, 8.0], [8.0, 8.6], [8.6, 9.2], [9.2, 9.8], [9.8, 10.05]])


@pytest.fixture(scope="module")
def bases(fsps_ready):
    """FastStepBasis and CSPSpecBasis on one StellarPopulation."""
    from prospect.sources import CSPSpecBasis, FastStepBasis

    step = FastStepBasis(zcontinuous=1)
    csp = CSPSpecBasis(zcontinuous=1)
    csp.ssp = step.ssp
    return step, csp


def draw(rng, i, dust_type):
    """Every parameter but the history's; each switch is off in some. Two metallicity nodes."""
    some = lambda low, high: float(rng.uniform(low, high))  # noqa: E731
    return {
        "imf_type": 2, "logzsol": some(-0.18, -0.04), "zred": some(0.0, 8.0),
        "gas_logz": some(-2.2, 0.6), "gas_logu": some(-4.2, -0.8),
        "dust_type": dust_type, "dust1": some(0.0, 1.5), "dust2": some(0.0, 1.5),
        "dust1_index": some(-1.3, -0.7), "dust_index": some(-1.2, 0.3),
        "dust3": some(0.0, 0.5) if i % 3 == 1 else 0.0,
        "frac_nodust": some(0.0, 0.5) if i % 4 == 1 else 0.0,
        "frac_obrun": some(0.0, 0.5) if i % 4 == 2 else 0.0,
        "dust_tesc": some(6.5, 8.0) if i % 2 else 7.0,
        "mwr": some(2.0, 5.0), "uvb": some(0.0, 2.0),
        "wgp1": int(rng.integers(1, 19)), "wgp2": int(rng.integers(1, 7)),
        "wgp3": int(rng.integers(1, 3)),
        "duste_qpah": some(0.0, 7.0), "duste_umin": some(0.05, 25.0),
        "duste_gamma": 10.0 ** some(-4.0, 0.1),
        "fagn": 10.0 ** some(-3.0, 0.0) if i % 3 else 0.0, "agn_tau": some(4.0, 160.0),
        "add_igm_absorption": bool(i % 2), "igm_factor": some(0.3, 2.0),
        "add_neb_emission": i % 5 != 3, "add_neb_continuum": i % 5 != 1,
        "nebemlineinspec": i % 3 != 1, "add_dust_emission": i % 6 != 4,
    }  # fmt: skip


def compare(basis, ingredients, params, bound):
    """Spectrum (912 A to 1 mm, within twelve decades of its peak), lines and mfrac."""
    wave, lnu, mfrac = basis.get_galaxy_spectrum(**params)
    _, lines = basis.get_galaxy_elines()
    got = spectrum(ingredients, params)
    seen = (wave > 912.0) & (wave < 1e7) & (lnu > 1e-12 * lnu.max())
    error = np.abs(got.lnu[0] / got.mass[0] / lnu - 1.0)[seen]
    assert error.max() < bound, (wave[seen][error.argmax()], params)
    assert got.mfrac[0] == pytest.approx(mfrac, rel=1e-8)
    if params["add_neb_emission"]:
        bright = lines > max(1e-6 * lines.max(), 1e-20)
        np.testing.assert_allclose(got.line_lum[0][bright] / got.mass[0], lines[bright], rtol=3e-6)
    return np.median(error)


@pytest.mark.fsps
@pytest.mark.parametrize("dust_type", range(7))
def test_bins(bases, kroupa, dust_type):
    """FastStepBasis with every parameter and switch: 1.2e-4 at any wavelength (measured 9e-5).

    That is the 16-bit packing of the stars where a single population rules; median below
    3e-5. Lines 3e-6, mass 1e-8.
    """
    rng = np.random.default_rng(dust_type)
    for i in range(6):
        params = draw(rng, i + dust_type, dust_type)
        params |= {"agebins": BINS, "mass": 10.0 ** rng.uniform(7.0, 10.0, len(BINS))}
        assert compare(bases[0], kroupa, params, 1.2e-4) < 3e-5


@pytest.mark.fsps
@pytest.mark.parametrize("sfh", [0, 1, 4, 5])
def test_parametric(bases, kroupa, sfh):
    """CSPSpecBasis, every parameter of the histories: 3e-4 at any wavelength.

    A single population shows the packing's whole error: 1e-3 twelve decades below its peak.
    """
    rng = np.random.default_rng(10 + sfh)
    for i in range(8):
        tage = rng.uniform(0.02, 13.9)
        params = draw(rng, i, int(rng.integers(0, 7))) | {
            "sfh": sfh, "tage": tage, "mass": np.array([10.0 ** rng.uniform(7.0, 11.0)]),
            "tau": 10.0 ** rng.uniform(-1.0, 1.5), "const": 0.0, "fburst": 0.0, "tburst": 0.0,
            "sf_start": 0.0, "sf_trunc": 0.0, "sf_slope": 0.0,
        }  # fmt: skip
        if i % 2 and sfh in (1, 4):
            params |= {"const": 0.2, "fburst": 0.3, "tburst": tage * rng.uniform(0.0, 1.0)}
        if i % 3 and sfh:
            params |= {"sf_trunc": tage * rng.uniform(0.2, 1.0), "sf_slope": rng.normal()}
        compare(bases[1], kroupa, params, 3e-4 if sfh else 1e-3)


@pytest.mark.fsps
def test_components(bases, kroupa):
    """Two components that differ in age, dust and mass, masses formed and masses left."""
    rng = np.random.default_rng(1)
    for units in ("mformed", "mstar"):
        params = draw(rng, 5, 4) | {
            "sfh": 4, "tage": np.array([1.0, 9.0]), "tau": np.array([0.5, 2.0]),
            "mass": np.array([1e9, 3e10]), "dust2": np.array([1.0, 0.2]), "mass_units": units,
            "const": 0.0, "fburst": 0.0, "sf_start": 0.0, "sf_trunc": 0.0,
        }  # fmt: skip
        wave, lnu, mfrac = bases[1].get_galaxy_spectrum(**params)
        _, lines = bases[1].get_galaxy_elines()
        ours = {k: v[None] if np.ndim(v) else v for k, v in params.items()}
        got = spectrum(kroupa, ours)
        seen = (wave > 912.0) & (wave < 1e7)
        np.testing.assert_allclose(got.lnu[0, seen] / got.mass[0], lnu[seen], rtol=3e-4)
        np.testing.assert_allclose(got.mfrac[0], mfrac, rtol=1e-8)
        bright = lines > 1e-6 * lines.max()
        np.testing.assert_allclose(
            (got.line_lum[0] / got.mass[0])[bright], lines[bright], rtol=3e-6
        )
        left = params["mass"].sum() / (got.mass[0] * mfrac)
        assert left == pytest.approx(1.0 if units == "mstar" else 1.0 / mfrac, rel=1e-8)


@pytest.mark.fsps
@pytest.mark.parametrize("logzsol", [-2.5, 0.62, 0.8])
def test_beyond_the_metallicities(bases, kroupa, logzsol):
    """FSPS extrapolates, gas included, and cuts each population at zero: 1e-3.

    (Differences of large numbers: the packing's error grows.)
    """
    for neb in (True, False):
        params = draw(np.random.default_rng(2), 0, 4) | {"logzsol": logzsol}
        params |= {"agebins": BINS, "mass": np.full(len(BINS), 1e9), "add_neb_emission": neb}
        compare(bases[0], kroupa, params, 1e-3)


@pytest.mark.fsps
def test_no_dust_and_little_dust(bases, kroupa):
    """Without dust1 and dust2 FSPS leaves out dust3 and the emission; with a trace of dust not."""
    rng = np.random.default_rng(3)
    for dust2 in (0.0, 1e-5):
        params = draw(rng, 0, 4) | {"dust1": 0.0, "dust2": dust2, "dust3": 0.3}
        params |= {"agebins": BINS, "mass": np.full(len(BINS), 1e9)}
        compare(bases[0], kroupa, params, 2e-4)


def toy_params(n=7, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "agebins": BINS, "mass": 10.0 ** rng.uniform(7, 10, (n, len(BINS))),
        "logzsol": rng.uniform(-2.5, 0.6, n), "dust2": rng.uniform(0, 2, n), "dust_type": 4,
        "dust_index": rng.uniform(-1, 0.3, n), "dust1": 0.4, "add_neb_emission": True,
        "gas_logz": rng.uniform(-2, 0.3, n), "gas_logu": rng.uniform(-4, -1, n),
        "zred": rng.uniform(0, 7, n), "add_igm_absorption": True, "fagn": 0.3,
    }  # fmt: skip


def test_batches(toy):
    """A batch is what its rows are alone, on a grid of another shape than FSPS's, to 1e-12."""
    params = toy_params(70)
    many = spectrum(toy, params, parts=True)
    assert many.lnu.shape == (70, toy.wave.size)
    for i in (0, 33, 69):
        one = {k: v[i : i + 1] if np.ndim(v) and k != "agebins" else v for k, v in params.items()}
        got = spectrum(toy, one)
        np.testing.assert_allclose(got.lnu[0], many.lnu[i], rtol=1e-12)
        np.testing.assert_allclose(got.line_lum[0], many.line_lum[i], rtol=1e-12)
        np.testing.assert_allclose(got.mfrac[0], many.mfrac[i], rtol=1e-12)
    parts = many.parts
    total = parts.young_attenuated + parts.old_attenuated + parts.dust + parts.agn
    np.testing.assert_allclose(total, many.lnu, rtol=1e-12, atol=1e-30)


def test_energy_is_conserved(toy):
    """What dust absorbs comes out: without AGN and gas outside, bolometric luminosities agree.

    To 1e-6 in single-precision tables, whether lines are in the spectrum or apart.
    """
    params = toy_params() | {"add_igm_absorption": False, "fagn": 0.0, "logzsol": -0.5}
    hertz = frequency_weights(toy.wave)
    dark = spectrum(toy, params | {"dust1": 0.0, "dust2": 0.0})
    for inside in (True, False):
        got = spectrum(toy, params | {"nebemlineinspec": inside}, parts=True)
        bare = spectrum(toy, params | {"dust1": 0.0, "dust2": 0.0, "nebemlineinspec": inside})
        total, expected = got.lnu @ hertz, bare.lnu @ hertz
        if not inside:
            total, expected = total + got.line_lum.sum(axis=1), expected + bare.line_lum.sum(axis=1)
        np.testing.assert_allclose(total, expected, rtol=1e-6)
        assert np.all(got.parts.absorbed > 0.0)
    np.testing.assert_allclose(dark.line_lum, bare.line_lum, rtol=1e-12)


def test_mass_scales(toy):
    """Twice the mass, twice the light: in bins, in a table, in a parametric history."""
    time, sfr = np.array([0.0, 2.0, 8.0]), np.array([1.0, 3.0, 0.5])
    for history in (
        {"agebins": BINS, "mass": np.full(len(BINS), 1e9)},
        {"tabular_time": time, "tabular_sfr": sfr, "tage": 8.0, "mass": 1e9},
        {"sfh": 4, "tage": 5.0, "tau": 2.0, "mass": 1e9},
    ):
        one = spectrum(toy, history | {"dust2": 0.3})
        two = spectrum(toy, history | {"dust2": 0.3, "mass": 2.0 * np.asarray(history["mass"])})
        np.testing.assert_allclose(two.lnu, 2.0 * one.lnu, rtol=1e-9)
        assert two.mass[0] == pytest.approx(2.0 * one.mass[0])
        assert two.mfrac[0] == pytest.approx(one.mfrac[0])


def test_bins_as_a_table(toy):
    """Constant star formation in one bin is the same as a flat table."""
    age = 10.0 ** (9.5 - 9.0)
    bins = spectrum(toy, {"agebins": np.array([[0.0, 9.5]]), "mass": np.array([[1e9]])})
    table = {"tabular_time": np.array([0.0, age]), "tabular_sfr": np.array([1.0, 1.0]), "tage": age}
    other = spectrum(toy, table | {"mass": 1e9})
    np.testing.assert_allclose(bins.lnu, other.lnu, rtol=3e-4)


def test_refusals(toy):
    good = toy_params(2)
    for change, error, match in (
        ({"dust22": 1.0}, ModelMismatchError, "'dust22' is not a parameter of FSPS"),
        ({"imf_type": 0}, ModelMismatchError, "imf_type is 0, but the ingredients toy"),
        ({"use_wr_spectra": 0}, ModelMismatchError, "use_wr_spectra is 0"),
        ({"dust2": np.ones(3)}, RangeError, "different numbers of rows"),
        ({"dust_type": np.array([0, 4])}, RangeError, "dust_type differs between rows"),
        ({"dust_type": 9}, RangeError, "dust_type is 9"),
        ({"sigma_smooth": 100.0}, RangeError, "sigma_smooth is set"),
        ({"frac_obrun": 2.0}, RangeError, "frac_obrun is 2"),
        ({"agebins": BINS[:-1]}, RangeError, "mass has 6 bins"),
        ({"compute_light_ages": True}, RangeError, "compute_light_ages is True"),
    ):
        with pytest.raises(error, match=match):
            spectrum(toy, good | change)


def test_one_ionisation_parameter():
    """Ingredients of the first emulators hold one gas_logu; another is refused."""
    new = find_ingredients([BUNDLED], imf_type=1)
    held = {k: getattr(new, k)[:, :, -1:] for k in ("neb_logcont", "neb_logline")}
    old = dataclasses.replace(new, neb_logu=new.neb_logu[-1:], **held)
    params = {"sfh": 0, "tage": 0.003, "add_neb_emission": True}
    with pytest.raises(RangeError, match="gas_logu is -2; these ingredients hold -1 alone"):
        spectrum(old, params)
    a, b = (spectrum(g, params | {"gas_logu": -1.0}) for g in (old, new))
    np.testing.assert_allclose(a.line_lum, b.line_lum, rtol=1e-12)
