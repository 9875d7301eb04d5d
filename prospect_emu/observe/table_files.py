"""Tables of any kind from files: what the readers of photometry, catalogs and dust models share."""

import bz2
import csv
import gzip
import io
import lzma
import re
import warnings
import zlib
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import Column, Table
from astropy.utils.exceptions import AstropyWarning

from ..errors import DataError
from ..files import write_atomic

KINDS = "FITS, ECSV, VOTable, IPAC, or text separated by commas, semicolons, tabs or blanks"
# How a file that is no plain text table begins, and astropy's name of its format.
_SIGNS = {
    rb"SIMPLE": "fits", rb"\s*(<\?xml|<VOTABLE)": "votable", rb"# %ECSV": "ascii.ecsv",
    rb"\s*(\\|(\|.*\n)+\s*[^\s|])": "ascii.ipac", rb"(?s)Title:.*Byte-by-byte": "ascii.mrt",
    rb"#\s*1\s+[A-Z]": "ascii.sextractor",
}  # fmt: skip
# What compressed files begin with.
_COMPRESSED = {b"\x1f\x8b": gzip, b"BZh": bz2, b"\xfd7zXZ": lzma}
# No value, in text files.
_BLANK = (
    "", "-", "--", "---", "<NA>", "null", "NULL", "Null", "N/A", "n/a", "#N/A", "NA", "None",
    "none", "\\N", "...",
)  # fmt: skip
# No unit, in headers.
_NO_UNIT = ("none", "-", "--", "null", "unitless", "dimensionless", "redshift", "1")


def read_table(path, text=()):
    """A table from a file, whose format is told by what it holds.

    Parameters
    ----------
    path : path-like
        FITS, ECSV, VOTable, IPAC, MRT, SExtractor, or text separated by commas, semicolons, tabs
        or blanks (its column names on the first line, after a ``#`` or not; a second line may
        hold units); gzip, bzip2, xz or none. ``file.fits[NAME]``, or a number for the name, is
        one of several tables in a FITS file or VOTable.
    text : sequence of str
        Columns of text files to keep as text: an id "007" is no 7.

    Returns
    -------
    astropy.table.Table
        Its text decoded; missing values are masked.

    Raises
    ------
    DataError
        If the file cannot be read, is none of these, has no rows, or holds several tables and
        `path` names none.
    """
    path, part = _split_part(path)
    try:
        data = path.read_bytes()
        packed = next((k for sign, k in _COMPRESSED.items() if data.startswith(sign)), None)
        data = data if packed is None else packed.decompress(data)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as err:
        problem = getattr(err, "strerror", None) or err
        raise DataError(f"Cannot read {path} ({problem}); check the path.") from err
    data = data.removeprefix(b"\xef\xbb\xbf")  # a byte-order mark, as Excel writes it
    kind = next((k for sign, k in _SIGNS.items() if re.match(sign, data[:20000])), "text")
    if re.search(r"\.fits?(\.gz)?$", path.name.lower()) and b"\n" not in data[:2880]:
        kind = "fits"  # torn at its beginning; what has lines is text under another's name
    try:
        with warnings.catch_warnings():
            # An unknown unit is our own error, with the column's name; so is a truncated file.
            warnings.simplefilter("ignore", AstropyWarning)
            table = _read(path, data, kind, part, text)
            _decode(table)
    except DataError:
        raise
    except Exception as err:  # astropy raises many types on malformed input
        raise DataError(
            f"{path} is not a readable {kind.split('.')[-1].upper()} table "
            f"({' '.join(str(err).split())[:200]}); write it as {KINDS}."
        ) from err
    if len(table) == 0:
        raise DataError(f"{path} has no rows; it is empty or truncated.")
    return table


def table_of(given):
    """A table of astropy or pandas, or a dictionary of columns, as `read_table` gives one."""
    if isinstance(given, Table | dict):
        table = Table(given)
    elif hasattr(given, "iloc"):
        table = Table.from_pandas(given)
    else:
        raise DataError(f"{given!r} is no table; give the path of a file, or astropy's Table.")
    if len(table) == 0:
        raise DataError("The table has no rows.")
    _decode(table)
    return table


