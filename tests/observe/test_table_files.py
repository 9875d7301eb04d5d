"""Tables as users have them: each format and each habit of writing one gives the same numbers."""

import bz2
import gzip
import io
import lzma

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, QTable, Table
from astropy.time import Time

from prospect_emu.errors import DataError
from prospect_emu.observe.table_files import numbers, read_table, table_name
from prospect_emu.observe.tables import read_photometry

BANDS = ["acs_wfc_f814w", "wfc3_ir_f160w", "spitzer_irac_ch1"]
ROWS = "acs_wfc_f814w 1.3 0.1", "wfc3_ir_f160w 2.5 0.15", "spitzer_irac_ch1 7.5 0.4"
WANTED = np.array([1.3, 2.5, 7.5]) * 1e-6 / 3631.0
HEAD = "band flux error"


def lines(delimiter, head=HEAD, rows=ROWS):
    return [x.replace(" ", delimiter) for x in (head, *rows)]


TEXTS = {
    "comma": lines(","),
    "semicolon": lines(";"),
    "tab": lines("\t"),
    "blank": lines("   "),
    "header in a comment": ["# from a paper", "#", "#band  flux error", *ROWS],
    "commas, header in a comment": ["# " + HEAD.replace(" ", ","), *lines(",")[1:]],
    "comments and empty rows": [
        "# my galaxy",
        "",
        *lines(",")[:2],
        ",,",
        "# more",
        *lines(",")[2:],
        "",
    ],
    "units in the second row": [lines(",")[0], ",uJy,uJy", *lines(",")[1:]],
    "units in brackets": [lines(",")[0], ",[uJy],[uJy]", *lines(",")[1:]],
    "header and units in comments": ["# " + HEAD, "# - uJy uJy", *ROWS],
    "units in the names": ["band flux [uJy] error (uJy)", *ROWS],
    "rules between lines": ["==== ==== ====", HEAD, "---- ---- ----", *ROWS, "==== ==== ===="],
    "quoted": ['"band","flux","error"', *lines(",")[1:]],
}


@pytest.mark.parametrize("name", ["t.csv", "t.txt", "t", "my.fitted.csv", "J1000.5+02.dat"])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_text_tables(tmp_path, text, name):
    if "my" in name or text is TEXTS["comma"]:
        (tmp_path / name).write_text("\n".join(text))
    else:
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + "\r\n".join(text).encode())  # of Windows
    obs = read_photometry(tmp_path / name, zred=1.0, unit="uJy")
    np.testing.assert_allclose(obs["maggies"], WANTED, rtol=1e-14)
    assert [f.name for f in obs["filters"]] == BANDS and obs["phot_mask"].all()


@pytest.mark.parametrize("kind", ["fits", "votable", "ascii.ipac", "ascii.ecsv"])
@pytest.mark.parametrize("packed", [None, gzip, bz2, lzma])
def test_formats_with_units(tmp_path, kind, packed):
    """Told by the content: the name says nothing. Units and missing values arrive."""
    table = Table.read([HEAD, *ROWS], format="ascii.basic")
    table["flux"].unit, table["error"].unit = "nJy", "nJy"
    path = tmp_path / "galaxy.data"
    table.write(path, format=kind)
    if packed:
        path.write_bytes(packed.compress(path.read_bytes()))
    obs = read_photometry(path, zred=1.0)
    np.testing.assert_allclose(obs["maggies"], WANTED / 1e3, rtol=1e-14)
    assert obs["flux_unit"] == "nJy"


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
def test_signs_outside_ascii(tmp_path, encoding):
    """An Angstrom sign in a comment, and (where the encoding has it) a typeset minus."""
    minus = "-" if encoding == "latin-1" else "\N{MINUS SIGN}"
    text = f"# mean wavelength in \xc5\n{HEAD}\nacs_wfc_f814w {minus}1.3 0.1\n"
    (tmp_path / "t.dat").write_bytes(text.encode(encoding))
    flux = read_photometry(tmp_path / "t.dat", zred=1.0, unit="uJy")["maggies"]
    np.testing.assert_allclose(flux, -WANTED[:1], rtol=1e-14)


