"""Catalogs: the fields of 3D-HST, tables with a column map, catalogs of mocks."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, Table
from sedpy import observate

from prospect_emu.errors import DataError, SetupError
from prospect_emu.fits import catalogs, fingerprints, work
from prospect_emu.fits.campaign import run_campaign
from prospect_emu.fits.catalogs import read_sample, select
from prospect_emu.fits.config import parse_config
from prospect_emu.fits.fields import FIELDS
from prospect_emu.fits.mocks import MockRecipe, mock_catalog
from prospect_emu.fits.results import read_results
from prospect_emu.fits.sections import CatalogConfig, FitConfig, SelectConfig
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
    assert sample.ids == ("a b", "c") and list(sample.zred) == [1.0, 2.0]
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
        ({"id_column": ""}, "lacks the columns ''"),
        ({"bands": {}}, r"needs \[catalog\.bands\]"),
        ({"bands": {"vista_vircam_Ks": {"flux": "k"}}}, "must give flux and error"),
        ({"bands": {"vista_vircam_Ks": {"flux": "k", "error": "dk"}}}, "unit of column 'k'"),
        ({"keep": ("mass",)}, "no column mass, which catalog.keep names"),
        (
            {"bands": {"vista_vircam_Ks": {"flux": "k", "error": "k", "unit": "uJy"}}},
            "names the column 'k' 2 times",
        ),
    ],
)
def test_faults_of_a_column_map(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        read_sample(table_config(tmp_path, **change))


def test_columns_named_by_band(tmp_path):
    """As UNCOVER's catalogs have them; what is left out, and what is doubtful, is said."""
    names = ("f444w", "f606w", "f160w", "jwst_f140m", "color")
    table = Table({"id": [1], "z_spec": [2.0], "faper_f444w": [9.0], "f_f090w": [1.0]})
    for i, name in enumerate(names):
        table[f"f_{name}"], table[f"e_{name}"] = [1.0 + i], [0.1]
    table.write(tmp_path / "t.fits")
    shape = {"zred_column": "z_spec", "unit": "nJy", "band_columns": ("f_{band}", "e_{band}")}
    config = CatalogConfig(kind="table", path=str(tmp_path / "t.fits"), **shape)
    sample = read_sample(config)
    assert sample.bands == ("jwst_f444w", "acs_wfc_f606w", "wfc3_ir_f160w", "jwst_f140m")
    np.testing.assert_allclose(sample.make(0)["maggies"], np.arange(1.0, 5.0) / 3631e9)
    assert "f_f444w is jwst_f444w." in sample.notes
    assert {n.split()[0] for n in sample.notes if "not used" in n} == {"f_f090w", "f_color"}
    table["f_jwst_f444w"], table["e_jwst_f444w"] = [1.0], [0.1]
    table.write(tmp_path / "t.fits", overwrite=True)
    with pytest.raises(DataError, match="are both jwst_f444w"):
        read_sample(config)
    with pytest.raises(DataError, match="or the like"):
        read_sample(CatalogConfig(kind="table", path="t.fits", band_columns=("f_{band}",)))


def band_config(tmp_path, table, name="t.ecsv", unit="", **entry):
    """A catalog whose columns flux and error are one filter's; f2 and e2, in uJy, another's."""
    table["id"], table["zred"] = np.arange(len(table)), 1.0
    table["f2"], table["e2"] = 3.0, 0.3
    table["f2"].unit = "uJy"
    table.write(tmp_path / name, format="votable" if name.endswith("xml") else None)
    bands = {
        "vista_vircam_Ks": {"flux": "flux", "error": "error", **entry},
        "subaru_suprimecam_B": {"flux": "f2", "error": "e2"},
    }
    return CatalogConfig(kind="table", path=str(tmp_path / name), unit=unit, bands=bands)


@pytest.mark.parametrize("name", ["t.ecsv", "t.fits", "t.xml"])
def test_each_column_keeps_its_own_unit(tmp_path, name):
    """nJy was read as uJy, and the error's unit never: 1000 times off."""
    table = Table({"flux": [2500.0], "error": [0.1]})
    table["flux"].unit, table["error"].unit = "nJy", "uJy"
    obs = read_sample(band_config(tmp_path, table, name)).make(0)
    np.testing.assert_allclose(obs["maggies"], np.array([2.5, 3.0]) / 3631e6, rtol=1e-12)
    np.testing.assert_allclose(
        obs["maggies_unc_catalog"], np.array([0.1, 0.3]) / 3631e6, rtol=1e-12
    )


