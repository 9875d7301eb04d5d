"""The compiled engine against whole spectra through the bands."""

import numpy as np
import pytest

from prospect_emu import load_emulator
from prospect_emu.errors import ModelMismatchError, RangeError
from prospect_emu.networks import sfh
from prospect_emu.networks.vector import PARAMETERS
from prospect_emu.observe.filters import load_filters
from prospect_emu.sps.fold import compile_sps, relative_error
from prospect_emu.sps.ingredients import find_ingredients

# From the far ultraviolet, where the intergalactic gas absorbs, to cold dust.
BANDS = (
    "galex_FUV", "galex_NUV", "sdss_u0", "acs_wfc_f606w", "sdss_z0", "wfc3_ir_f160w",
    "twomass_Ks", "spitzer_irac_ch1", "spitzer_irac_ch4", "spitzer_mips_24", "herschel_pacs_100",
    "herschel_spire_500",
)  # fmt: skip
ZRED = 0.8
GAS = {"add_neb_emission": True, "add_igm_absorption": True, "zred": ZRED}
BINS = sfh.agebins(ZRED)
STEPS = GAS | {"agebins": BINS}
PRIORS = {"dust1": (0.0, 4.0), "dust2": (0.0, 4.0), "dust_index": (-1.2, 0.4)}
APART = STEPS | {"dust_type": 4, "nebemlineinspec": False}
# Name: what is fixed, what is free.
MODELS = {
    "single population": (GAS | {"sfh": 0, "dust_type": 4}, "mass logzsol tage dust2 gas_logz"),
    "delayed tau": (GAS | {"sfh": 4}, "mass logzsol tage tau dust2"),
    "tau, burst, Milky Way": (
        GAS | {"sfh": 1, "dust_type": 1},
        "mass logzsol tage tau const fburst tburst dust1 dust2 mwr uvb",
    ),
    "Simha, no dust emission": (
        GAS | {"sfh": 5, "dust_type": 2, "add_dust_emission": False},
        "mass logzsol tage tau sf_trunc sf_slope dust2",
    ),
    "Calzetti": (STEPS | {"dust_type": 2}, "mass logzsol dust2 duste_qpah duste_umin duste_gamma"),
    "Witt & Gordon, AGN": (
        STEPS | {"dust_type": 3, "wgp1": 4, "wgp2": 2}, "mass logzsol dust1 dust2 fagn agn_tau",
    ),
    "SMC": (STEPS | {"dust_type": 5}, "mass logzsol dust1 dust2"),
    "Reddy": (STEPS | {"dust_type": 6}, "mass logzsol dust2 fagn"),
    "fixed dust": (
        STEPS | {"dust_type": 1, "dust1": 0.3, "dust2": 0.4}, "mass logzsol gas_logz fagn",
    ),
    "no dust": (STEPS, "mass logzsol"),
    "a law without dust": (STEPS | {"dust_type": 4}, "mass logzsol dust_index frac_nodust"),
    "birth clouds around all": (
        GAS | {"sfh": 4, "dust_tesc": 11.0, "dust1": 0.4}, "mass logzsol tage tau dust2",
    ),
    "fixed metallicity": (STEPS | {"logzsol": -0.31}, "mass dust1 dust2 dust_index"),
    "leaks": (
        STEPS | {"dust_type": 4, "frac_obrun": 0.2, "dust_tesc": 8.0},
        "mass logzsol dust1 dust2 dust3 frac_nodust fagn",
    ),
    "free bins": (GAS | {"dust_type": 4}, "mass agebins logzsol dust1 dust2 dust_index gas_logz"),
    "ionisation": (STEPS | {"dust_type": 4}, "mass logzsol dust2 gas_logu"),
    "gas alone in the infrared": (
        STEPS | {"dust_type": 3, "wgp1": 17, "wgp2": 6, "add_dust_emission": False},
        "mass logzsol dust1 gas_logz gas_logu",
    ),
    "lines apart": (APART, "mass logzsol dust1 dust2 dust_index gas_logz"),
    "lines apart, fixed dust": (APART | {"dust2": 0.5}, "mass logzsol gas_logz"),
    "table": (
        GAS | {"tabular_time": np.linspace(0.0, 6.0, 9), "tage": 6.0}, "tabular_sfr logzsol dust2",
    ),
    "mass left": (STEPS | {"mass_units": "mstar"}, "mass logzsol dust2"),
    "tau, mass left, distance": (
        {"sfh": 4, "tage": 3.0, "mass_units": "mstar"}, "mass logzsol tau dust2 lumdist",
    ),
    "all stars fixed": (STEPS | {"mass": np.full(7, 1e9)}, "logzsol dust2"),
    "stars too old for gas": (
        GAS | {"sfh": 0, "tage": 5.0, "dust_type": 4}, "mass dust2 gas_logz gas_logu",
    ),
    "none but young stars": (
        GAS | {"sfh": 0, "tage": 0.002, "dust_type": 4}, "mass logzsol dust2 gas_logz",
    ),
    "no gas, SSP": ({"sfh": 0, "zred": ZRED}, "mass logzsol tage dust2"),
}  # fmt: skip


