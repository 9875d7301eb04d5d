"""The table of FSPS's parameters against python-fsps, and the cosmology against astropy."""

import numpy as np
import pytest

from prospect_emu import cosmology
from prospect_emu.parameters import DEFAULTS, FIXED, INGREDIENTS, PARAMETERS, matters


@pytest.mark.fsps
def test_defaults_are_those_of_fsps(fsps_ready):
    """Every parameter of python-fsps, with its default, and no other."""
    import fsps

    params = fsps.StellarPopulation().params
    assert set(PARAMETERS) == set(params.all_params)
    for name, value in DEFAULTS.items():
        assert params[name] == value, name


@pytest.mark.fsps
def test_stellar_parameters_are_those_of_fsps(fsps_ready):
    """What FSPS recomputes its stars for is decided by the file of ingredients."""
    import fsps

    stars = set(fsps.fsps.ParameterSet.ssp_params)
    # Smoothing in FSPS and [alpha/Fe] are not supported; these do not change the stars.
    assert set(INGREDIENTS) <= stars | {"frac_xrb"}
    assert stars - set(INGREDIENTS) <= {*FIXED, *_NOT_STARS}


_NOT_STARS = (
    "add_dust_emission", "add_igm_absorption", "add_neb_emission", "add_neb_continuum",
    "nebemlineinspec", "redshift_colors", "smooth_velocity", "gas_logu", "gas_logz", "igm_factor",
    "dust_type",
)  # fmt: skip


def test_matters():
    assert matters("imf3", {"imf_type": 2}) and not matters("imf3", {"imf_type": 1})
    assert not matters("agb_dust", {"add_agb_dust_model": False})
    # FSPS adds them to whatever normalisation of the TP-AGB it has (mod_gb.f90).
    assert matters("fbhb", {}) and matters("dell", {}) and matters("imf1", {"imf_type": 4})


def test_constants_are_those_of_prospector():
    from prospect.sources import constants

    assert cosmology.LSUN == constants.lsun
    assert cosmology.PARSEC == constants.pc
    assert cosmology.LIGHTSPEED == constants.lightspeed
    assert cosmology.LIGHTSPEED_KMS == constants.ckms
    assert cosmology.JANSKY == constants.jansky_cgs
    assert cosmology.MAGGIES_AT_10PC == pytest.approx(
        constants.to_cgs_at_10pc / (3631 * constants.jansky_cgs), rel=1e-14
    )
    assert constants.cosmo.name == "WMAP9"


def test_splines_are_astropy():
    """Ages and distances within 1e-9 from z = 0 to 20."""
    from astropy.cosmology import WMAP9

    z = np.concatenate([[0.0, 1e-4, 1e-2], np.random.default_rng(0).uniform(0.0, 20.0, 200)])
    np.testing.assert_allclose(cosmology.age_of_universe(z), WMAP9.age(z).to_value("yr"), rtol=1e-9)
    np.testing.assert_allclose(
        cosmology.luminosity_distance(z[1:]), WMAP9.luminosity_distance(z[1:]).value, rtol=1e-9
    )


def test_flux_factor():
    """At redshift zero 10 pc; 3631 Jy at 10 pc is one maggie; lumdist replaces the cosmology."""
    one = cosmology.flux_factor(0.0)
    area = 4.0 * np.pi * (10.0 * cosmology.PARSEC) ** 2
    assert one == pytest.approx(cosmology.LSUN / area / 3631e-23, rel=1e-14)
    assert cosmology.flux_factor(0.5, lumdist=1e-5) == pytest.approx(1.5 * one)
    z = np.array([0.1, 3.0])
    distance = cosmology.luminosity_distance(z)
    np.testing.assert_allclose(cosmology.flux_factor(z), (1 + z) * one / (distance * 1e5) ** 2)