@pytest.mark.parametrize(
    ("units", "unit", "entry", "message"),
    [
        (("nJy", "nJy"), "uJy", {}, "flux in 'nJy' but the unit 'uJy'.* leave catalog.unit out"),
        (("mag", "mag"), "uJy", {}, "flux in 'mag' but the unit 'uJy'"),
        (("nJy", "nJy"), "", {"unit": "uJy"}, r"leave catalog.bands.vista_vircam_Ks.unit out"),
        (("uJy", "mag"), "", {}, "'flux' in 'uJy' and 'error' in 'mag'; either both or neither"),
        ((None, None), "", {}, "does not say the unit of column 'flux'"),
        (("uJy", None), "", {"floor": -1}, "floor = -1 is not a fraction"),
        (("uJy", None), "", {"floor": float("nan")}, "floor = nan is not a fraction"),
        (("uJy", None), "", {"floor": "0.1"}, "floor = '0.1' is not a fraction"),
        (("uJy", None), "", {"flux": 3}, "vista_vircam_Ks.flux = 3 must be a text"),
    ],
)
def test_units_and_floors_of_bands_are_checked(tmp_path, units, unit, entry, message):
    table = Table({"flux": [2500.0], "error": [0.1]})
    table["flux"].unit, table["error"].unit = units
    with pytest.raises(DataError, match=message):
        config = band_config(tmp_path, table, unit=unit)
        config.bands["vista_vircam_Ks"].update(entry)
        read_sample(config)


def test_flags_of_bands(tmp_path):
    table = Table({"flux": [1.0, 2.0], "error": [0.1, 0.1]})
    table["flux"].unit = "uJy"
    table["ok"], table["lim"] = [True, False], [True, False]
    sample = read_sample(band_config(tmp_path, table, use="ok", upper_limit="lim"))
    first, second = sample.make(0), sample.make(1)
    assert first["phot_mask"].all() and first["upper_limits"].tolist() == [True, False]
    assert second["phot_mask"].tolist() == [False, True]
    assert "vista_vircam_Ks is masked: ok is false." in second["notes"]
    kept = fingerprints.photometry_of(first)
    assert kept["upper_limits"].tolist() == [True, False]
    assert work.obs_of(kept)["upper_limits"].tolist() == [True, False]
    out = [fingerprints.fingerprint_of(fingerprints.Key("e", "g", 0), 1, FitConfig(), p, {}, {})
           for p in (kept, {k: v for k, v in kept.items() if k != "upper_limits"})]  # fmt: skip
    assert fingerprints.changed_fields(*out) == ["data.upper_limits"]


@pytest.mark.parametrize("value", [-99.0, -99.9, -9999.0, 98.99, 99.0])
def test_placeholders_of_a_catalog(tmp_path, value):
    table = Table({"flux": [value, 2.0], "error": [0.1, 0.1]})
    table["flux"].unit = "uJy"
    sample = read_sample(band_config(tmp_path, table))
    assert [list(sample.make(i)["phot_mask"]) for i in (0, 1)] == [[False, True], [True, True]]


@pytest.mark.parametrize(
    ("ids", "wanted", "name"),
    [
        (["NGC 1068", "M 31"], ["NGC 1068", "M 31"], "t.csv"),
        (["NGC 1068", "M 31"], ["NGC 1068", "M 31"], "t.fits"),
        (["007", "1e5"], ["007", "1e5"], "t.csv"),
        ([90052.0, 3.0], ["90052", "3"], "t.fits"),
        ([2**60 + 1, 3], [str(2**60 + 1), "3"], "t.ecsv"),
    ],
)
def test_ids_are_kept(tmp_path, ids, wanted, name):
    config = table_config(tmp_path, name)
    table = read_table(tmp_path / name)
    table["name"] = ids
    table.write(tmp_path / name, overwrite=True)
    assert list(read_sample(config).ids) == wanted


def test_a_missing_id_is_refused(tmp_path):
    table = Table({"flux": [1.0, 2.0], "error": [0.1, 0.1]})
    table["flux"].unit = "uJy"
    config = band_config(tmp_path, table)
    table["id"] = MaskedColumn([1, 2], mask=[False, True])
    table.write(config.path, overwrite=True)
    with pytest.raises(DataError, match="row 2 has no id in column 'id'"):
        read_sample(config)


@pytest.mark.parametrize(
    ("kind", "setting", "value"),
    [
        ("table", "zeropoints", {}), ("table", "mask_lyman_alpha", True), ("mocks", "unit", "mgy"),
        ("table", "mask_negative", 3.0), ("table", "mips_factor", 1.0), ("table", "field", "uds"),
        ("3dhst", "unit", "mgy"), ("3dhst", "bands", {}), ("3dhst", "id_column", "id"),
    ],
)  # fmt: skip
def test_settings_of_another_kind_are_refused(kind, setting, value):
    catalog = {"kind": kind, "path": "x", setting: value}
    with pytest.raises(SetupError, match=f"catalog.{setting} does nothing for .* '{kind}'"):
        parse_config({"catalog": catalog, "emulators": ["e"], "output": "o"})