def test_text_called_fits(tmp_path):
    (tmp_path / "t.fits").write_text("\n".join(TEXTS["comma"]))
    assert read_table(tmp_path / "t.fits").colnames == HEAD.split()


def test_missing_values_in_text(tmp_path):
    (tmp_path / "t.csv").write_text("band,flux,error\na,,1\nb,--,1\nc,N/A,1\nd,null,1\ne,2,1\n")
    table = read_table(tmp_path / "t.csv")
    assert table["flux"].mask.tolist() == [True, True, True, True, False]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04\x00\xff", "write it as FITS, ECSV, VOTable"),
        (b"acs_wfc_f814w,1.3,0.1\n", "no line with the names of its 3 columns"),
        (b"# nothing\n\n", "no rows"),
        (b"PK\x03\x04 a workbook", "is not a table of a known kind"),
        (b"band,flux\na,1,2,3\n", "not a readable TEXT table"),
        (b"<html><body>404</body></html>", "is not a table of a known kind"),
        (b'{"band": ["a"], "flux": [1]}', "is not a table of a known kind"),
        (gzip.compress(b"band,flux", mtime=0)[:12] + b"\xff" * 32, "Cannot read"),
    ],
)
def test_what_cannot_be_read_says_so(tmp_path, content, message):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / "t.csv")


def test_fits_with_several_tables_asks(tmp_path):
    """A table of stars before that of the galaxy was read without a word."""
    hdus = [fits.PrimaryHDU()]
    for name, scale in (("STARS", 1.0), ("PHOT", 2.0)):
        t = Table({"band": BANDS, "flux": scale * np.arange(1, 4), "error": [0.1] * 3})
        hdus.append(fits.BinTableHDU(t, name=name))
    fits.HDUList(hdus).writeto(tmp_path / "t.fits")
    with pytest.raises(DataError, match=r"holds 2 tables: 1 \(STARS\), 2 \(PHOT\); name one"):
        read_table(tmp_path / "t.fits")
    for word in ("2", "PHOT", "phot"):
        table = read_table(f"{tmp_path}/t.fits[{word}]")
        assert table["flux"].tolist() == [2.0, 4.0, 6.0] and table["band"].tolist() == BANDS
    with pytest.raises(DataError, match="holds 2 tables"):
        read_table(f"{tmp_path}/t.fits[3]")
    with pytest.raises(DataError, match="holds one table; leave out"):
        (tmp_path / "t.csv").write_text("a,b\n1,2\n")
        read_table(f"{tmp_path}/t.csv[1]")


def test_votable_with_several_tables(tmp_path):
    from astropy.io.votable.tree import Resource, VOTableFile

    both = VOTableFile()
    both.resources.append(Resource())
    for name, value in (("stars", 1), ("phot", 2)):
        one = VOTableFile.from_table(Table({"flux": [value]}))
        element = one.get_first_table()
        element.ID = name
        both.resources[0].tables.append(element)
    both.to_xml(str(tmp_path / "t.xml"))
    with pytest.raises(DataError, match="table"):
        read_table(tmp_path / "t.xml")
    assert read_table(f"{tmp_path}/t.xml[phot]")["flux"].tolist() == [2]


def test_text_of_fits_is_text(tmp_path):
    """Bytes that are no ASCII do no harm either."""
    raw = np.array([(b"NGC 1068", 1.0), (b"caf\xe9", 2.0)], dtype=[("id", "S8"), ("z", "f8")])
    fits.BinTableHDU(raw).writeto(tmp_path / "t.fits")
    assert read_table(tmp_path / "t.fits")["id"].tolist() == ["NGC 1068", "caf\ufffd"]


def test_columns_kept_as_text(tmp_path):
    (tmp_path / "t.csv").write_text("id,z\n007,1\n1e5,2\n")
    assert read_table(tmp_path / "t.csv", text=["id"])["id"].tolist() == ["007", "1e5"]


