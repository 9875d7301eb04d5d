"""The results of a campaign as one table, made from the result files alone."""

import io
from dataclasses import dataclass

import numpy as np
from astropy.table import Table

from ..errors import DataError
from ..observe.tables import write_table
from .store import CHANGED, DONE, STALLED, Store, key_of, write_file

# Columns in which two runs of the same fits may differ.
RUN_COLUMNS = ("seconds", "seconds_outside", "memory_mb", "attempts")
TABLES = ("results.ecsv", "results.fits")
_BLANK = {"f": np.nan, "i": -1, "u": 0, "b": False, "U": ""}


@dataclass(frozen=True)
class Results:
    """A campaign's results.

    Attributes
    ----------
    table : astropy.table.Table
        A row per fit. ``fit``, ``galaxy``, ``emulator``, ``repeat``; ``state``
        ("done", "stalled", "failed", "pending", ...) with ``status`` or the
        error in ``detail``; the catalog columns asked for (``catalog_X`` if X is also
        the name of a result); for each parameter and derived quantity X its
        percentiles ``X_p025`` ... ``X_p975`` and the best sample's ``X_best``; for mocks
        the truth ``true_X`` and the share of the posterior below it ``rank_X``;
        ``logz``, ``logz_err``, ``n_eff``, ``chi2``,
        ``bands``, ``ncall``, ``seed``; ``seconds`` of the sampler,
        ``seconds_outside`` of all else, ``memory_mb``. NaN, -1 or empty where a
        fit has no result.
    bands : tuple of str
    chi, offset : ndarray, shape (nfit, nband)
        See `prospect_emu.fits.work.bands_of`; NaN where a band was not fitted.
    plan : dict
        The stored plan.
    """

    table: Table
    bands: tuple
    chi: np.ndarray
    offset: np.ndarray
    plan: dict

    def done(self, **equal):
        """Mask of the rows with a converged result, and with these column values."""
        mask = np.asarray(self.table["state"]) == DONE
        for name, value in equal.items():
            mask &= np.asarray(self.table[name]) == value
        return mask


def read_results(folder, verify=False):
    """Collect the results of a campaign, finished or not.

    Parameters
    ----------
    folder : path-like
    verify : bool
        Check every file's checksum, not only those that are new.

    Returns
    -------
    Results

    Raises
    ------
    DataError
        If the folder holds no campaign.
    """
    store = Store(folder)
    plan = store.plan()
    rows, bands = [], []
    for fit in plan["fits"]:
        key = key_of(fit)
        entry = store.glance(key, fit["fingerprint"], verify)
        row = {
            "fit": key.name, "galaxy": key.galaxy, "emulator": key.emulator,
            "repeat": key.repeat, "state": entry.state, "detail": entry.detail,
            "attempts": entry.attempts,
        }  # fmt: skip
        record = {}
        if entry.state in (DONE, STALLED, CHANGED):
            record = store.record(key)
            row |= record["row"]
            row |= {k: record[k] for k in ("seconds_outside", "memory_mb")}
            row["seconds"] = record["seconds"]
        rows.append(row)
        bands.append(record.get("bands", {}))
    _add_catalog(rows, plan.get("catalog", {}))
    names = list(dict.fromkeys(b for entry in bands for b in entry))
    values = np.full((2, len(rows), len(names)), np.nan)
    for i, entry in enumerate(bands):
        for j, name in enumerate(names):
            if name in entry:
                values[:, i, j] = [np.nan if v is None else v for v in entry[name]]
    store.keep_index()
    table = _table(rows)
    table.meta = {"campaign": plan["config"]["name"], "version": plan["versions"]["prospect_emu"]}
    return Results(table, tuple(names), *values, plan)


def _add_catalog(rows, catalog):
    """The catalog's columns; those that are called like a result (FITS knows no case) say so."""
    ours = {name.lower() for row in rows for name in row}
    for row in rows:
        given = catalog.get(row["galaxy"], {})
        row |= {f"catalog_{k}" if k.lower() in ours else k: v for k, v in given.items()}


def write_results(results, folder):
    """Write the table as ECSV and FITS into the campaign's folder; returns their paths."""
    store = Store(folder)
    paths = [store.path(name) for name in TABLES]
    try:
        write_table(results.table, paths[0])
    except OSError as err:
        from ..errors import OutputError

        raise OutputError(f"Writing {paths[0]} failed ({err}); free space.") from err
    buffer = io.BytesIO()
    _ascii(results.table).write(buffer, format="fits")
    write_file(paths[1], buffer.getvalue())
    return paths


def _ascii(table):
    """The table with the texts that FITS can hold."""
    table = table.copy()
    for name in table.colnames:
        if table[name].dtype.kind == "U":
            table[name] = np.char.encode(table[name], "ascii", "backslashreplace")
    return table


def read_table(folder):
    """The results table of a campaign: the written one if it is there, else made from the files.

    Raises
    ------
    DataError
        If there is neither.
    """
    path = Store(folder).path(TABLES[0])
    if path.is_file() and not Store(folder).path("plan.json").is_file():
        try:
            return Table.read(path, format="ascii.ecsv")
        except Exception as err:  # astropy raises many types on malformed input
            raise DataError(f"{path} is not a readable results table ({err}).") from err
    return read_results(folder).table


def _table(rows):
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = Table()
    for name in names:
        known = [row[name] for row in rows if row.get(name) is not None]
        kind = np.array(known).dtype.kind if known else "f"
        blank = _BLANK.get(kind, "")
        values = [row.get(name) for row in rows]
        table[name] = [blank if v is None else v for v in values]
    return table