def test_selection_of_many_is_quick():
    """5,000 of 100,000 took 29 s; now the time is linear. The choice is as before."""
    n, limit = 100_000, 5000
    sample = SimpleNamespace(
        ids=tuple(map(str, range(n))), table=Table(), zred=np.ones(n), free=None,
        make=lambda row: {"phot_mask": np.ones(9, bool)},
    )  # fmt: skip
    config = SimpleNamespace(ids=(), equal={}, range={}, limit=limit, seed=3, min_bands=5)
    began = time.process_time()
    rows, _, left_out = catalogs.select(sample, config)
    assert time.process_time() - began < 10  # a second or two; only the quadratic one fails
    wanted = np.sort(np.random.default_rng(3).permutation(n)[:limit])
    assert rows == wanted.tolist() and len(left_out) == n - limit


def test_a_repeated_id_among_many(tmp_path):
    """73 s for 100,000 rows once."""
    n = 100_000
    table = Table({"flux": np.ones(n), "error": np.ones(n)})
    table["flux"].unit = "uJy"
    config = band_config(tmp_path, table, "t.fits")
    table["id"][1000:2000] = np.arange(1000)
    table.write(config.path, overwrite=True)
    began = time.process_time()
    with pytest.raises(DataError, match="more than once"):
        read_sample(config)
    assert time.process_time() - began < 20


def test_selection_by_another_type_is_refused():
    sample = SimpleNamespace(table=Table({"use": [1, 0]}), zred=np.ones(2), free=None)
    for kwargs, message in (
        ({"equal": {"use": "1"}, "range": {}}, "select.equal.use = '1', but that column holds"),
        ({"equal": {}, "range": {"name": [0, 1]}}, "'name' holds text"),
    ):
        sample.table["name"] = ["a", "b"]
        with pytest.raises(DataError, match=message):
            catalogs._tests(sample, SimpleNamespace(**kwargs), None)


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
            "fit": {
                "nlive": 40,
                "walks": 5,
                "dlogz": 3.0,
                "n_eff": 10,
                "max_batch": 0,
                "max_error": 9.0,
            },
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
    sample = SimpleNamespace(table=read, zred=np.ones(3), free=None)
    tests = catalogs._tests(sample, SimpleNamespace(equal={"flag": wanted}, range={}), None)
    failed = np.any([bad for bad, _ in tests], axis=0)
    np.testing.assert_array_equal(failed, [False, True, True])
    assert "flag is missing" in [say(2) for bad, say in tests if bad[2]]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (np.array([1, 0], bool), "holds bool values, no numbers"),
        (np.ones((2, 3)), "holds 3 values a row"),
        (np.array([0.5, 1.0]) * u.km / u.s, "is in km / s, and what it should hold has no unit"),
        (["0.5", "about 1"], "holds text where a number should be"),
    ],
)
def test_columns_that_hold_no_redshifts(tmp_path, column, message):
    config = band_config(tmp_path, Table({"flux": [1.0, 2.0], "error": [0.1, 0.1]}), unit="uJy")
    table = Table.read(tmp_path / "t.ecsv")
    table["zred"] = column
    table.write(tmp_path / "t.ecsv", overwrite=True)
    with pytest.raises(DataError, match=message):
        read_sample(config)


def test_redshifts_that_are_none(tmp_path):
    """-1, -99, 99, nothing and words for it: each left out with its reason."""
    words = ["-1", "-99", "99", "", "--", "n/a", "0", "inf", "0.7"]
    lines = [f"{i},{z},1.0,0.1" for i, z in enumerate(words)]
    (tmp_path / "t.csv").write_text("id,zred,f,e\n" + "\n".join(lines))
    bands = {"vista_vircam_Ks": {"flux": "f", "error": "e", "unit": "uJy"}}
    sample = read_sample(CatalogConfig(kind="table", path=str(tmp_path / "t.csv"), bands=bands))
    rows, _, left_out = select(sample, SelectConfig(min_bands=1))
    assert rows == [8] and len(left_out) == 8
    assert all(why.startswith("no redshift") for _, why in left_out)


@pytest.mark.parametrize("ids", [np.array([1.0, np.nan]), np.ones((2, 2)), ["a", " "]])
def test_ids_that_are_none(tmp_path, ids):
    config = band_config(tmp_path, Table({"flux": [1.0, 2.0], "error": [0.1, 0.1]}), unit="uJy")
    table = Table.read(tmp_path / "t.ecsv")
    table["id"] = ids
    table.write(tmp_path / "t.ecsv", overwrite=True)
    with pytest.raises(DataError, match=r"has no id in column 'id'|holds 2 values a row"):
        read_sample(config)


@pytest.mark.parametrize("value", [[1, 2], float("nan"), {"a": 1}])
def test_selection_by_several_values_is_refused(value):
    """A list was compared with the column entry by entry."""
    data = {"catalog": {"kind": "3dhst", "path": "x"}, "emulators": ["e"], "output": "o"}
    with pytest.raises(SetupError, match=r"select.equal.q = .* must be one text, number or truth"):
        parse_config({**data, "select": {"equal": {"q": value}}})
