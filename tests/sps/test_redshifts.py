"""Band fluxes at free redshift against whole spectra and against FSPS through Prospector."""

import numpy as np
import pytest

from prospect_emu.cosmology import age_of_universe
from prospect_emu.observe.filters import load_filters
from prospect_emu.observe.photometry import FilterProjector
from prospect_emu.sps.fold import compile_sps, relative_error
from prospect_emu.sps.redshifts import BandIntegrals
from prospect_emu.sps.sampled_bands import SampledBands

BANDS = (
    "galex_NUV", "acs_wfc_f606w", "sdss_z0", "wfc3_ir_f160w", "jwst_f277w", "spitzer_irac_ch4",
    "spitzer_mips_24", "herschel_pacs_100", "herschel_spire_500",
)  # fmt: skip
ZRED = (0.01, 15.0)
GAS = {"add_neb_emission": True, "add_igm_absorption": True}
PRIORS = {"dust1": (0.0, 4.0), "dust2": (0.01, 4.0), "dust_index": (-1.2, 0.4), "zred": ZRED}
APART = GAS | {"nebemlineinspec": False}
BETA = "mass agebins zred logzsol dust1 dust2 dust_index gas_logz fagn agn_tau duste_qpah"
# Name: what is fixed, what is free.
MODELS = {
    "continuity": (GAS | {"dust_type": 0}, "mass agebins zred logzsol dust2"),
    "delayed tau": (GAS | {"dust_type": 2, "sfh": 4}, "mass tage tau zred logzsol dust2"),
    "beta": (GAS | {"dust_type": 4}, BETA),
    "lines apart": (
        APART | {"dust_type": 4}, "mass agebins zred logzsol dust1 dust2 dust_index gas_logz",
    ),
    "lines apart, fixed dust": (
        APART | {"dust_type": 1, "dust1": 0.3, "dust2": 0.4},
        "mass agebins zred logzsol gas_logz fagn",
    ),
    "Witt & Gordon, distance": (
        GAS | {"dust_type": 3, "wgp1": 4, "wgp2": 2}, "mass agebins zred dust2 fagn lumdist",
    ),
    "no gas, no dust": ({"sfh": 0, "add_dust_emission": False}, "mass tage zred logzsol"),
}  # fmt: skip


def rows(compiled, n, seed=3):
    """Draws with redshifts even in ln(1 + z) and age bins up to the age of the universe."""
    p = compiled.draw(n, seed)
    low, high = np.log1p(ZRED)
    p["zred"] = np.expm1(np.random.default_rng(seed).uniform(low, high, n))
    return with_bins(p) if "agebins" in p else p


def with_bins(p):
    """Age bins for the redshifts of `p`."""
    edges = np.linspace(7.0, np.log10(age_of_universe(p["zred"])), p["mass"].shape[1]).T
    edges = np.concatenate([np.zeros((len(edges), 1)), edges], axis=1)
    return p | {"agebins": np.stack([edges[:, :-1], edges[:, 1:]], axis=-1)}


def errors(compiled, p):
    """Of bands no fainter than 1e-4 of the row's brightest."""
    exact = compiled.direct(p)
    bright = exact > 1e-4 * exact.max(axis=1, keepdims=True)
    return relative_error(compiled.maggies(p), exact)[bright]


@pytest.mark.parametrize("quadrature", ("sedpy", "converged"))
@pytest.mark.parametrize("name", MODELS)
def test_free_redshift_is_direct(kroupa, name, quadrature):
    """1e-4, as at one redshift (measured: 9.9e-5 at most in 27 bands, median 2e-7)."""
    fixed, free = MODELS[name]
    c = compile_sps(
        kroupa, load_filters(BANDS), fixed, free.split(), PRIORS, "apart" in name, quadrature
    )
    assert c.folded, c.why
    p = rows(c, 40)
    off = errors(c, p)
    assert not c.direct_rows.any()
    assert off.max() < 1.5e-4 and np.quantile(off, 0.99) < 1e-4 and np.median(off) < 1e-5


def test_igm_factor_may_vary_at_one_redshift(kroupa):
    fixed = GAS | {"zred": 3.0, "sfh": 4, "tage": 1.0}
    c = compile_sps(kroupa, load_filters(BANDS), fixed, ("mass", "igm_factor", "dust2"), PRIORS)
    p = c.draw(20)
    assert c.folded and relative_error(c.maggies(p), c.direct(p)).max() < 1e-4
    assert not c.direct_rows.any()


