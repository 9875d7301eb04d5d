"""Tables that the dust commands read: models, and observed emission."""

import warnings
from pathlib import Path

import numpy as np
from astropy import units as u

from ..errors import DataError
from ..observe.table_files import numbers, read_table, split_name
from .dust_emulator import LUMINOSITY_UNIT, PARAMETERS


def _column(table, names, path):
    """The one column whose name, without its unit, is among `names`; None without any."""
    found = [c for c in table.colnames if split_name(c)[0].lower() in names]
    if len(found) > 1:
        raise DataError(f"{path} has the columns {', '.join(found)}; keep one of them.")
    return found[0] if found else None


def _unit_text(table, column):
    """The unit of a column, from the table or from its name; empty without one."""
    return str(table[column].unit or "") or split_name(column)[1]


def _unit(text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", u.UnitsWarning)  # of slashes in a row
        return u.Unit(text)


def _quantity(table, column, path, default):
    """Values of a column in `default`'s unit; a column without a unit is in it already."""
    values = numbers(table, column, path)
    text = _unit_text(table, column)
    if not text:
        return values
    try:
        return (values * _unit(text)).to_value(default)
    except (u.UnitConversionError, ValueError, TypeError) as err:
        wanted = default.to_string() or "no unit"
        raise DataError(
            f"{path}: column {column!r} has the unit {text!r}, which is not a multiple of "
            f"{wanted}; correct the unit or the values."
        ) from err


def read_parameters(path):
    """U, tau in years and a_min in nm of a table with one model per row, each (n,).

    Raises
    ------
    DataError
        If the table cannot be read, lacks one of them, or has another unit.
    """
    table = read_table(Path(path))
    out = []
    units = (u.dimensionless_unscaled, u.yr, u.nm)
    for name, unit in zip(PARAMETERS, units, strict=True):
        column = _column(table, {name.lower(), name.lower().replace("_", "")}, path)
        if column is None:
            raise DataError(
                f"{path} has no column {name} (columns: {', '.join(table.colnames)}); it needs "
                f"{', '.join(PARAMETERS)}."
            )
        values = _quantity(table, column, path, unit)
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values))[0])
            raise DataError(f"{path}: {name} is missing in row {row + 1}; every model needs it.")
        out.append(values)
    return out


def read_emission(path, scale):
    """Observed emission from a table with one point per row.

    Parameters
    ----------
    path : path-like
        Columns ``band`` or ``wavelength``; ``luminosity`` or ``flux``; ``error``.
    scale : (float, str), or None
        Factor from W/Hz/kg to a flux, and its unit; None for an unknown mass, for which
        luminosities need not be per kilogram.

    Returns
    -------
    values, errors : ndarray, shape (n,)
        W/Hz/kg, or the unit below for an unknown mass. Rows without a value are left out.
    dict
        ``bands`` or ``wavelengths``.
    str
        "Jy", "W/Hz" or "W/(Hz kg)": what the table holds.
    """
    path = Path(path)
    table = read_table(path)
    band, wave = (_column(table, {n}, path) for n in ("band", "wavelength"))
    if band is None and wave is None:
        raise DataError(f"{path} needs a column band or wavelength; it has "
                        f"{', '.join(table.colnames)}.")  # fmt: skip
    lum, flux = (_column(table, {n}, path) for n in ("luminosity", "flux"))
    err = _column(table, {"error", "unc", "uncertainty"}, path)
    if (lum is None) == (flux is None) or err is None:
        raise DataError(
            f"{path} needs the columns luminosity or flux, and error; it has "
            f"{', '.join(table.colnames)}."
        )
    column = lum or flux
    text = _unit_text(table, column)
    per_mass = scale is not None and scale[1] == LUMINOSITY_UNIT
    if flux is not None and per_mass:
        raise DataError(
            f"{path} holds fluxes; give --mass and --distance, or --free-mass for a dust mass "
            "that is not known."
        )
    if lum is not None and scale is not None and not per_mass:
        raise DataError(
            f"{path} holds luminosities per mass, which need no --mass and --distance; call the "
            "column flux if it holds fluxes."
        )
    kind = "Jy" if lum is None else LUMINOSITY_UNIT
    if lum is not None and scale is None and _is_luminosity(text):
        kind = "W/Hz"
    unit, factor = u.Unit(kind), 1.0 if scale is None else scale[0]
    values = _quantity(table, column, path, unit) / factor
    if not _unit_text(table, err):
        table[err].unit = text or None
    errors = _quantity(table, err, path, unit) / factor
    keep = np.isfinite(values) & np.isfinite(errors)
    if not keep.any():
        raise DataError(f"{path} holds no row with both a value and an error.")
    if band is not None:
        names = [str(b).strip() for b in table[band]]
        where = {"bands": tuple(n for n, k in zip(names, keep, strict=True) if k)}
    else:
        where = {"wavelengths": _quantity(table, wave, path, u.micron)[keep]}
    return values[keep], errors[keep], where, kind


def _is_luminosity(text):
    try:
        return _unit(text).is_equivalent("W/Hz")
    except (ValueError, TypeError):  # `_quantity` says so
        return False
