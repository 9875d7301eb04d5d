"""Columns of a catalog by the names of their bands, and what their fluxes are multiplied by."""

import numpy as np

from ..errors import DataError
from ..observe.filters import filter_of_short_name
from ..observe.table_files import numbers, read_table
from ..sps.dust_laws import LAWS, MILKY_WAY

# Short names of catalogs that are no filter's.
_SHORT = {"alma": "1d3mm"}
_RV = 3.1


def columns_by_name(config):
    """The table, `CatalogConfig.bands` from names of its columns, and notes on these."""
    shape = config.band_columns
    if config.bands or len(shape) != 2 or any(s.count("{band}") != 1 for s in shape):
        raise DataError(
            'catalog.band_columns must be ["f_{band}", "e_{band}"] or the like, a flux and an '
            "error, without catalog.bands."
        )
    table = read_table(config.path, text=[config.id_column])
    (before, after), out, rest = shape[0].split("{band}"), {}, []
    for column in table.colnames:
        name = column[len(before) : len(column) - len(after)]
        if not name or column != before + name + after:
            continue
        error = shape[1].replace("{band}", name)
        full = _SHORT.get(name) or filter_of_short_name(name)
        if full is None or error not in table.colnames:
            rest.append(column)
        elif full in out:
            raise DataError(f"{config.path}: {column} and {out[full]['flux']} are both {full}.")
        else:
            out[full] = {"flux": column, "error": error}
    if not out:
        raise DataError(
            f"{config.path} has no columns {shape[0]} and {shape[1]} of a known filter; its "
            f"columns are {', '.join(table.colnames[:60])}."
        )
    notes = [f"{entry['flux']} is {full}." for full, entry in out.items()]
    notes += [f"{c} is of no known filter, or has no error: not used." for c in rest]
    return table, out, tuple(notes)


def factors(config, table, columns, filters):
    """Factors of fluxes and errors (ngalaxy, nband): those of the settings, and dereddening.

    Parameters
    ----------
    config : CatalogConfig
    table : astropy.table.Table
    columns : dict
        `CatalogConfig.bands`.
    filters : sequence of sedpy.observate.Filter

    Raises
    ------
    DataError
        If a factor is not a positive number, or E(B-V) is missing or negative.
    """
    out = np.ones((len(table), len(columns)))
    for i, (band, entry) in enumerate(columns.items()):
        value = entry.get("factor", 1.0)
        if type(value) not in (int, float) or not 0.0 < value < np.inf:
            raise DataError(f"catalog.bands.{band}.factor = {value!r} is not a positive number.")
        out[:, i] = value
    if config.ebv_column:
        ebv = numbers(table, config.ebv_column, config.path)
        if not (ebv >= 0.0).all():
            row = np.flatnonzero(~(ebv >= 0.0))[0]
            raise DataError(
                f"{config.path}: {config.ebv_column} is {ebv[row]:g} in row {row + 1}; give "
                "E(B-V), 0 for none."
            )
        pivot = np.array([f.wave_pivot for f in filters])
        out *= 10.0 ** (0.4 * _RV * ebv[:, None] * milky_way_extinction(pivot))
    return out


def milky_way_extinction(wave):
    """A / A(V) at wavelengths in Angstrom by Cardelli et al. (1989), R_V = 3.1; 0 past 10 um."""
    grid = np.geomspace(900.0, 1e5, 20000)
    tau = LAWS[MILKY_WAY].build(np.asarray(wave, dtype=float), grid, float)
    return np.ravel(tau({"mwr": np.array([[_RV]]), "uvb": np.ones((1, 1))}))
