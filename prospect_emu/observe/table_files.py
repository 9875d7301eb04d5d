"""Tables of any kind from files: what the readers of photometry and of dust models share."""

import re
import warnings
from pathlib import Path

from astropy.table import Table
from astropy.utils.exceptions import AstropyWarning

from ..errors import DataError


def read_table(path):
    """A table from ECSV, FITS or CSV, told apart by what the file holds.

    Raises
    ------
    DataError
        If the file cannot be read, is none of these, or has no rows.
    """
    path = Path(path)
    try:
        with open(path, "rb") as f:
            head = f.read(64)
    except OSError as err:
        raise DataError(f"Cannot read {path} ({err.strerror}); check the path.") from err
    if head.startswith(b"SIMPLE") or ".fit" in path.name.lower():
        kind = "fits"
    else:
        kind = "ascii.ecsv" if head.startswith(b"# %ECSV") else "ascii.csv"
    try:
        with warnings.catch_warnings():
            # An unknown unit is our own error, with the column's name; so is a torn file.
            warnings.simplefilter("ignore", AstropyWarning)
            table = Table.read(path, format=kind)
    except Exception as err:  # astropy raises many types on malformed input
        raise DataError(
            f"{path} is not a readable {kind.split('.')[-1].upper()} table "
            f"({' '.join(str(err).split())[:120]}); write it as ECSV, FITS or CSV."
        ) from err
    if len(table) == 0:
        raise DataError(f"{path} has no rows; it is empty or truncated.")
    return table


def split_name(column):
    """('flux', 'uJy') of 'flux [uJy]'."""
    match = re.fullmatch(r"\s*(.*?)\s*[\[(]([^\]]*)[\])]\s*", column)
    return (match[1], match[2].strip()) if match else (column.strip(), "")
