"""Catalogs: the fields of 3D-HST, tables with a column map, catalogs of mocks."""

from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from sedpy import observate

from prospect_emu.errors import DataError
from prospect_emu.fits import catalogs
from prospect_emu.fits.campaign import run_campaign
from prospect_emu.fits.catalogs import read_sample
from prospect_emu.fits.config import CatalogConfig, parse_config
from prospect_emu.fits.fields import FIELDS
from prospect_emu.fits.mocks import MockRecipe, mock_catalog
from prospect_emu.fits.results import read_results
from prospect_emu.fits.threedhst import galaxy_obs, read_catalog
from prospect_emu.networks.vector import BOX, PARAMETERS
from prospect_emu.observe.table_files import read_table


def write_field(folder, field, n=2, fits=True):
    """A catalog with the columns that the READMEs of the public release list."""
    folder.mkdir()
    table = Table({"id": np.arange(1, n + 1)})
    for i, x in enumerate(field.columns):
        if x != "mips_24um":  # the public photometry has none
            table[f"f_{x.upper()}"], table[f"e_{x.upper()}"] = 10.0 + i, 0.5
    z = Table({"phot_id": np.arange(1, n + 1)})
    z["z_best"], z["z_type"], z["f24tot"], z["ef24tot"] = 1.0, 1, 7.0, 2.0
    for t, name in ((table, "x.cat"), (z, "x.zbest.dat")):
        if fits:
            t.write(folder / f"{name}.FITS", format="fits")
        else:
            t.write(folder / name, format="ascii.commented_header")
    return folder


@pytest.mark.parametrize("field", FIELDS.values(), ids=lambda f: f.name)
@pytest.mark.parametrize("fits", [True, False])
def test_public_catalogs_of_all_fields(tmp_path, field, fits):
    table = read_catalog(write_field(tmp_path / "c", field, fits=fits), field.name)
    obs = galaxy_obs(table, 1)
    assert [f.name for f in obs["filters"]] == list(field.bands.values())
    assert obs["phot_mask"].all()
    order = list(field.columns)
    for x, flux in zip(field.bands, obs["maggies"], strict=True):
        if x in field.twins:
            # Equal errors: the mean of both.
            want = 10.0 + 0.5 * (order.index(x) + order.index(field.twins[x]))
        elif x == "mips_24um":
            want = 7.0 * 10 ** (0.03542 / 2.5)
        else:
            want = 10.0 + order.index(x)
        assert flux == pytest.approx(want * 1e-10, rel=1e-12), x
    if field.twins:
        i = list(field.bands).index(next(iter(field.twins)))
        assert obs["maggies_unc_catalog"][i] == pytest.approx(0.5e-10 / np.sqrt(2), rel=1e-12)


@pytest.mark.parametrize("field", FIELDS.values(), ids=lambda f: f.name)
def test_filters_of_all_fields(field):
    """Each once, all known to sedpy, and in the order of the names they stand for."""
    assert set(field.bands.values()) <= set(observate.list_available_filters())
    assert len(set(field.bands.values())) == len(field.bands)


def test_bundled_emulator_knows_all_fields():
    from prospect_emu import load_emulator

    known = set(load_emulator("mathews23-256").filters)
    for field in FIELDS.values():
        assert set(field.bands.values()) <= known, field.name


def test_a_missing_twin_is_left_to_the_other(tmp_path):
    table = read_catalog(write_field(tmp_path / "c", FIELDS["goodss"]), "goodss")
    table["f_f606wcand"][0] = table["e_f606wcand"][0] = -99.0
    obs = galaxy_obs(table, 1)
    i = list(FIELDS["goodss"].bands).index("f606w")
    assert obs["maggies"][i] == pytest.approx(1e-10 * table["f_f606w"][0], rel=1e-12)


def test_unknown_field(tmp_path):
    with pytest.raises(DataError, match="no 3D-HST field 'goods'; use one of cosmos, aegis"):
        read_catalog(tmp_path, "goods")


def test_named_options(tmp_path):
    table = read_catalog(write_field(tmp_path / "c", FIELDS["uds"]), "uds")
    table["z_best"] = 2.9
    table["f_j"] = -0.75  # 1.5 sigma
    plain = galaxy_obs(table, 1)
    other = galaxy_obs(table, 1, mips_factor=1.0, mask_lyman_alpha=False, mask_negative=1.0)
    names = list(FIELDS["uds"].bands)
    assert other["maggies"][names.index("mips_24um")] == pytest.approx(7e-10, rel=1e-12)
    assert not plain["phot_mask"][names.index("u")] and other["phot_mask"][names.index("u")]
    assert plain["phot_mask"][names.index("j")] and not other["phot_mask"][names.index("j")]


# ---- any table -----------------------------------------------------------------------------


def table_config(tmp_path, name="t.csv", **more):
    table = Table({"name": ["a b", "c"], "z": [1.0, 2.0], "g": [20.0, -99.0], "dg": [0.1, 0.1]})
    table["k"], table["dk"] = [3.0, 4.0], [0.3, 0.4]
    kind = "fits" if name.endswith("fits") else "ascii.csv"
    table.write(tmp_path / name, format=kind)
    bands = {
        "subaru_suprimecam_B": {"flux": "g", "error": "dg", "unit": "mag"},
        "vista_vircam_Ks": {"flux": "k", "error": "dk", "unit": "uJy", "floor": 0.2},
    }
    settings = {"id_column": "name", "zred_column": "z", "bands": bands, **more}
    return CatalogConfig(kind="table", path=str(tmp_path / name), **settings)