@pytest.fixture(scope="module")
def filters():
    return load_filters(BANDS)


@pytest.fixture(scope="module")
def kroupa():
    return find_ingredients(imf_type=2)


@pytest.mark.parametrize("name", MODELS)
def test_folded_is_direct(kroupa, filters, name):
    """998 of 1,000 fluxes within 1e-4, median below 1e-5, none beyond 1e-3.

    Nodes of the dust are chosen for 6e-5 of the light in a band in the mean over a family of
    curves, so that single rows between the family's members may be off by more.
    """
    fixed, free = MODELS[name]
    c = compile_sps(kroupa, filters, fixed, free.split(), PRIORS, lines_apart="apart" in name)
    assert c.folded, c.why
    p = c.draw(80, seed=4)
    flux, mfrac = c.maggies_and_mfrac(p)
    assert not c.direct_rows.any()
    error = relative_error(flux, c.direct(p))
    assert np.quantile(error, 0.998) < 1e-4 and np.median(error) < 1e-5
    assert error.max() < 1e-3 and max(c.error.values()) < 2e-4
    # The same sum in another order.
    np.testing.assert_allclose(mfrac, c._direct(c._rows(p)[0])[1], rtol=1e-12)
    np.testing.assert_allclose(c.mfrac(p), mfrac, rtol=1e-12)


def test_preset(filters):
    """The 18-parameter model anywhere in its box: 1e-4 of whole spectra."""
    emulator = load_emulator("mathews23-factored").select(BANDS)
    low, high = emulator.bounds.T
    theta = np.random.default_rng(2).uniform(low, high, (100, 18))
    theta[:, PARAMETERS.index("zred")] = 1.2
    at_z = emulator.at_redshift(1.2)
    new = at_z.reference_maggies(theta)
    assert not at_z.compiled.direct_rows.any()
    assert relative_error(new, emulator.direct_maggies(theta)).max() < 1e-4


def test_rows_outside_are_computed_directly(kroupa, filters):
    """Beyond the dust's ranges and the metallicities: bit for bit what whole spectra give."""
    fixed, free = MODELS["free bins"]
    c = compile_sps(kroupa, filters, fixed, free.split(), PRIORS)
    p = c.draw(8, seed=1)
    p["dust2"][1], p["dust_index"][2], p["logzsol"][3], p["dust1"][4] = 4.5, 0.5, 0.7, -0.1
    flux, mfrac = c.maggies_and_mfrac(p)
    outside = np.isin(np.arange(8), (1, 2, 3, 4))
    np.testing.assert_array_equal(c.direct_rows, outside)
    exact = c.direct(p)
    # Rows of a batch share BLAS's rounding, not its order.
    np.testing.assert_allclose(flux[outside], exact[outside], rtol=1e-12)
    assert relative_error(flux, exact).max() < 1e-4
    np.testing.assert_allclose(mfrac, c.mfrac(p), rtol=1e-12)


