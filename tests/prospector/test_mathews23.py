"""The model against Prospector's own transforms, cosmology and hand-computed cases."""

import numpy as np
import pytest
from prospect.models import SedModel, SpecModel, transforms
from prospect.sources.constants import cosmo

from prospect_emu.errors import RangeError
from prospect_emu.networks import sfh
from prospect_emu.networks.vector import PARAMETERS, derived_quantities
from prospect_emu.prospector.line_table import tolerate_missing_sps_home
from prospect_emu.prospector.mathews23 import model_params

Z = np.array([0.01, 0.5, 1.3, 3.0, 11.9])


def test_cosmology_is_astropys():
    """The splines stand in for WMAP9: 1e-10, far below any use of them."""
    np.testing.assert_allclose(sfh.age_of_universe(Z), cosmo.age(Z).to_value("yr"), rtol=1e-10)
    d = cosmo.luminosity_distance(Z).to_value("Mpc")
    np.testing.assert_allclose(sfh.luminosity_distance(Z), d, rtol=1e-10)


def test_bins():
    edges = sfh.bin_edges(1.0)
    t = cosmo.age(1.0).to_value("yr")
    assert edges[0] == 0 and edges[1] == pytest.approx(np.log10(3e7))
    np.testing.assert_allclose(edges[2:7], np.linspace(8, np.log10(0.9 * t), 5), rtol=1e-12)
    assert edges[7] == pytest.approx(np.log10(t), rel=1e-12)
    assert sfh.agebins(Z).shape == (5, 7, 2)


def test_masses_are_prospectors():
    """Against prospect.models.transforms.logsfr_ratios_to_masses, to rounding."""
    rng = np.random.default_rng(0)
    ratios = rng.normal(0, 1, (5, 6))
    masses = sfh.bin_masses(np.full(5, 10.3), ratios, Z)
    for m, r, z in zip(masses, ratios, Z, strict=True):
        ref = transforms.logsfr_ratios_to_masses(
            logmass=10.3, logsfr_ratios=r, agebins=sfh.agebins(z)
        )
        np.testing.assert_allclose(m, ref, rtol=1e-12)
    logmass, back = sfh.sfr_ratios_from_masses(masses, Z)
    np.testing.assert_allclose(logmass, 10.3, rtol=1e-13)
    np.testing.assert_allclose(back, ratios, atol=1e-12)


def test_constant_sfr():
    """All ratios zero: one SFR everywhere, mean age half the universe's."""
    t = sfh.age_of_universe(1.0)
    masses = sfh.bin_masses(10.0, np.zeros(6), 1.0)
    sfr = 1e10 / (t - 1.0)
    assert sfh.mean_sfr(masses, 1.0) == pytest.approx(sfr, rel=1e-6)
    assert sfh.mass_weighted_age(masses, 1.0) == pytest.approx(t / 2e9, rel=1e-6)


def test_extreme_ratios_do_not_overflow():
    masses = sfh.bin_masses(12.5, np.array([np.full(6, 5.0), np.full(6, -5.0)]), 1.0)
    np.testing.assert_allclose(masses.sum(axis=-1), 10**12.5, rtol=1e-12)


@pytest.mark.parametrize("kind", [SpecModel, SedModel])
@pytest.mark.parametrize("zred", [None, 1.2])
def test_prospector_takes_the_dictionary(kind, zred):
    tolerate_missing_sps_home()
    model = kind(model_params(zred=zred))
    assert model.ndim == (18 if zred is None else 17)
    u = np.random.default_rng(3).random(model.ndim)
    theta = model.prior_transform(u)
    assert np.isfinite(model.prior_product(theta))
    model.set_parameters(theta)
    p = model.params
    assert p["mass"].sum() == pytest.approx(10 ** p["massmet"][0], rel=1e-12)
    assert p["dust1"] == p["dust1_fraction"] * p["dust2"]
    np.testing.assert_allclose(p["agebins"], sfh.agebins(p["zred"][0]))


@pytest.mark.parametrize("zred", [np.nan, 0.0, -1.0, "1.0", "high"])
def test_bad_redshift(zred):
    with pytest.raises(RangeError, match="not a redshift"):
        model_params(zred=zred)


def test_derived():
    theta = np.zeros((2, 18))
    theta[:, 0], theta[:, PARAMETERS.index("zred")] = 10.0, [0.7, 2.0]
    out = derived_quantities(theta, mfrac=np.array([0.6, 0.7]))
    t = sfh.age_of_universe(np.array([0.7, 2.0]))
    np.testing.assert_allclose(out["log_sfr_100"], 10 - np.log10(t), rtol=1e-6)
    np.testing.assert_allclose(out["log_stellar_mass"], 10 + np.log10([0.6, 0.7]))
