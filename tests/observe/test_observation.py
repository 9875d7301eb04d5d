"""Masks and units of an `obs` are read, never dropped."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Column, MaskedColumn
from astropy.utils.masked import Masked
from prospect.models import SpecModel
from prospect.utils.obsutils import fix_obs
from sedpy.observate import FilterSet

from prospect_emu import EmulatorSpecModel, EmulatorSPS, fit_model
from prospect_emu.errors import DataError, FilterError
from prospect_emu.fit.posterior import BatchedPosterior
from prospect_emu.fit.result import FitResult
from prospect_emu.observe import observation
from prospect_emu.observe.tables import make_obs, photometry_table
from prospect_emu.prospector.mathews23 import model_params

# AB: magnitude 0 is 3631 Jy, so that one maggie is 3.631e9 uJy.
UJY_PER_MAGGIE = 3.631e9


def masked_forms(values, where):
    """The same values with one masked, its entry under the mask a fill value."""
    filled = values.copy()
    filled[where] = 1e20
    mask = np.arange(values.size) == where
    return {
        "numpy": np.ma.MaskedArray(filled, mask),
        "MaskedColumn": MaskedColumn(filled, mask=mask),
        "MaskedColumn, uJy": MaskedColumn(filled * UJY_PER_MAGGIE, mask=mask, unit="uJy"),
        "masked Quantity": Masked(filled * UJY_PER_MAGGIE * u.uJy, mask=mask),
    }


@pytest.mark.parametrize("form", ["numpy", "MaskedColumn", "MaskedColumn, uJy", "masked Quantity"])
@pytest.mark.parametrize("key", ["maggies", "maggies_unc"])
def test_a_masked_value_masks_its_band(key, form, sps, obs):
    """Against the same obs with phot_mask; 1e-12 allows for the change of units."""
    plain = {**obs, "phot_mask": np.arange(obs["maggies"].size) != 2}
    given = {**obs, key: masked_forms(obs[key], 2)[form]}
    model = EmulatorSpecModel(model_params(zred=1.0))
    theta = model.prior_transform(np.full(model.ndim, 0.4))[None]
    expected = BatchedPosterior(model, sps.inflate(plain), sps).log_likelihood(theta)
    found = BatchedPosterior(model, sps.inflate(given), sps).log_likelihood(theta)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(
    "form",
    [
        lambda x: x * UJY_PER_MAGGIE * u.uJy,
        lambda x: x * UJY_PER_MAGGIE * 1e3 * u.nJy,
        lambda x: x * UJY_PER_MAGGIE * 1e-29 * u.Unit("erg / (s cm2 Hz)"),
        lambda x: Column(x * UJY_PER_MAGGIE, unit="uJy"),
        lambda x: x * u.mgy,
        lambda x: x * u.dimensionless_unscaled,
        lambda x: Column(x),
        list,
    ],
    ids=["uJy", "nJy", "cgs", "Column", "maggies", "dimensionless", "no unit", "list"],
)
def test_units_are_converted(form, obs):
    given = {**obs, "maggies": form(obs["maggies"]), "maggies_unc": form(obs["maggies_unc"])}
    flux, unc, mask = observation.photometry(given)
    np.testing.assert_allclose(flux, obs["maggies"], rtol=1e-12)
    np.testing.assert_allclose(unc, obs["maggies_unc"], rtol=1e-12)
    assert mask.all()


@pytest.mark.parametrize("unit", [u.m, u.ABmag, u.Unit("erg / (s cm2 AA)"), u.Unit("Jy / beam")])
def test_other_units_are_refused(unit, obs):
    values = np.full(obs["maggies"].size, 20.0)
    with pytest.raises(DataError, match=r"maggies of obs is in .* not a flux density"):
        observation.photometry({**obs, "maggies": values * unit})


def test_a_masked_flag_is_false(obs):
    n = obs["maggies"].size
    flags = np.ma.MaskedArray(np.ones(n, dtype=bool), np.arange(n) == 1)
    np.testing.assert_array_equal(
        observation.photometry({**obs, "phot_mask": flags})[2], np.arange(n) != 1
    )


@pytest.mark.parametrize(
    "change", [lambda x: x + 0j, lambda x: x > 0, lambda x: [1.0, [2.0, 3.0]], lambda x: ["a"]]
)
@pytest.mark.parametrize("name", ["maggies", "maggies_unc"])
def test_what_holds_no_fluxes(obs, name, change):
    """Complex numbers lost their imaginary part; a mask in the place of fluxes was 0 and 1."""
    with pytest.raises(DataError, match=f"{name} of obs is not an array of numbers"):
        observation.photometry({**obs, name: change(obs[name])})


def test_make_obs_reads_masks_and_units(sps, obs):
    flux = masked_forms(obs["maggies"], 4)["masked Quantity"]
    made = make_obs(sps.filters, flux, obs["maggies_unc"] * u.mgy, 1.0, error_floor=0.0)
    use = np.arange(obs["maggies"].size) != 4
    np.testing.assert_array_equal(made["phot_mask"], use)
    np.testing.assert_allclose(made["maggies"][use], obs["maggies"][use], rtol=1e-12)


def test_limits_given_as_a_list_are_in_the_file(sps, obs, tmp_path):
    """chi2 of the fit and of its file: the band of the limit is in neither."""
    limits = [i == 1 for i in range(obs["maggies"].size)]
    obs = sps.inflate({**obs, "upper_limits": limits})
    model = EmulatorSpecModel(model_params(zred=1.0))
    output = fit_model(
        obs, model, sps, nested_nlive_init=60, nested_walks=8, nested_maxbatch=0, seed=1,
        progress=False,
    )  # fmt: skip
    result = FitResult.from_run(output, model, obs, sps, seed=1)
    result.write(tmp_path / "posterior.h5")
    read = FitResult.read(tmp_path / "posterior.h5")
    np.testing.assert_array_equal(read.photometry.upper_limits, limits)
    assert read.photometry.chi2 == result.photometry.chi2


# ---- an obs that is used again ----------------------------------------------------------


def test_inflate_the_next_galaxy_in_the_same_obs(sps, obs):
    """As in a loop over a catalog: new fluxes and errors in what inflate returned."""
    again = sps.inflate(obs)
    again["maggies"], again["maggies_unc"] = 3.0 * obs["maggies"], 0.2 * obs["maggies"]
    fresh = {**obs, "maggies": 3.0 * obs["maggies"], "maggies_unc": 0.2 * obs["maggies"]}
    found, expected = sps.inflate(again), sps.inflate(fresh)
    np.testing.assert_array_equal(found["maggies_unc"], expected["maggies_unc"])
    np.testing.assert_array_equal(found["maggies_unc_observed"], fresh["maggies_unc"])


def test_inflate_other_fluxes_with_the_same_errors(sps, obs):
    again = sps.inflate(obs)
    again["maggies"] = 3.0 * obs["maggies"]
    expected = sps.inflate({**obs, "maggies": 3.0 * obs["maggies"]})
    np.testing.assert_array_equal(sps.inflate(again)["maggies_unc"], expected["maggies_unc"])


def test_errors_changed_after_inflate_are_refused_until_said(sps, obs):
    """A floor added after inflate was lost by a second call; what the error advises works."""
    inflated = sps.inflate(obs)
    with_floor = np.hypot(inflated["maggies_unc"], 0.1 * obs["maggies"])
    changed = {**inflated, "maggies_unc": with_floor}
    model = EmulatorSpecModel(model_params(zred=1.0))
    for call in (sps.inflate, lambda o: fit_model(o, model, sps)):
        with pytest.raises(DataError, match=r"set obs\['emulator'\] = None"):
            call(changed)
    changed["emulator"] = None
    np.testing.assert_array_equal(sps.inflate(changed)["maggies_unc_observed"], with_floor)


# ---- filters in other forms --------------------------------------------------------------


def names_of(filters):
    return [f.name for f in filters]


@pytest.mark.parametrize(
    "form", [names_of, lambda f: np.array(names_of(f)), lambda f: FilterSet(names_of(f)), tuple]
)
def test_filters_as_names_or_a_filterset(form, sps, obs):
    """The same likelihood, prediction and table as with a list of sedpy's filters."""
    model = EmulatorSpecModel(model_params(zred=1.0))
    theta = model.prior_transform(np.full(model.ndim, 0.4))
    given = {**obs, "filters": form(obs["filters"])}
    other = EmulatorSPS(sps.emulator, filters=given["filters"])
    expected = BatchedPosterior(model, sps.inflate(obs), sps).log_likelihood(theta[None])
    found = BatchedPosterior(model, other.inflate(given), other).log_likelihood(theta[None])
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(
        model.predict(theta, obs=given, sps=other)[1], model.predict(theta, obs=obs, sps=sps)[1]
    )
    assert list(photometry_table(given)["band"]) == names_of(obs["filters"])