@pytest.mark.parametrize(
    ("fixed", "free", "why"),
    [
        (STEPS, "mass frac_obrun dust2", "frac_obrun"),
        (STEPS | {"logzsol": 1.0}, "mass dust2", "metallicities"),
        (APART | {"dust3": 0.3}, "mass dust2", "dust3"),
    ],
)
def test_what_cannot_be_folded_is_computed_directly(kroupa, filters, fixed, free, why):
    c = compile_sps(kroupa, filters, fixed, free.split())
    assert not c.folded and why in c.why and c.error is None
    p = c.draw(2)
    np.testing.assert_array_equal(c.maggies(p), c.direct(p))
    assert c.direct_rows.all() and (c.mfrac(p) > 0.0).all()


def test_components_sum(kroupa, filters):
    """Two components of one age each are the sum of two galaxies."""
    c = compile_sps(kroupa, filters, {"sfh": 0, "zred": 0.5}, ("mass", "tage", "dust2"))
    both = c.maggies({"mass": [[1e9, 2e9]], "tage": [[0.1, 3.0]], "dust2": [0.3]})
    each = c.direct({"mass": [1e9, 2e9], "tage": [0.1, 3.0], "dust2": [0.3, 0.3]})
    np.testing.assert_allclose(both[0], each.sum(axis=0), rtol=1e-12)


def test_lines_add_flux(kroupa, filters):
    """Lines apart, in the bands or not, against lines in the spectrum (their widths: 3 %)."""
    p = {"mass": np.full((1, 7), 1e9), "gas_logz": [-0.5]}
    fixed = STEPS | {"dust2": 0.3}
    inside = compile_sps(kroupa, filters, fixed, tuple(p)).maggies(p)
    fixed = fixed | {"nebemlineinspec": False}
    without, added = (
        compile_sps(kroupa, filters, fixed, tuple(p), lines_apart=on).maggies(p)
        for on in (False, True)
    )
    assert (added > without).any() and (added >= without * (1.0 - 1e-5)).all()
    np.testing.assert_allclose(added, inside, rtol=0.03)


def test_what_is_possible_only_together(kroupa, filters):
    """Ranges of single parameters hold combinations that FSPS refuses: they are not tried."""
    free = "mass tage const fburst sf_start tau mwr".split()
    ranges = {k: (0.0, 1.02) for k in ("const", "fburst")} | {"sf_start": (0.0, 9.0)}
    ranges["mwr"] = 0.0, 9.0
    c = compile_sps(kroupa, filters, {"sfh": 4, "dust_type": 1, "dust2": 0.3}, free, ranges)
    assert c.folded and max(c.error.values()) < 2e-4


def test_bad_input(kroupa, filters):
    compiled = compile_sps(kroupa, filters, STEPS, ("mass", "dust2"))
    for call, message in (
        (lambda: compile_sps(kroupa, filters, STEPS, ("mass", "zred")), "both fixed and free"),
        (lambda: compile_sps(kroupa, filters, STEPS, ("mass", "dustt")), "not a parameter of FSPS"),
        (lambda: compile_sps(kroupa, filters, STEPS | {"imf_type": 1}, ("mass",)), "imf_type"),
        (lambda: compile_sps(kroupa, filters, STEPS, ("mass", "dust_type")), "cannot vary"),
        (lambda: compiled.maggies({"mass": np.ones((2, 7))}), "dust2 is missing"),
    ):
        with pytest.raises(ModelMismatchError, match=message):
            call()
    with pytest.raises(RangeError, match="rows"):
        compiled.maggies({"mass": np.ones((2, 7)), "dust2": np.ones(3)})
