"""The results of a campaign as one table, made from the result files alone."""

from dataclasses import dataclass, field

import numpy as np
from astropy.table import Table

from ..errors import DataError, OutputError
from ..files import write_atomic
from ..observe.table_files import write_table
from . import uncover_catalog
from .rows import CHI, OFFSET, columns, stack
from .store import CHANGED, DONE, STALLED, Store, key_of

# Columns in which two runs of the same fits may differ.
RUN_COLUMNS = ("seconds", "seconds_outside", "memory_mb", "attempts")
TABLES = ("results.ecsv", "results.fits")


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
    layout : dict of ndarray, each of shape (nfit,)
        What the fits give to the table of the catalog's layout.
    kept : tuple of str
        Columns of the catalog's.
    """

    table: Table
    bands: tuple
    chi: np.ndarray
    offset: np.ndarray
    plan: dict
    layout: dict = field(default_factory=dict)
    kept: tuple = ()

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
    keys = [key_of(fit) for fit in plan["fits"]]
    wanted = [fit["fingerprint"] for fit in plan["fits"]]
    entries = [store.look(k, w, verify=verify) for k, w in zip(keys, wanted, strict=True)]
    head = {
        "fit": [k.name for k in keys], "galaxy": [k.galaxy for k in keys],
        "emulator": [k.emulator for k in keys], "repeat": [k.repeat for k in keys],
        "state": [e.state for e in entries], "detail": [e.detail for e in entries],
        "attempts": [e.attempts for e in entries],
    }  # fmt: skip
    there = [i for i, e in enumerate(entries) if e.state in (DONE, STALLED, CHANGED)]
    rows = stack([(there, store.rows([keys[i] for i in there]))], len(keys))
    catalog = _catalog(plan.get("catalog", {}), head["galaxy"], {*head, *rows})
    names = [n.removeprefix(CHI) for n in rows if n.startswith(CHI)]
    layout = [n for n in rows if n.startswith(uncover_catalog.PREFIX)]
    layout = {n.removeprefix(uncover_catalog.PREFIX): rows.pop(n) for n in layout}
    values = np.empty((2, len(keys), len(names)))
    for j, name in enumerate(names):
        values[0, :, j], values[1, :, j] = rows.pop(CHI + name), rows.pop(OFFSET + name)
    table = Table({**{k: np.array(v) for k, v in head.items()}, **rows, **catalog}, copy=False)
    table.meta = {"campaign": plan["config"]["name"], "version": plan["versions"]["prospect_emu"]}
    return Results(table, tuple(names), *values, plan, layout, tuple(catalog))


def _catalog(catalog, galaxies, ours):
    """The catalog's columns; those that are called like a result (FITS knows no case) say so."""
    ours = {name.lower() for name in ours}
    found = columns([catalog.get(galaxy, {}) for galaxy in galaxies])
    return {f"catalog_{k}" if k.lower() in ours else k: v for k, v in found.items()}


def write_results(results, folder):
    """Write the table as ECSV and FITS into the campaign's folder; returns their paths."""
    store = Store(folder)
    paths = [store.path(name) for name in TABLES]
    try:
        write_table(results.table, paths[0])
        write_atomic(paths[1], lambda f: _ascii(results.table).write(f, format="fits"))
        if results.layout:
            left_out = Table.read(store.path("left_out.ecsv"), format="ascii.ecsv")["galaxy"]
            paths.append(store.path(uncover_catalog.FILE))
            catalog = _ascii(uncover_catalog.sps_table(results, left_out))
            write_atomic(paths[-1], lambda f: catalog.write(f, format="fits"))
    except OSError as err:
        raise OutputError(f"Writing in {folder} failed ({err}); free space.") from err
    return paths


def _ascii(table):
    """The table with the texts that FITS can hold."""
    out = {}
    for name in table.colnames:
        column = table[name]
        if column.dtype.kind == "U":
            # Texts repeat, and are encoded once.
            texts, which = np.unique(column, return_inverse=True)
            column = np.char.encode(texts, "ascii", "backslashreplace")[which]
        out[name] = column
    return Table(out, copy=False, meta=table.meta)


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
