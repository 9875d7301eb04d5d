"""Lensing: a magnification in the likelihood against fluxes multiplied by hand."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table
from prospect.models import SpecModel, priors

from prospect_emu import BatchedPosterior, EmulatorSPS
from prospect_emu.errors import DataError, ModelMismatchError
from prospect_emu.fit.one_galaxy import fit_table
from prospect_emu.observe.filters import load_filters
from prospect_emu.prospector.magnification import describe_magnification, magnified
from prospect_emu.prospector.mathews23 import model_params
from prospect_emu.prospector.templates import template_params

BANDS = ("acs_wfc_f606w", "wfc3_ir_f160w", "jwst_f277w", "jwst_f444w")
TABLE = [[0.5, 2.0, 6.0], [1.5, 8.0, 20.0]]


@pytest.fixture(scope="module")
def obs():
    flux = np.array([1.0, 3.0, 4.0, 5.0]) * 1e-9
    out = {"filters": load_filters(BANDS), "wavelength": None, "spectrum": None, "unc": None}
    return out | {"mask": None, "maggies": flux, "maggies_unc": 0.1 * flux}


@pytest.mark.parametrize("mu", (7.0, TABLE))
def test_fluxes_are_multiplied(obs, mu):
    """A free redshift, to 1e-6 (single precision ends there); and as Prospector predicts them."""
    prior = priors.TopHat(mini=0.3, maxi=8.0)
    params = template_params("parametric_sfh", zred_prior=prior)[0]
    sps = EmulatorSPS()
    plain = BatchedPosterior(SpecModel(dict(params)), obs, sps)
    model = SpecModel(magnified(params, mu))
    lensed = BatchedPosterior(model, obs, sps)
    assert lensed.predictions.quick and lensed.ndim == plain.ndim
    theta = plain.prior_transform(np.random.default_rng(1).random((20, plain.ndim)))
    zred = theta[:, model.theta_index["zred"]][:, 0]
    by_hand = np.interp(zred, *TABLE) if isinstance(mu, list) else np.full(20, mu)
    expected = plain.maggies(theta) * by_hand[:, None]
    np.testing.assert_allclose(lensed.maggies(theta), expected, rtol=1e-6)
    _, phot, _ = model.predict(theta[3], obs=obs, sps=sps)
    np.testing.assert_allclose(phot, expected[3], rtol=2e-4)
    # What belongs to the source does not change.
    for a, b in zip(plain.predictions.quantities(theta), lensed.predictions.quantities(theta),
                    strict=True):  # fmt: skip
        for k in b if isinstance(b, dict) else ():
            np.testing.assert_array_equal(a[k], b[k])


@pytest.mark.parametrize("emulator", (None, "mathews23-64"))
def test_a_fit_finds_the_source(tmp_path, emulator):
    """Fluxes and errors ten times as large, magnified tenfold: the same samples, to rounding."""
    flux = np.array([1.0, 3.0, 4.0, 5.0])
    settings = {"nested_nlive_init": 60, "nested_maxcall": 3000, "error_floor": 0.0, "seed": 2}
    found = []
    for scale, mu in ((1.0, None), (10.0, 10.0)):
        table = Table({"band": BANDS, "flux": scale * flux, "error": 0.1 * scale * flux})
        path = tmp_path / f"{scale:g}.ecsv"
        table.write(path)
        found.append(
            fit_table(path, 1.2, unit="uJy", emulator=emulator, magnification=mu, **settings)
        )
    plain, lensed = found
    assert lensed.info["settings"]["magnification"] == "10.0"
    assert lensed.info["magnification"] == 10.0
    for a, b in zip(plain.photometry.predicted, lensed.photometry.predicted, strict=True):
        np.testing.assert_allclose(b, 10.0 * a, rtol=1e-3)
    np.testing.assert_allclose(lensed.samples[:50], plain.samples[:50], rtol=1e-4)


def test_what_is_no_magnification(tmp_path):
    path = tmp_path / "mu.csv"
    Table({"z": [0.5, 2.0], "mu": [1.5, 4.0]}).write(path)
    assert describe_magnification(path) == [[0.5, 2.0], [1.5, 4.0]]
    assert describe_magnification("3") == 3.0
    Table({"z": [0.5, 2.0], "mu": [1.5, -4.0]}).write(path, overwrite=True)
    with pytest.raises(DataError, match="positive"):
        describe_magnification(path)
    with pytest.raises(DataError, match="no lensing"):
        describe_magnification(0.0)
    with pytest.raises(DataError, match="no number and no file"):
        describe_magnification("mju")
    for given in (None, [2.0, 3.0], 2.0 * u.mag):
        with pytest.raises(DataError, match="neither a number nor a file"):
            describe_magnification(given)
    Table({"z": [0.5, 1.5], "mu": [2.0, 4.0] * u.mag}).write(tmp_path / "mag.ecsv")
    with pytest.raises(DataError, match="'mu' is in mag, and what it should hold has no unit"):
        describe_magnification(tmp_path / "mag.ecsv")
    params = model_params(zred=1.0) | {"lumdist": {"N": 1, "isfree": False, "init": 100.0}}
    with pytest.raises(ModelMismatchError, match="lumdist"):
        magnified(params, 2.0)