def test_gridded_filters_of_fix_obs(sps, obs):
    """``fix_obs(grid_filters=True)`` was refused as curves of other filters."""
    given = fix_obs(dict(obs), grid_filters=True)
    model = EmulatorSpecModel(model_params(zred=1.0))
    given = EmulatorSPS(sps.emulator, filters=given["filters"]).inflate(given)
    theta = model.prior_transform(np.full(model.ndim, 0.4))[None]
    expected = BatchedPosterior(model, sps.inflate(obs), sps).log_likelihood(theta)
    np.testing.assert_array_equal(
        BatchedPosterior(model, given, sps).log_likelihood(theta), expected
    )


@pytest.mark.parametrize("form", [names_of, lambda f: FilterSet(names_of(f))])
def test_a_whole_fit_with_other_forms_of_filters(form, sps, obs, tmp_path):
    model = EmulatorSpecModel(model_params(zred=1.0))
    chi2 = []
    for filters in (obs["filters"], form(obs["filters"])):
        given = sps.inflate({**obs, "filters": filters})
        output = fit_model(
            given, model, sps, nested_nlive_init=60, nested_walks=8, nested_maxbatch=0, seed=1,
            progress=False,
        )  # fmt: skip
        result = FitResult.from_run(output, model, given, sps, seed=1)
        result.write(tmp_path / "posterior.h5", overwrite=True)
        chi2.append(FitResult.read(tmp_path / "posterior.h5").photometry.chi2)
    assert chi2[0] == chi2[1]


