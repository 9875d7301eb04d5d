"""Catalogs of UNCOVER's layout, in and out, and corrections of the fluxes of any table."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from sedpy import observate

from prospect_emu import FitResult
from prospect_emu.errors import DataError
from prospect_emu.fits import uncover_catalog
from prospect_emu.fits.campaign import run_campaign
from prospect_emu.fits.catalog_columns import milky_way_extinction
from prospect_emu.fits.catalogs import read_sample, select
from prospect_emu.fits.config import parse_config
from prospect_emu.fits.results import read_results, write_results
from prospect_emu.fits.sections import CatalogConfig, SelectConfig

BANDS = ("f606w", "f814w", "f115w", "f277w", "f444w")


def photometry(n=3):
    """As the public catalogs: fluxes of AB 28.9, flags, and few spectroscopic redshifts."""
    table = Table({"id": np.arange(1, n + 1), "use_phot": [1, 1, 0][:n], "ra": np.full(n, 3.5)})
    for i, band in enumerate(BANDS):
        table[f"f_{band}"], table[f"e_{band}"] = np.full(n, 10.0 + i), np.full(n, 0.5)
    table["z_spec"] = MaskedColumn([0.0, 2.5, 0.0][:n], mask=[True, False, True][:n])
    return table


def test_photometry(tmp_path):
    table = photometry()
    table["f_f606w"][0] = -3.0
    table["f_alma"] = MaskedColumn([0.0, 5.0, 0.0], mask=[True, False, True])
    table["e_alma"] = [200.0, 100.0, np.nan]
    table.write(tmp_path / "u.fits")
    config = CatalogConfig(
        kind="table", path=str(tmp_path / "u.fits"), layout="uncover", error_floor=0.0
    )
    sample = read_sample(config)
    assert sample.bands == (
        "acs_wfc_f606w", "acs_wfc_f814w", "jwst_f115w", "jwst_f277w", "jwst_f444w", "1d3mm"
    )  # fmt: skip
    rows, observed, left_out = select(sample, SelectConfig(min_bands=3))
    assert rows == [0, 1] and left_out == [("3", "use_phot = 0")]
    free, known = observed[0], observed[1]
    assert free["zred_prior"] == {"model": []} and known["zred"] == 2.5
    np.testing.assert_allclose(known["maggies"][:5], (10.0 + np.arange(5)) * 10.0**-11.56)
    # Six errors below zero is a fault; ALMA's error alone is a limit about zero.
    np.testing.assert_array_equal(free["phot_mask"], [False, True, True, True, True, True])
    assert free["maggies"][5] == 0.0 and free["maggies_unc"][5] == pytest.approx(200 * 10**-11.56)
    assert any("below -5 errors" in note for note in free["notes"])


def test_table_of_a_campaign(tmp_path, inline):
    """Their columns, a row for every galaxy, and a file that astropy takes without a fault."""
    photometry().write(tmp_path / "u.fits")
    config = parse_config(
        {
            "output": "out",
            "catalog": {
                "kind": "table", "layout": "uncover", "path": "u.fits", "keep": ["ra", "use_phot"]
            },
            "fit": {"model": ["uncover_corrected"], "max_calls": 400, "nlive": 100, "walks": 5},
        },
        tmp_path,
    )  # fmt: skip
    states = run_campaign(config, executor=inline)
    assert states == {"stalled": 2}
    results = read_results(config.output)
    path = write_results(results, config.output)[-1]
    with fits.open(path) as hdus:
        hdus.verify("exception")
    table = Table.read(path)
    np.testing.assert_array_equal(table["id"], [1, 2, 3])
    assert list(table["state"]) == ["stalled", "stalled", "left out"]
    assert table["z_50"][1] == 2.5 and 0.001 < table["z_001"][0] <= table["z_999"][0] < 20.0
    ends = [table[f"mstar_{p}"][0] for p in uncover_catalog.PERCENTILES]
    assert ends == sorted(ends) and np.ma.is_masked(table["mstar_50"][2])
    assert table["mwa_50"].unit == "Gyr" and table["mtot_50"][0] > table["mstar_50"][0]
    for n in ("10", "30", "100"):
        assert 0.0 < table[f"ssfr{n}_50"][0] < table[f"sfr{n}_50"][0]
    assert {"z_ml", "met_16", "dust1_fraction_84", "logfagn_50", "chi2", "nbands"} <= set(
        table.colnames
    )
    assert results.plan["catalog"]["1"] == {"ra": 3.5, "use_phot": 1}
    (file,) = (tmp_path / "out").glob("fits/exact/1_*.h5")
    result = FitResult.read(file)
    assert result.info["prior"] == "corrected PhiSFH" and result.parameters[1] == "logmass"


def test_extinction_of_the_milky_way():
    """Cardelli et al. (1989), table 3: A / A(V) for R_V = 3.1, 1 % off their formula in B."""
    wave = 1e4 / np.array([2.78, 2.27, 1.82, 1.43, 1.11, 0.80, 0.63, 0.46])
    want = [1.569, 1.337, 1.000, 0.751, 0.479, 0.282, 0.190, 0.114]
    np.testing.assert_allclose(milky_way_extinction(wave), want, rtol=0.02)


def test_corrections(tmp_path):
    """Codes of missing values, factors, zero points, and E(B-V)."""
    table = Table({"id": [1, 2], "z": [1.0, 1.0], "ebv": [0.0, 0.1]})
    table["g"], table["eg"], table["k"], table["ek"] = [5.0, 1e20], [1.0, 1.0], [3.0, 3.0], 0.3
    table.write(tmp_path / "t.fits")
    bands = {
        "sdss_g0": {"flux": "g", "error": "eg", "unit": "zp 25", "factor": 1.1},
        "twomass_Ks": {"flux": "k", "error": "ek", "unit": "uJy"},
    }
    config = CatalogConfig(
        kind="table", path=str(tmp_path / "t.fits"), zred_column="z", bands=bands,
        ebv_column="ebv", missing=(1e20,),
    )  # fmt: skip
    sample = read_sample(config)
    first, second = sample.make(0), sample.make(1)
    np.testing.assert_allclose(first["maggies"], [5.5e-10, 3e-6 / 3631.0])
    np.testing.assert_array_equal(second["phot_mask"], [False, True])
    pivot = observate.Filter("twomass_Ks").wave_pivot
    ratio = second["maggies"][1] / first["maggies"][1]
    assert ratio == pytest.approx(10 ** (0.04 * 3.1 * milky_way_extinction([pivot])[0]))
    assert second["maggies_unc_catalog"][1] == pytest.approx(ratio * 0.3e-6 / 3631.0)
    table["ebv"][0] = -1.0
    table.write(tmp_path / "t.fits", overwrite=True)
    with pytest.raises(DataError, match="ebv is -1 in row 1"):
        read_sample(config)
    bands["sdss_g0"]["factor"] = 0.0
    with pytest.raises(DataError, match="factor = 0"):
        read_sample(config)
