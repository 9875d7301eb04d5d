"""Emission lines as data and results, against Prospector's own numbers and scipy's densities."""

import numpy as np
import pytest
from astropy.table import Table
from astropy.utils.masked import Masked
from prospect.models import SpecModel, priors
from prospect.models.templates import TemplateLibrary
from scipy.stats import norm

from prospect_emu import BatchedPosterior, EmulatorSPS, FitResult, fit_model
from prospect_emu.cosmology import LIGHTSPEED
from prospect_emu.errors import DataError, FilterError, ModelMismatchError
from prospect_emu.fit.line_luminosities import LineLuminosities
from prospect_emu.fit.restframe import RestFrame, columns_of
from prospect_emu.observe.filters import load_filters
from prospect_emu.observe.line_fluxes import CGS, line_fluxes, read_line_fluxes
from prospect_emu.prospector.line_table import line_table, tolerate_missing_sps_home

NAMES = ["Ba-alpha 6563", "[O III] 5007", "[O II] 3726"]
SPS, LINES = EmulatorSPS(), line_table()
INDEX = [list(LINES["name"]).index(n) for n in NAMES]


def make_model(free_zred=False, **fixed):
    tolerate_missing_sps_home()
    params = TemplateLibrary["continuity_sfh"]
    params.update(TemplateLibrary["nebular"])
    params["zred"] |= {"isfree": False, "init": 0.3}
    if free_zred:
        params["zred"] |= {"isfree": True, "prior": priors.TopHat(mini=0.2, maxi=0.9)}
    params["nebemlineinspec"]["init"] = False
    for name, value in fixed.items():
        params[name] = {"N": 1, "isfree": False, "init": value}
    return SpecModel(params)


def rows(model, n=4):
    unit = 0.2 + 0.6 * np.random.default_rng(0).random((n, model.ndim))
    return np.array([model.prior_transform(u) for u in unit])


def make_obs():
    return {
        "filters": load_filters(["sdss_g0", "sdss_i0"]), "maggies": np.full(2, 1e-9),
        "maggies_unc": np.full(2, 1e-10), "spectrum": None, "wavelength": None,
    }  # fmt: skip


def prospector_lines(model, row):
    """Lsun and erg/s/cm^2 of Prospector's own conversion, and L_nu of the continuum."""
    model.predict(row, obs={**make_obs(), "phot_mask": None}, sps=SPS)
    flux = model._eline_lum * model.line_norm
    mass = np.sum(model.params["mass"])
    return model._eline_lum[INDEX] * mass, flux[INDEX], model._wave, model._spec * mass


@pytest.mark.parametrize("free_zred", [False, True])
def test_luminosities_fluxes_and_widths(free_zred):
    """Whole spectra of the drop-in (4e-7 from FSPS); compiled light is single precision."""
    model = make_model(free_zred)
    theta = rows(model)
    light = LineLuminosities(model, lambda names, wave: INDEX, SPS)
    given = {"name": NAMES, "flux": np.ones(3), "unc": np.ones(3)}
    lines = BatchedPosterior(model, make_obs() | {"lines": given}, SPS).lines
    got, wide = light.luminosities(theta), light.equivalent_widths(theta)
    flux = lines.fluxes(theta)
    for i, row in enumerate(theta):
        luminosity, want, wave, lnu = prospector_lines(model, row)
        np.testing.assert_allclose(got[i], luminosity, rtol=1e-5)
        np.testing.assert_allclose(flux[i], want, rtol=1e-5)
        at = LINES["wave"][INDEX]
        continuum = np.interp(at, wave, lnu) * LIGHTSPEED / at**2
        np.testing.assert_allclose(wide[i], luminosity / continuum, rtol=1e-4)


def test_likelihood_of_lines_limits_and_blends():
    model, obs = make_model(linespec_scaling=0.8), make_obs()
    theta = rows(model)
    given = {
        "name": [NAMES[0], "[O II] 3726 + [O II] 3729"], "flux": np.array([1e-17, 2e-18]),
        "unc": np.array([2e-18, 1e-18]), "upper": np.array([False, True]),
    }  # fmt: skip
    posterior = BatchedPosterior(model, obs | {"lines": Table(given)}, SPS)
    more = posterior.log_likelihood(theta) - BatchedPosterior(model, obs, SPS).log_likelihood(theta)
    for row, got in zip(theta, more, strict=True):
        flux = prospector_lines(model, row)[1]
        both = (model._eline_lum[[INDEX[2], INDEX[2] + 1]] * model.line_norm).sum()
        want = norm.logpdf(1e-17, 0.8 * flux[0], 2e-18) + norm.logcdf((2e-18 - 0.8 * both) / 1e-18)
        assert got == pytest.approx(want, abs=1e-3 + 1e-5 * abs(want))