def test_vector_columns_are_refused(tmp_path):
    values = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    Table({"band": BANDS, "flux": values, "error": [1.0] * 3}).write(tmp_path / "t.fits")
    with pytest.raises(DataError, match="'flux' holds 2 values a row; give it one"):
        read_photometry(tmp_path / "t.fits", zred=1.0, unit="uJy")


def test_names_of_tables():
    """Two galaxies whose names hold dots had one output folder."""
    names = ["J1000.5+02.csv", "d/J1000.7-01.csv", "x.fits.gz", "x.fits[PHOT]", "a.b", "galaxy"]
    assert [table_name(n) for n in names] == [
        "J1000.5+02", "J1000.7-01", "x", "x_PHOT", "a.b", "galaxy",
    ]  # fmt: skip


def test_tables_in_frames(tmp_path):
    """Markdown and astropy's fixed width begin like IPAC, whose rows have no bars."""
    rows = "| band | flux |\n|------|------|\n| a    | 1.5  |\n"
    (tmp_path / "t.md").write_text(rows)
    table = read_table(tmp_path / "t.md")
    assert table.colnames == ["band", "flux"] and list(table["flux"]) == [1.5]
    table.write(tmp_path / "t.tbl", format="ascii.ipac")
    assert list(read_table(tmp_path / "t.tbl")["flux"]) == [1.5]
    table.write(tmp_path / "t.txt", format="ascii.fixed_width")
    assert list(read_table(tmp_path / "t.txt")["band"]) == ["a"]


@pytest.mark.parametrize(
    "form",
    [
        lambda t: t,
        QTable,
        lambda t: {name: t[name] for name in t.colnames},
        lambda t: pytest.importorskip("pandas") and t.to_pandas(),
    ],
    ids=["Table", "QTable", "dict", "DataFrame"],
)
def test_tables_in_memory(form):
    """As from a file; the first flux is masked, and the error's unit is its own."""
    table = Table({"band": BANDS, "error": np.array([0.1, 0.15, 0.4])})
    table["flux"] = MaskedColumn([1e20, 2.5, 7.5], mask=[1, 0, 0])
    unit = "uJy"
    if form is QTable:
        unit, table["flux"].unit, table["error"].unit = None, "uJy", "nJy"
    obs = read_photometry(form(table), zred=1.0, unit=unit)
    np.testing.assert_array_equal(obs["phot_mask"], [False, True, True])
    np.testing.assert_allclose(obs["maggies"][1:], WANTED[1:], rtol=1e-14)
    error = np.array([0.15, 0.4]) * (1e-9 if form is QTable else 1e-6) / 3631.0
    np.testing.assert_allclose(obs["maggies_unc_catalog"][1:], error, rtol=1e-14)


@pytest.mark.parametrize("given", [3, None, [1, 2], io.StringIO("band")])
def test_what_is_no_table(given):
    with pytest.raises(DataError, match="is no table; give the path of a file"):
        read_photometry(given, zred=1.0, unit="uJy")


@pytest.mark.parametrize("ending", ["ecsv", "fits"])
def test_times_and_places_in_a_table(tmp_path, ending):
    """They are left as they are; a whole catalog could not be read for them."""
    table = Table({"band": BANDS, "flux": [1.3, 2.5, 7.5], "error": [0.1, 0.15, 0.4]})
    table["at"] = SkyCoord([1.0, 2.0, 3.0], 0.0, unit="deg")
    table["when"] = Time(["2020-01-01"] * 3)
    table.write(tmp_path / f"t.{ending}")
    obs = read_photometry(tmp_path / f"t.{ending}", zred=1.0, unit="uJy")
    np.testing.assert_allclose(obs["maggies"], WANTED, rtol=1e-14)
    read = read_table(tmp_path / f"t.{ending}")
    assert read["at"].dec.deg.max() == 0.0
    with pytest.raises(DataError, match="column 'at' is a SkyCoord; give one of numbers"):
        numbers(read, "at", "t")