def test_an_unknown_name_of_a_filter(obs):
    with pytest.raises(FilterError, match=r"'sdss_h0' is not known.*did you mean"):
        observation.filter_list(["sdss_g0", "sdss_h0"])


# ---- arrays of other packages ------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        lambda x: pytest.importorskip("pandas").Series(x),
        lambda x: x.astype(">f8"),
        lambda x: x.astype(object),
        lambda x: Column(x * UJY_PER_MAGGIE, unit=u.Unit("UJY", parse_strict="silent")),
        lambda x: Column(x, unit=u.Unit("maggies", parse_strict="silent")),
        lambda x: 100.0 * x * u.percent,
    ],
    ids=["pandas", "big-endian", "objects", "UJY", "maggies", "percent"],
)
def test_arrays_of_other_packages(form, obs):
    """A Series of pandas has a method called mask; 1e-12 allows for the change of units."""
    given = {**obs, "maggies": form(obs["maggies"]), "maggies_unc": form(obs["maggies_unc"])}
    model, sps = SpecModel(model_params(zred=1.0)), EmulatorSPS()
    theta = model.prior_transform(np.full(model.ndim, 0.4))[None]
    expected = BatchedPosterior(model, obs, sps).log_likelihood(theta)
    found = BatchedPosterior(model, given, sps).log_likelihood(theta)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("kind", ["U12", "S12", "m8[s]"])
def test_texts_and_times_are_no_fluxes(kind, obs):
    """Seconds were read as maggies."""
    values = np.arange(1, obs["maggies"].size + 1).astype(kind)
    with pytest.raises(DataError, match="maggies of obs is not an array of numbers"):
        observation.photometry({**obs, "maggies": values})


def test_covariances_with_units_and_masks(obs):
    """Masked where a band is not used: left out; where it is used: refused, not its fill value."""
    n, model, sps = obs["maggies"].size, SpecModel(model_params(zred=1.0)), EmulatorSPS()
    theta = model.prior_transform(np.full(model.ndim, 0.4))[None]
    plain = np.diag(obs["maggies_unc"] ** 2)
    masked = np.ma.array(plain, mask=np.zeros((n, n), bool))
    masked[2] = masked[:, 2] = np.ma.masked
    use = np.arange(n) != 2

    def value(covariance, **more):
        data = {**obs, "maggies_covariance": covariance, **more}
        return BatchedPosterior(model, data, sps).log_likelihood(theta)

    np.testing.assert_allclose(
        value(plain * UJY_PER_MAGGIE**2 * u.uJy**2), value(plain), rtol=1e-12
    )
    np.testing.assert_array_equal(value(masked, phot_mask=use), value(plain, phot_mask=use))
    with pytest.raises(DataError, match="masked or not finite"):
        value(masked)


@pytest.mark.parametrize("form", ["numpy", "masked Quantity"])
def test_the_table_of_an_obs_has_its_units_and_masks(form, obs):
    """A Quantity in uJy was written as maggies, a masked value as its fill value."""
    table = photometry_table({**obs, "maggies": masked_forms(obs["maggies"], 2)[form]})
    use = np.arange(obs["maggies"].size) != 2
    np.testing.assert_allclose(table["flux"][use], obs["maggies"][use], rtol=1e-12)
    assert np.isnan(table["flux"][2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wavelength": np.ma.array([4e3, 5e3, 6e3], mask=[0, 1, 0])}, "masked values"),
        ({"wavelength": np.array([0.4, 0.5, 0.6])}, "end at 0.6 A; give Angstrom"),
        ({"filters": [None, None]}, r"filters of obs holds None"),
        ({"filters": None, "maggies": np.ones(2)}, "needs 'filters'"),
    ],
)
def test_what_no_spectrum_is_fitted_with(change, message):
    spectrum = {"wavelength": np.array([4e3, 5e3, 6e3]), "spectrum": np.ones(3), "unc": np.ones(3)}
    none = dict.fromkeys(("maggies", "maggies_unc", "filters"))
    given = none | spectrum | change
    if "filters" in change:
        given = given | {"maggies": np.ones(2), "maggies_unc": np.ones(2)}
    with pytest.raises(DataError, match=message):
        BatchedPosterior(SpecModel(model_params(zred=1.0)), given, EmulatorSPS())