def test_a_fit_keeps_lines(tmp_path):
    model, obs = make_model(), make_obs()
    obs["lines"] = {"wavelength": [6564.6], "flux": [1e-16], "unc": [1e-17]}
    short = {"nested_nlive_init": 30, "nested_walks": 5, "nested_maxbatch": 0}
    with pytest.warns(RuntimeWarning, match="not converged"):
        output = fit_model(obs, model, SPS, seed=1, nested_maxcall=600, **short)
    wanted = ["L_Ba-alpha 6563", "EW_Ba-alpha 6563", "M_UV"]
    result = FitResult.from_run(output, model, obs, SPS, restframe=wanted)
    result.write(tmp_path / "r.h5")
    again = FitResult.read(tmp_path / "r.h5")
    assert again.info["lines"]["name"] == ["Ba-alpha 6563"]
    assert np.shape(again.info["lines"]["predicted"]) == (3, 1)
    table = again.summary()
    units = dict(zip(table["parameter"], table["unit"], strict=True))
    assert [units[k] for k in wanted] == ["Lsun", "Angstrom", "mag(AB)"]
    light = LineLuminosities(model, lambda names, wave: INDEX[:1], SPS)
    np.testing.assert_allclose(
        again.restframe[wanted[0]], light.luminosities(again.samples)[:, 0], rtol=1e-6
    )


def test_other_models_and_sources():
    no_gas = make_model(add_neb_emission=False)
    with pytest.raises(ModelMismatchError, match="no emission lines"):
        RestFrame(no_gas, SPS, ["L_Ba-alpha 6563"])
    with pytest.raises(DataError, match=r"alike are .*Ba-alpha 6563"):
        columns_of(["EW_Halpha 6563"])
    with pytest.raises(FilterError):
        columns_of(["Halpha"])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"name": ["Halpha"]}, "not the name of an emission line"),
        ({"name": ["Ba-alpha 6563", "Ba-beta 4861"]}, "names 2 lines, but flux, unc"),
        ({"flux": [np.nan]}, "flux nan and the error"),
        ({"unc": [0.0]}, "error 0; give finite"),
        ({"unc": [-1.0]}, "error -1; give finite"),
        ({"upper": [2.5]}, "upper true or false"),
        ({"flux": Table({"f": [1.0]}, units=["Jy"])["f"]}, "give erg/s/cm"),
        ({"flux": np.ma.array([1e-16], mask=[True])}, "has the flux nan"),
        ({"unc": Masked([1e-17] * CGS, mask=[True])}, "the error nan"),
    ],
)
def test_bad_lines(change, match):
    given = {"name": ["Ba-alpha 6563"], "flux": [1e-16], "unc": [1e-17]} | change
    with pytest.raises(DataError, match=match):
        line_fluxes(given, LINES["name"], LINES["wave"])


def test_wavelengths_that_are_no_line():
    given = {"wavelength": [0.6564], "flux": [1.0], "unc": [1.0]}
    with pytest.raises(DataError, match=r"No emission line of FSPS's lies at 0.6564 A"):
        line_fluxes(given, LINES["name"], LINES["wave"])
    with pytest.raises(DataError, match="give name or wavelength"):
        line_fluxes({"flux": [1.0]}, LINES["name"], LINES["wave"])


def test_tables_of_lines(tmp_path):
    path = tmp_path / "lines.ecsv"
    table = Table({"line": NAMES[:2], "flux": [1.0, 2.0], "error": [0.1, 0.2]})
    table["flux"].unit = table["error"].unit = "1e-20 W / m2"
    table["upper"] = [False, True]
    table.write(path)
    got = read_line_fluxes(path)
    np.testing.assert_allclose(got["flux"], [1e-17, 2e-17])
    assert got["name"] == NAMES[:2] and got["upper"].tolist() == [False, True]
    table["flux"].unit = "uJy"
    table.write(path, overwrite=True)
    with pytest.raises(DataError, match="has the unit 'uJy'; line fluxes are in erg"):
        read_line_fluxes(path)
    table.rename_column("error", "sky")
    table.write(path, overwrite=True)
    with pytest.raises(DataError, match="has no column 'error'"):
        read_line_fluxes(path)