def write_table(table, path):
    """Write a table as ECSV, atomically; it reads back exactly, however it is printed."""
    table = table.copy(copy_data=False)
    for column in table.columns.values():
        column.info.format = None

    def write(file):
        text = io.TextIOWrapper(file, "utf-8", newline="")
        columns = table.columns.values()
        if any(c.ndim > 1 or c.dtype.kind not in "biufU" or hasattr(c, "mask") for c in columns):
            table.write(text, format="ascii.ecsv")
        else:
            # The same text as astropy's; many rows in a tenth of its time and memory.
            table[:0].write(text, format="ascii.ecsv")
            out = csv.writer(text, delimiter=" ", lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
            for start in range(0, len(table), 1000):
                some = (c[start : start + 1000].tolist() for c in columns)
                out.writerows(zip(*some, strict=True))
        text.flush()
        text.detach()

    write_atomic(path, write)


def table_name(path):
    """The name of a table's file without folder and format, for the names of what is made of it."""
    path, part = _split_part(path)
    stem = re.sub(r"\.(csv|ecsv|txt|dat|cat|tbl|xml|vot|fits?)?(\.gz)?$", "", path.name, flags=re.I)
    return f"{stem}_{part}" if part else stem


def split_name(column):
    """('flux', 'uJy') of 'flux [uJy]'."""
    match = re.fullmatch(r"\s*(.*?)\s*[\[(]([^\]]*)[\])]\s*", column)
    return (match[1], match[2].strip()) if match else (column.strip(), "")


def read_columns(path, roles):
    """Columns of a table by what they are, each (n,) as of `pure_numbers`.

    Parameters
    ----------
    path : path-like
    roles : dict
        Names, in lower case, that a column of each role may have.

    Raises
    ------
    DataError
        Unless there is one column of each role.
    """
    table = read_table(path)
    for role, names in roles.items():
        columns = [c for c in table.colnames if c.lower() in names]
        if len(columns) != 1:
            raise DataError(
                f"{path} must have one column {role!r} ({', '.join(names)}); its columns are "
                f"{', '.join(table.colnames)}."
            )
        yield pure_numbers(table, columns[0], path)


def numbers(table, column, path):
    """A column as floats, shape (n,); NaN where it is masked.

    Raises
    ------
    DataError
        If it holds text, or more than one number a row.
    """
    values, there = single(table, column, path), ~missing(table[column])
    if values.dtype.kind in "bc":
        raise DataError(f"{path}: column {column!r} holds {values.dtype} values, no numbers.")
    out = np.full(len(values), np.nan)
    given = values.data[there]
    if given.dtype.kind in "UO":
        given = [_plain(str(v)) for v in given]
    try:
        out[there] = np.array(given, dtype=float)
    except (TypeError, ValueError) as err:
        raise DataError(
            f"{path}: column {column!r} holds text where a number should be "
            f"({' '.join(str(err).split())[:120]}); use nan for a missing value, a point for "
            "decimals, and a column upper_limit for limits."
        ) from err
    return out


def unit_text(column):
    """Unit of a column; "" without one, for whatever is written for it."""
    unit = str(getattr(column, "unit", None) or "")
    return "" if unit.lower() in _NO_UNIT else unit


def pure_numbers(table, column, path):
    """`numbers` of a column that must have no unit, such as redshifts or magnifications."""
    values, unit = numbers(table, column, path), unit_text(table[column])
    if unit:
        raise DataError(
            f"{path}: column {column!r} is in {unit}, and what it should hold has no unit; give "
            "another column, or convert it."
        )
    return values


def single(table, column, path):
    """A column as a masked array, shape (n,).

    Raises
    ------
    DataError
        If it holds more than one value a row.
    """
    if not isinstance(table[column], Column):
        kind = type(table[column]).__name__
        raise DataError(f"{path}: column {column!r} is a {kind}; give one of numbers or texts.")
    values = np.ma.asarray(table[column])
    if values.ndim != 1:
        raise DataError(
            f"{path}: column {column!r} holds {values[0].size} values a row; give it one."
        )
    return values


def missing(column):
    """Which values of a column are missing: masked, blank or not a number, (n,) of bool."""
    values = np.ma.asarray(column)
    out = np.ma.getmaskarray(values).copy()
    if values.dtype.kind in "UO":
        out |= [str(v).strip() in _BLANK for v in values.data]
    return out | np.isnan(values.data) if values.dtype.kind == "f" else out


def flags(table, column, path):
    """A column of flags as booleans, shape (n,); False where it is masked.

    Raises
    ------
    DataError
        If an entry is neither true nor false, nor 1 or 0.
    """
    words = {"true": True, "t": True, "yes": True, "y": True, "1": True, "1.0": True}
    words |= {"false": False, "f": False, "no": False, "n": False, "0": False, "0.0": False}
    values = single(table, column, path)
    there, out = ~np.ma.getmaskarray(values), np.zeros(len(table), dtype=bool)
    texts, which = np.unique(values.data[there].astype(str), return_inverse=True)
    given = [text.strip().lower() for text in texts]
    for word in given:
        if word not in words:
            raise DataError(f"{path}: column {column!r} holds {word!r}; use true and false.")
    out[there] = np.array([words[word] for word in given], dtype=bool)[which]
    return out


def _split_part(path):
    """Path and table of ``file.fits[table]``; a file that has brackets in its name is one."""
    match = re.fullmatch(r"(.+)\[([^\[\]]+)\]", str(path))
    if match and not Path(path).exists():
        return Path(match[1]), match[2].strip()
    return Path(path), None


def _read(path, data, kind, part, text):
    if kind == "fits":
        with fits.open(io.BytesIO(data)) as hdus:
            return Table.read(hdus[_which(hdus, part, path)])
    if kind == "votable":
        more = {} if part is None else {"table_id": int(part) if part.isdigit() else part}
        return Table.read(io.BytesIO(data), format=kind, use_names_over_ids=True, **more)
    if part is not None:
        raise DataError(f"{path} holds one table; leave out [{part}].")
    lines = _text(data)
    if re.search("[\0-\x08\x0e-\x1f]", lines) or re.match(r"\s*(<|\[?\s*{)", lines):
        raise DataError(f"{path} is not a table of a known kind; write it as {KINDS}.")
    lines = [line for line in lines.splitlines() if line.strip(" ,;\t")]
    return _read_text(path, lines, text) if kind == "text" else Table.read(lines, format=kind)


def _text(data):
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252")  # an Angstrom sign, as older programs write it


def _which(hdus, part, path):
    """Index of the table to read."""
    kinds = fits.BinTableHDU, fits.TableHDU
    known = {i: hdu.name for i, hdu in enumerate(hdus) if isinstance(hdu, kinds)}
    found = [i for i, name in known.items() if part in (None, str(i)) or part.upper() == name]
    if len(found) == 1:
        return found[0]
    if not known:
        raise DataError(f"{path} holds no table; it is an image, empty or truncated.")
    names = ", ".join(f"{i} ({name})" if name else str(i) for i, name in known.items())
    raise DataError(
        f"{path} holds {len(known)} tables: {names}; name one of them, as in "
        f"{path.name}[{next(iter(known))}]."
    )


def _read_text(path, lines, text):
    """A text table, the names of its columns on its first line or in a comment before it."""
    if lines and all(line.strip().startswith("|") for line in lines):  # a frame, as in Markdown
        lines = [line.strip().strip("|") for line in lines if re.search(r"[^\s|:=+-]", line)]
    rows = [line for line in lines if not re.match(r"\s*#|[\s|:=+-]*(---|===)[\s|:=+-]*$", line)]
    if not rows:
        raise DataError(f"{path} has no rows; it is empty or truncated.")
    delimiter = max((",", ";", "\t", "|"), key=rows[0].count)
    if delimiter not in rows[0]:
        delimiter = " "
        rows[0] = re.sub(r"\s+(?=[\[(])", "", rows[0])  # "flux [uJy]" is one name

    def cells(line):
        parts = line.split(None if delimiter == " " else delimiter)
        return [c.strip().strip('"') for c in parts]

    if any(map(_is_number, cells(rows[0]))):
        comments = [line.lstrip().lstrip("# ") for line in lines if line.lstrip().startswith("#")]
        wide = [c for c in comments if len(cells(c)) == len(cells(rows[0]))]
        named = [c for c in wide if not any(map(_is_number, cells(c)))]
        if not named:
            raise DataError(
                f"{path} has no line with the names of its {len(cells(rows[0]))} columns; add one "
                "before the numbers."
            )
        if len(named) > 1 and all(map(_is_unit, cells(named[-1]))):
            rows.insert(0, named.pop())
        rows.insert(0, named[-1])
    names = cells(rows[0])
    twice = [n for n in names if n and names.count(n) > 1]
    if twice:
        raise DataError(f"{path} has more than one column {twice[0]!r}; rename or remove one.")
    units = {}
    # Of limits, "<3.5", the column's reader says what to do.
    if len(rows) > 2 and not any(_is_number(c.strip("<>")) for c in cells(rows[1])):
        three = zip(*map(cells, rows[:3]), strict=False)
        units = {n: x.strip("[]()") for n, x, c in three if _is_number(c) and x not in _BLANK}
        if units:
            del rows[1]
    table = Table.read(
        rows, format="ascii.csv" if delimiter != " " else "ascii.basic", delimiter=delimiter,
        fill_values=[(blank, "0") for blank in _BLANK], converters={name: str for name in text},
        guess=False,
    )  # fmt: skip
    for name, unit in units.items():
        table[name].unit = u.Unit(unit, parse_strict="silent")
    return table


def _is_unit(word):
    """Whether a word in a line of units is one, or stands for none."""
    try:
        return word in _BLANK or bool(u.Unit(word.strip("[]()")))
    except ValueError:
        return False


def _is_number(word):
    try:
        float(_plain(word))
    except ValueError:
        return False
    return True


def _plain(word):
    """1.5e-3 of 1.5D-3, as Fortran writes it; with a plain minus for a typeset one."""
    word = re.sub(r"(?<=[\d.])[dD](?=[+-]?\d)", "e", word)
    return word.replace("\N{MINUS SIGN}", "-")


def _decode(table):
    """Text as str, whatever the format holds it as."""
    for name in table.colnames:
        if not isinstance(table[name], Column):  # a time or a place on the sky
            continue
        values = np.ma.asarray(table[name])
        if values.ndim == 1 and values.dtype.kind in "SO" and len(values):
            text = [
                v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in values.data
            ]
            table[name] = np.ma.array(np.array(text, str), mask=values.mask)
