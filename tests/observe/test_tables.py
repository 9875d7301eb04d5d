"""Photometry tables: units against astropy.units, metadata, masks, bad input, round trips."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from sedpy import observate

from prospect_emu.errors import DataError, FilterError
from prospect_emu.observe import tables
from prospect_emu.observe.flux_units import flux_unit, to_maggies
from prospect_emu.observe.table_files import write_table
from prospect_emu.observe.tables import photometry_table, read_photometry

BANDS = ["acs_wfc_f814w", "wfc3_ir_f160w", "spitzer_irac_ch1"]
FLUX = np.array([1.3, -0.2, 7.5])
ERROR = np.array([0.1, 0.15, 0.4])


def make_table(flux=FLUX, error=ERROR, bands=BANDS, unit="uJy", error_unit=None, **meta):
    table = Table({"band": bands, "flux": flux, "error": error}, meta={"zred": 1.1, **meta})
    table["flux"].unit = unit
    table["error"].unit = error_unit or unit
    return table


@pytest.fixture
def write(tmp_path):
    """Writes a table; its format follows the ending."""

    def write(table, name="t.ecsv"):
        path = tmp_path / name
        kind = {"ecsv": "ascii.ecsv", "csv": "ascii.csv", "fits": "fits"}[name.split(".")[-1]]
        table.write(path, format=kind)
        return path

    return write


# ---- units: reference astropy.units, with Prospector's 1 maggie = 3631 Jy -----------


@pytest.mark.parametrize("unit", ["Jy", "mJy", "uJy", "nJy", "erg / (s cm2 Hz)"])
def test_jansky_like_astropy(unit):
    maggies = (2.5 * u.Unit(unit)).to(u.mgy, u.zero_point_flux(3631.0 * u.Jy)).value
    # One multiplication more or less: rounding only.
    assert 2.5 * flux_unit(unit) == pytest.approx(maggies, rel=1e-14)


@pytest.mark.parametrize("unit", ["mgy", "maggy", "maggies"])
def test_maggies_are_taken_as_they_are(unit):
    assert flux_unit(unit) == 1.0
    assert flux_unit("nmgy") == pytest.approx(1e-9, rel=1e-15)


@pytest.mark.parametrize("unit", ["mag", "mag(AB)", "ABmag", "AB mag"])
def test_magnitudes_like_astropy(unit):
    assert flux_unit(unit) is None
    mags = np.array([18.0, 22.5, 29.9])
    maggies, _ = to_maggies(mags, 0.1 * np.ones(3), None, None)
    ab = (mags * u.ABmag).to(u.ABflux).value
    np.testing.assert_allclose(maggies, ab, rtol=1e-13)  # rounding of 10**x


def test_magnitude_errors():
    """To first order in the error: 1e-4 mag against a finite difference, to its own order."""
    m, s = np.array([24.0]), np.array([1e-4])
    maggies, unc = to_maggies(m, s, None, None)
    difference = (10 ** (-0.4 * (m - s)) - 10 ** (-0.4 * (m + s))) / 2
    np.testing.assert_allclose(unc, difference, rtol=1e-8)
    assert unc / maggies == pytest.approx(0.4 * np.log(10) * 1e-4, rel=1e-12)


def test_placeholder_magnitudes_are_masked(write):
    path = write(make_table([22.0, 99.0, -99.0], [0.1, 99.0, 99.0], unit="mag"))
    obs = read_photometry(path)
    assert obs["phot_mask"].tolist() == [True, False, False]
    assert [n.split()[0] for n in obs["notes"]] == BANDS[1:]


@pytest.mark.parametrize("unit", ["parrots", "adu", "mag(ST)", "AB", "dex(Jy)", ""])
def test_unknown_unit(unit):
    with pytest.raises(DataError, match="unknown; use maggies"):
        flux_unit(unit)


# ---- reading --------------------------------------------------------------------------


def test_obs_is_ready_for_prospector(write):
    obs = read_photometry(write(make_table(truth={"logmass": 10.5})), error_floor=0.1)
    np.testing.assert_allclose(obs["maggies"], FLUX * 1e-6 / 3631.0, rtol=1e-14)
    expected = np.hypot(ERROR, 0.1 * FLUX) * 1e-6 / 3631.0
    np.testing.assert_allclose(obs["maggies_unc"], expected, rtol=1e-14)
    np.testing.assert_allclose(obs["maggies_unc_catalog"], ERROR * 1e-6 / 3631.0, rtol=1e-14)
    assert [f.name for f in obs["filters"]] == BANDS
    assert obs["phot_mask"].all() and obs["notes"] == []
    assert obs["wavelength"] is obs["spectrum"] is obs["unc"] is None
    assert (obs["zred"], obs["error_floor"]) == (1.1, 0.1)
    assert obs["truth"] == {"logmass": 10.5}


@pytest.mark.parametrize("unit", ["mgy", "uJy", "mag(AB)", "mag", "ABmag"])
def test_formats_agree(tmp_path, unit):
    """The same table as FITS (written by astropy's FITS layer) and as CSV."""
    flux = np.array([20.0, 21.0, 22.0])
    columns = [
        fits.Column("BAND", "20A", array=BANDS),
        fits.Column("FLUX", "D", unit=unit, array=flux),
        fits.Column("ERROR", "D", unit=unit, array=ERROR),
    ]
    hdu = fits.BinTableHDU.from_columns(columns)
    hdu.header["ZRED"] = 0.9
    hdu.writeto(tmp_path / "t.fits")
    rows = [f"{b},{f},{e}" for b, f, e in zip(BANDS, flux, ERROR, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join([f"band,flux [{unit}],error", *rows]))
    one, two = read_photometry(tmp_path / "t.fits"), read_photometry(tmp_path / "t.csv", zred=0.9)
    assert one["zred"] == two["zred"]
    for key in ("maggies", "maggies_unc"):
        np.testing.assert_array_equal(one[key], two[key])


def test_aliases_and_mixed_units(write):
    table = make_table(error=ERROR * 1e3, error_unit="nJy")
    table.rename_columns(["band", "flux", "error"], ["Filter", "FNU", "flux_err"])
    np.testing.assert_allclose(
        read_photometry(write(table))["maggies_unc_catalog"], ERROR * 1e-6 / 3631.0, rtol=1e-13
    )


def test_unit_option(write):
    table = make_table()
    table["flux"].unit = table["error"].unit = None
    path = write(table)
    obs = read_photometry(path, unit="uJy")
    np.testing.assert_allclose(obs["maggies"], FLUX * 1e-6 / 3631.0, rtol=1e-14)
    with pytest.raises(DataError, match="does not say the unit of column 'flux'"):
        read_photometry(path)


def test_option_does_not_override_the_table(write):
    with pytest.raises(DataError, match="gives the flux in 'uJy' but the unit 'mJy'"):
        read_photometry(write(make_table()), unit="mJy")


def test_redshift_argument_wins(write):
    assert read_photometry(write(make_table()), zred=2.0)["zred"] == 2.0


def test_bad_bands_are_masked_and_said(write):
    obs = read_photometry(write(make_table([np.nan, 1.0, 2.0], [0.1, 0.0, 0.2])))
    assert obs["phot_mask"].tolist() == [False, False, True]
    assert obs["notes"] == [
        "acs_wfc_f814w is masked: it has no flux (not a number, or a placeholder such as -99).",
        "wfc3_ir_f160w is masked: its error is not a positive number.",
    ]


def test_negative_flux_is_kept(write):
    obs = read_photometry(write(make_table()))
    assert obs["maggies"][1] < 0 and obs["phot_mask"][1]


def test_masked_entries_of_a_table(write):
    table = make_table()
    table = Table(table, masked=True)
    table["flux"].mask = [True, False, False]
    assert read_photometry(write(table))["phot_mask"].tolist() == [False, True, True]


# ---- round trips ------------------------------------------------------------------------


def test_round_trip_is_exact(write, tmp_path):
    obs = read_photometry(write(make_table(FLUX / 3.0, truth={"logmass": 1 / 3})))
    write_table(photometry_table(obs), tmp_path / "again.ecsv")
    again = read_photometry(tmp_path / "again.ecsv")
    for key in ("maggies", "maggies_unc", "maggies_unc_catalog", "phot_mask"):
        np.testing.assert_array_equal(again[key], obs[key])
    assert (again["zred"], again["truth"]) == (obs["zred"], obs["truth"])


# ---- bad input: one sentence each ---------------------------------------------------------


def _one_sentence(error, *words):
    text = str(error.value)
    assert "\n" not in text and all(w in text for w in words), text


# ---- columns of flags, placeholders ---------------------------------------------------


@pytest.mark.parametrize("name", ["t.ecsv", "t.csv", "t.fits"])
def test_use_and_upper_limit_are_honoured(write, name):
    """By hand: the first band is not fitted, the third is a limit; both survive a round trip."""
    table = make_table()
    table.rename_columns(["flux", "error"], ["flux [uJy]", "error [uJy]"])
    table["use"], table["upper_limit"] = [False, True, True], [False, False, True]
    table["weight"], table["comment"] = 1.0, "x"
    obs = read_photometry(write(table, name), zred=1.0)
    assert obs["phot_mask"].tolist() == [False, True, True]
    assert obs["upper_limits"].tolist() == [False, False, True]
    assert obs["notes"] == [
        "acs_wfc_f814w is masked: use is false.",
        "Columns that are not used: comment, weight.",
    ]
    assert photometry_table(obs)["upper_limit"].tolist() == [False, False, True]


def test_a_column_that_could_mean_both_is_refused(write):
    table = make_table()
    table["mask"] = [False, True, True]
    with pytest.raises(
        DataError, match="'mask' is true where a band is fitted, or where it is not"
    ):
        read_photometry(write(table))


def test_flags_that_are_no_flags(write):
    table = make_table()
    table["use"] = ["yes", "no", "perhaps"]
    with pytest.raises(DataError, match="'use' holds 'perhaps'; use true and false"):
        read_photometry(write(table))


@pytest.mark.parametrize("value", [-99, -99.0, -99.9, -999, -9999, 98.99, 99, 99.9, 9999])
@pytest.mark.parametrize("dtype", [float, np.float32])
def test_placeholder_fluxes_are_masked(write, value, dtype):
    """With any error, as catalogs also write them; the other bands are as given."""
    obs = read_photometry(write(make_table(np.array([1.3, value, 7.5], dtype))))
    assert obs["phot_mask"].tolist() == [True, False, True]
    assert "placeholder" in obs["notes"][0]
    assert obs["maggies"][2] == pytest.approx(7.5e-6 / 3631.0, rel=1e-7)


@pytest.mark.parametrize(("mag", "error"), [(98.99, 0.1), (-99.9, 0.1), (0.0, 0.1), (22.0, 99.0)])
def test_placeholder_magnitudes_with_plausible_errors(write, mag, error):
    obs = read_photometry(write(make_table([22.0, mag, 23.0], [0.1, error, 0.1], unit="mag")))
    assert obs["phot_mask"].tolist() == [True, False, True]


def test_unknown_filter(write):
    with pytest.raises(FilterError) as err:
        read_photometry(
            write(make_table(bands=["acs_wfc_f814w", "wfc3_f160w", "spitzer_irac_ch1"]))
        )
    _one_sentence(err, "'wfc3_f160w'", "wfc3_ir_f160w")


def test_all_masked(write):
    with pytest.raises(DataError) as err:
        read_photometry(write(make_table([np.nan] * 3)))
    _one_sentence(err, "All bands are masked")


def test_duplicate_bands(write):
    with pytest.raises(DataError) as err:
        read_photometry(write(make_table(bands=[BANDS[0], BANDS[1], BANDS[0]])))
    _one_sentence(err, "more than one row for acs_wfc_f814w")


@pytest.mark.parametrize("zred", [-1.0, 0.0, np.nan, "unknown", True])
def test_bad_redshift(write, zred):
    with pytest.raises(DataError) as err:
        read_photometry(write(make_table(zred=zred)))
    _one_sentence(err, "not a positive number", "--zred")


def test_no_redshift(write):
    table = make_table()
    del table.meta["zred"]
    with pytest.raises(DataError) as err:
        read_photometry(write(table))
    _one_sentence(err, "holds no redshift", "--zred")


def test_flux_in_magnitudes_with_error_in_flux(write):
    with pytest.raises(DataError) as err:
        read_photometry(write(make_table(unit="mag", error_unit="uJy")))
    _one_sentence(err, "'mag'", "'uJy'", "both or neither")


def test_missing_and_ambiguous_columns(write):
    table = make_table()
    table.rename_column("flux", "brightness")
    with pytest.raises(DataError, match="no column for the flux"):
        read_photometry(write(table, "a.ecsv"))
    table["flux"], table["mag"] = FLUX, FLUX
    with pytest.raises(DataError, match="2 columns for the flux: flux, mag"):
        read_photometry(write(table, "b.ecsv"))


def test_text_in_a_number_column(tmp_path):
    (tmp_path / "t.csv").write_text("band,flux [uJy],error\nacs_wfc_f814w,bright,0.1\n")
    with pytest.raises(DataError) as err:
        read_photometry(tmp_path / "t.csv", zred=1.0)
    _one_sentence(err, "'flux [uJy]'", "text")


@pytest.mark.parametrize(
    "content", [b"", b"\x00\x01\x02", b"# %ECSV 1.0\n# ---\n# broken", b"SIMPLE"]
)
def test_unreadable_file(tmp_path, content):
    (tmp_path / "t.ecsv").write_bytes(content)
    with pytest.raises(DataError) as err:
        read_photometry(tmp_path / "t.ecsv")
    _one_sentence(err, "t.ecsv")


def test_missing_file(tmp_path):
    with pytest.raises(DataError) as err:
        read_photometry(tmp_path / "none.ecsv")
    _one_sentence(err, "Cannot read", "none.ecsv")


@pytest.mark.parametrize("floor", [-0.1, np.nan, "5%", None])
def test_bad_error_floor(write, floor):
    with pytest.raises(DataError, match="not a fraction"):
        read_photometry(write(make_table()), error_floor=floor)


def test_every_alias_belongs_to_one_role():
    names = [name for role in tables.ALIASES.values() for name in role]
    assert len(names) == len(set(names))


# ---- what else a table may hold -----------------------------------------------------------


def test_capital_units():
    """FITS headers in capitals."""
    assert flux_unit("UJY") == flux_unit("uJy") and flux_unit("ABMAG") is None
    for unit in ("MJY", "mjy", "Jy/beam", "mag(ST)", "Vega", "ct/s"):  # milli or mega?
        with pytest.raises(DataError, match="is unknown"):
            flux_unit(unit)


def test_zero_points_vega_and_fluxes_per_wavelength(tmp_path):
    """Against sedpy's zero points of the filters, and astropy at their pivot wavelengths."""
    filters = [observate.Filter(b) for b in BANDS]
    table = Table({"band": BANDS, "flux": [20.0, 21.0, 22.0], "error": [0.1, 0.1, 0.1]})
    path = tmp_path / "t.ecsv"

    def maggies(unit):
        table.write(path, overwrite=True)
        return read_photometry(path, 1.0, unit=unit, error_floor=0.0)

    ab, vega = maggies("mag"), maggies("mag(Vega)")
    off = -2.5 * np.log10(vega["maggies"] / ab["maggies"])
    np.testing.assert_allclose(off, [-f.ab_to_vega for f in filters], atol=1e-12)
    np.testing.assert_allclose(vega["maggies_unc"] / vega["maggies"], 0.0921034, rtol=1e-6)
    np.testing.assert_allclose(maggies("zp 25")["maggies"], np.array([20, 21, 22]) * 1e-10)
    unit = "1e-19 erg/s/cm2/AA"
    want = [
        (v * u.Unit(unit)).to_value(u.Jy, u.spectral_density(f.wave_pivot * u.AA)) / 3631.0
        for v, f in zip(table["flux"], filters, strict=True)
    ]
    np.testing.assert_allclose(maggies(unit)["maggies"], want, rtol=1e-12)


@pytest.mark.parametrize("kind", ["fits", "ascii.ecsv", "votable"])
@pytest.mark.parametrize("dtype", ["i2", "i8", "u1", "f4", "f8", "U5"])
def test_masked_columns_of_every_type(tmp_path, kind, dtype):
    """A masked flux or error masks its band, whatever lies under the mask."""
    if (kind, dtype) == ("fits", "u1"):
        pytest.skip("astropy writes no masked unsigned bytes")
    table = make_table(bands=[*BANDS, "wfc3_ir_f125w"], flux=np.arange(1.0, 5.0), error=np.ones(4))
    for name, mask in (("flux", [0, 1, 0, 0]), ("error", [0, 0, 1, 0])):
        values = np.round(table[name]).astype(int).astype(dtype)
        table[name] = MaskedColumn(values, mask=np.array(mask, bool), unit="uJy")
    table.write(tmp_path / "t", format=kind)
    obs = read_photometry(tmp_path / "t", zred=1.0)
    assert list(obs["phot_mask"]) == [True, False, False, True]
    np.testing.assert_allclose(obs["maggies"][[0, 3]], np.array([1, 4]) / 3631e6, rtol=1e-12)
    np.testing.assert_allclose(
        obs["maggies_unc_catalog"][[0, 3]], np.array([1, 1]) / 3631e6, rtol=1e-12
    )


@pytest.mark.parametrize("values", [np.array([1, 0, 1], bool), np.array([1, 2, 3], complex)])
def test_columns_that_hold_no_numbers(write, values):
    table = make_table()
    table["flux"] = values
    table["flux"].unit = "uJy"
    with pytest.raises(DataError, match=r"column 'flux' holds .* values, no numbers"):
        read_photometry(write(table, "t.fits"), zred=1.0)


def test_fortran_exponents(tmp_path):
    path = tmp_path / "t.dat"
    path.write_text(f"band flux error\n{BANDS[0]} 1.25D-1 5.d-02\n{BANDS[1]} -2.5d+0 1\n")
    obs = read_photometry(path, zred=1.0, unit="uJy")
    np.testing.assert_allclose(obs["maggies"] * 3631e6, [0.125, -2.5], rtol=1e-12)
    np.testing.assert_allclose(obs["maggies_unc_catalog"] * 3631e6, [0.05, 1.0], rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("band,flux,error,flux\nacs_wfc_f814w,1,1,9\n", "more than one column 'flux'"),
        ("band,flux,error\nacs_wfc_f814w,<3.5,1\n", "a column upper_limit for limits"),
        ("band,flux,error\n--,3.5,1\n", "row 1 names no band"),
        ("band;flux;error\nacs_wfc_f814w;3,5;1\n", "a point for decimals"),
    ],
)
def test_ambiguous_text_is_refused(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_photometry(tmp_path / "t.csv", zred=1.0, unit="uJy")


def test_metadata_with_two_redshifts(write):
    path = write(make_table(redshift=0.9))
    with pytest.raises(DataError, match=r"holds zred = 1.1, redshift = 0.9; keep one"):
        read_photometry(path)
    assert read_photometry(path, zred=0.5)["zred"] == 0.5


@pytest.mark.parametrize(
    ("keep", "message"), [(3000, "holds no table"), (5800, "not a readable FITS table")]
)
def test_torn_fits(write, tmp_path, keep, message):
    torn = tmp_path / "torn.fits"
    torn.write_bytes(write(make_table(), "t.fits").read_bytes()[:keep])
    with pytest.raises(DataError, match=message):
        read_photometry(torn, zred=1.0)


def test_text_tables_are_written_as_astropy_writes_them(tmp_path):
    """The quick way gives the very table that astropy's own writer gives."""
    table = Table({"a b": ["x y", 'q"', "1", "é"], "f": [1.0, np.nan, -np.inf, 1e-300]})
    table["i"], table["yes"] = [1, -2, 2**62, 0], [True, False, True, True]
    table["s"] = np.array([0.1, 1, 2, 3], dtype="f4")
    table["f"].unit = "uJy"
    table.meta["z"] = {"k": [1.5, "x"]}
    write_table(table, tmp_path / "ours.ecsv")
    table.write(tmp_path / "theirs.ecsv", format="ascii.ecsv")
    ours, theirs = (Table.read(tmp_path / f"{n}.ecsv") for n in ("ours", "theirs"))
    assert ours.meta == theirs.meta == table.meta and ours["f"].unit == u.uJy
    for name in table.colnames:
        assert ours[name].dtype == theirs[name].dtype == table[name].dtype
        np.testing.assert_array_equal(ours[name], table[name])
        np.testing.assert_array_equal(ours[name], theirs[name])