def test_rows_outside_are_computed_directly(kroupa):
    """Redshifts and dust beyond their ranges: what whole spectra give, to BLAS's rounding."""
    fixed, free = MODELS["continuity"]
    c = compile_sps(kroupa, load_filters(BANDS), fixed, free.split(), PRIORS | {"zred": (1.0, 4.0)})
    p = rows(c, 6)
    p["zred"][:] = 0.5, 1.0, 4.0, 6.0, 2.0, 3.0
    p["dust2"][4] = 4.5
    flux = c.maggies(p)
    outside = np.array([True, False, False, True, True, False])
    np.testing.assert_array_equal(c.direct_rows, outside)
    np.testing.assert_allclose(flux[outside], c.direct(p)[outside], rtol=1e-12)
    assert relative_error(flux, c.direct(p)).max() < 1e-4


def test_any_rows_alone_and_together(kroupa):
    """A batch gives each row what it gets alone; sums run in another order (3e-6)."""
    fixed, free = MODELS["beta"]
    c = compile_sps(kroupa, load_filters(BANDS), fixed, free.split(), PRIORS)
    p = rows(c, 70)
    both, mfrac = c.maggies_and_mfrac(p)
    for i in (0, 33, 69):
        alone = c.maggies({k: v[i : i + 1] for k, v in p.items()})[0]
        assert relative_error(alone[None], both[i : i + 1]).max() < 3e-6
    np.testing.assert_allclose(c.mfrac(p), mfrac, rtol=1e-12)


@pytest.mark.parametrize("quadrature", ("sedpy", "converged"))
def test_bands_of_any_spectrum(quadrature):
    """Random samples in double precision against the projector's dense weights.

    The tables are linear between steps of 2e-5 in ln(lambda): 5e-5 at most on steep edges.
    """
    filters = load_filters(BANDS)
    wave = np.geomspace(100.0, 1e8, 2500)
    light = np.random.default_rng(0).uniform(0.5, 1.5, (8, wave.size))
    zred = np.array([0.0, 0.013, 0.5, 1.7, 3.0, 6.1, 9.0, 14.9])
    step = np.pad(np.diff(wave), (0, 1)) + np.pad(np.diff(wave), (1, 0))
    factor = 0.5 * step / wave if quadrature == "sedpy" else np.ones(wave.size)
    x, lnz = np.log(wave), np.log1p(zred)
    if quadrature == "sedpy":
        bands = SampledBands(filters, x, (lnz.min(), lnz.max()))
    else:
        bands = BandIntegrals(filters, x)
    got = bands((light * factor).astype(np.float32), lnz)
    projector = FilterProjector(filters, wave, quadrature)
    for row, z, spectrum in zip(got, zred, light, strict=True):
        np.testing.assert_allclose(row, projector.matrix(z) @ spectrum, rtol=5e-5)


@pytest.mark.fsps
def test_against_prospector():
    """FastStepBasis and sedpy at several redshifts: 3e-4, the ingredients' rounding included."""
    from prospect.sources import FastStepBasis

    from prospect_emu.sps.ingredients import find_ingredients

    filters = load_filters(BANDS[1:])
    fixed = GAS | {"imf_type": 2, "dust_type": 4, "gas_logu": -2.0, "add_neb_continuum": True}
    free = ("mass", "agebins", "zred", "logzsol", "dust1", "dust2", "dust_index", "gas_logz")
    c = compile_sps(
        find_ingredients(imf_type=2), filters, fixed, free, PRIORS, quadrature="sedpy"
    )  # fmt: skip
    p = rows(c, 4)
    p["zred"][:] = 0.05, 0.9, 3.3, 7.5
    p["logzsol"][:] = -0.3
    p = with_bins(p)
    got = c.maggies(p)
    sps = FastStepBasis(zcontinuous=1, compute_vega_mags=False)
    for i in range(4):
        params = fixed | {k: np.atleast_1d(v[i]) for k, v in p.items()}
        params |= {"sfh": 3, "add_dust_emission": True, "mass_units": "mformed"}
        seen = sps.wavelengths * (1.0 + p["zred"][i])
        flux = sps.get_spectrum(outwave=seen, filters=filters, **params)[1]
        bright = flux > 1e-4 * flux.max()
        assert relative_error(got[i : i + 1], flux[None])[0][bright].max() < 3e-4