@pytest.mark.parametrize("name", ["t.csv", "t.fits"])
def test_column_map(tmp_path, name):
    """Units, floor, placeholder and names by hand."""
    sample = read_sample(table_config(tmp_path, name))
    assert sample.ids == ("ab", "c") and list(sample.zred) == [1.0, 2.0]
    obs = sample.make(0)
    np.testing.assert_allclose(obs["maggies"], [1e-8, 3 / 3631e6], rtol=1e-12)
    unc = [0.4 * np.log(10) * 0.1e-8, 0.3 / 3631e6]
    floor = np.array([0.05e-8, 0.2 * 3 / 3631e6])
    np.testing.assert_allclose(obs["maggies_unc"], np.hypot(unc, floor), rtol=1e-12)
    assert list(sample.make(1)["phot_mask"]) == [False, True]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"zred_column": "zz"}, "lacks the columns zz"),
        ({"bands": {}}, r"needs \[catalog\.bands\]"),
        ({"bands": {"vista_vircam_Ks": {"flux": "k"}}}, "must give flux and error"),
        ({"bands": {"vista_vircam_Ks": {"flux": "k", "error": "dk"}}}, "unit of column 'k'"),
        ({"keep": ("mass",)}, "no column mass, which catalog.keep names"),
    ],
)
def test_faults_of_a_column_map(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        read_sample(table_config(tmp_path, **change))


# ---- mocks -------------------------------------------------------------------------------------


def test_catalog_of_mocks_and_its_campaign(workshop, inline, tmp_path):
    """Truth and noise are as stated, and a campaign's table keeps the truth."""
    emulator = workshop.emulator
    recipe = MockRecipe(n=3, seed=2)
    table = mock_catalog(lambda t: emulator.maggies(t, check=False), emulator.filters, recipe)
    assert list(table["id"]) == [0, 1, 2]
    truth = np.array([table[f"true_{p}"] for p in PARAMETERS]).T
    box = np.array([BOX[p] for p in PARAMETERS])
    assert np.all(truth >= box[:, 0] - 1e-9) and np.all(truth <= box[:, 1] + 1e-9)
    flux = emulator.maggies(truth)
    noise = [table[f"f_{b}"] - flux[:, j] for j, b in enumerate(emulator.filters)]
    pull = [n / table[f"e_{b}"] for n, b in zip(noise, emulator.filters, strict=True)]
    # 18 standard normal numbers: none beyond 4, not all near zero.
    assert 0.4 < np.std(pull) < 1.7 and np.max(np.abs(pull)) < 4
    assert np.all(flux[:, 3] / table["e_wfc3_ir_f160w"] >= 10)
    table.write(tmp_path / "mocks.ecsv", format="ascii.ecsv")
    config = parse_config(
        {
            "catalog": {"kind": "mocks", "path": "mocks.ecsv"},
            "emulators": [str(workshop.file)],
            "output": "m",
            "fit": {"nlive": 40, "walks": 5, "dlogz": 3.0, "n_eff": 10, "max_batch": 0},
        },
        tmp_path,
    )
    assert run_campaign(config, executor=inline) == {"done": 3}
    out = read_results(config.output).table
    np.testing.assert_array_equal(out["true_logmass"], table["true_logmass"])
    ranks = np.array([out[f"rank_{p}"] for p in PARAMETERS if p != "zred"])
    assert np.all((ranks >= 0) & (ranks <= 1)) and np.std(ranks) > 0.1
    assert np.isfinite(out["true_log_sfr_100"]).all()


def test_mocks_with_a_real_catalogs_errors(shared, workshop):
    folder = shared / "3dhst"
    if not folder.is_dir():
        pytest.skip(f"the 3D-HST catalog is not present at {folder}")
    emulator = workshop.emulator
    recipe = MockRecipe(n=2, seed=3, like=str(folder), min_snr=3.0)
    table = mock_catalog(lambda t: emulator.maggies(t, check=False), emulator.filters, recipe)
    catalog = read_catalog(folder)
    for row in table:
        found = np.flatnonzero(np.isclose(catalog["z_best"], row["zred"]))
        errors = [galaxy_obs(catalog, row=int(i))["maggies_unc_catalog"][0] for i in found]
        assert any(e == row["e_wfc3_ir_f160w"] for e in errors)


def test_mocks_that_are_all_too_faint(workshop):
    faint = np.full((1, len(workshop.emulator.filters)), 1e-14)
    with pytest.raises(DataError, match="1000 mocks in a row"):
        mock_catalog(lambda t: faint, workshop.emulator.filters, MockRecipe(n=1))


@pytest.mark.parametrize("ending", ["ecsv", "fits"])
@pytest.mark.parametrize(
    ("values", "wanted"),
    [([True, False, True], True), ([1, 2, 1], 1), (["yes", "no", "yes"], "yes")],
)
def test_a_missing_value_equals_nothing(values, wanted, ending, tmp_path):
    """select.equal on the third row, which is masked.

    A masked boolean counted as true, and text in FITS equalled nothing.
    """
    table = Table({"flag": MaskedColumn(values, mask=[False, False, True])})
    table.write(tmp_path / f"catalog.{ending}")
    read = read_table(tmp_path / f"catalog.{ending}")
    if not np.ma.getmaskarray(np.ma.asarray(read["flag"])).any():
        pytest.skip("this format keeps no mask of this type")
    sample = SimpleNamespace(table=read, zred=np.ones(3))
    tests = catalogs._tests(sample, SimpleNamespace(equal={"flag": wanted}, range={}), None)
    failed = np.any([bad for bad, _ in tests], axis=0)
    np.testing.assert_array_equal(failed, [False, True, True])
    assert "flag is missing" in [say(2) for bad, say in tests if bad[2]]
