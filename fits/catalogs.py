"""Catalogs of many galaxies: one interface for 3D-HST, any table with a column map, and mocks.

A `Sample` is what a campaign works on: names, and for each row a Prospector
`obs`. Which rows are fitted is `select`'s business; it gives a reason for every
other one.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.table import Table

from ..errors import DataError, ProspectEmuError
from ..observe.filters import load_filters
from ..observe.tables import flux_unit, make_obs, to_maggies
from . import threedhst
from .fields import FIELDS

_MISSING = (-99.0, -999.0)
TRUE = "true_"  # prefix of a mock's true parameters


@dataclass(frozen=True)
class Sample:
    """A catalog that was read.

    Attributes
    ----------
    ids : tuple of str
        One per row, all different.
    table : astropy.table.Table
    zred : ndarray, shape (ngalaxy,)
        NaN where there is no redshift.
    bands : tuple of str
        sedpy names.
    make : callable
        Row -> `obs`.
    notes : tuple of str
        About the whole catalog, such as filters that stand in for others.
    """

    ids: tuple
    table: Table
    zred: np.ndarray
    bands: tuple
    make: Callable
    notes: tuple = ()

    def __len__(self):
        return len(self.ids)


def read_sample(config):
    """The catalog of a campaign.

    Parameters
    ----------
    config : CatalogConfig

    Returns
    -------
    Sample

    Raises
    ------
    DataError
        If the catalog cannot be read, lacks a column, or names a galaxy twice.
    FilterError
        If a filter is unknown.
    """
    reader = {"3dhst": _read_3dhst, "table": _read_table, "mocks": _read_mocks}[config.kind]
    sample = reader(config)
    twice = sorted({i for i in sample.ids if sample.ids.count(i) > 1}) if (
        len(set(sample.ids)) < len(sample.ids)
    ) else []  # fmt: skip
    if twice:
        raise DataError(f"{config.path} holds galaxy {twice[0]!r} more than once; remove it.")
    missing = [c for c in config.keep if c not in sample.table.colnames]
    if missing:
        raise DataError(
            f"{config.path} has no column {', '.join(missing)}, which catalog.keep names; its "
            f"columns are {', '.join(sample.table.colnames[:60])}."
        )
    return sample


def select(sample, config, zred_range=None):
    """Which galaxies to fit, and why not the others.

    Parameters
    ----------
    sample : Sample
    config : SelectConfig
    zred_range : (float, float), optional
        Redshifts that all emulators cover.

    Returns
    -------
    rows : list of int
        In the catalog's order.
    observed : dict of int -> dict
        The `obs` of each of them.
    left_out : list of (str, str)
        Galaxy and reason.

    Raises
    ------
    DataError
        If a column or an id that the selection names is not in the catalog.
    """
    wanted = {str(i) for i in config.ids}
    unknown = wanted - set(sample.ids)
    if unknown:
        raise DataError(
            f"select.ids names galaxies that the catalog does not hold: "
            f"{', '.join(sorted(unknown)[:5])}."
        )
    tests = _tests(sample, config, zred_range)
    rows, left_out, observed = [], [], {}
    for row, name in enumerate(sample.ids):
        reason = next((say(row) for failed, say in tests if failed[row]), None)
        if reason is None and wanted and name not in wanted:
            reason = "select.ids does not name it"
        if reason is None:
            rows.append(row)
        else:
            left_out.append((name, reason))
    if config.limit is not None and len(rows) > config.limit:
        chosen = np.random.default_rng(config.seed).permutation(len(rows))[: config.limit]
        dropped = [r for i, r in enumerate(rows) if i not in set(chosen.tolist())]
        left_out += [(sample.ids[r], f"select.limit = {config.limit}") for r in dropped]
        rows = sorted(set(rows) - set(dropped))
    kept = []
    for row in rows:
        try:
            obs = sample.make(row)
            used = int(obs["phot_mask"].sum())
            if used < config.min_bands:
                raise DataError(f"{used} usable bands, select.min_bands = {config.min_bands}")
        except ProspectEmuError as err:
            left_out.append((sample.ids[row], str(err)))
        else:
            kept.append(row)
            observed[row] = obs
    order = {name: i for i, name in enumerate(sample.ids)}
    return kept, observed, sorted(left_out, key=lambda item: order[item[0]])


def _tests(sample, config, zred_range):
    """Pairs of (failed, shape (ngalaxy,); row -> reason), the gravest first."""

    def column(name):
        if name not in sample.table.colnames:
            raise DataError(
                f"[select] names the column {name!r}, which the catalog lacks; its columns are "
                f"{', '.join(sample.table.colnames[:60])}."
            )
        values = np.ma.asarray(sample.table[name])
        if values.dtype.kind in "iu":
            values = values.astype(float)
        if values.dtype.kind == "S":  # text in FITS, which the settings name as str
            return np.char.decode(values.filled(b""), "utf-8", "replace")
        return values.filled(np.nan if values.dtype.kind == "f" else None)

    zred = sample.zred
    tests = [(~(np.isfinite(zred) & (zred > 0)), lambda row: f"no redshift ({zred[row]:g})")]
    if zred_range is not None:
        low, high = zred_range
        with np.errstate(invalid="ignore"):
            outside = ~((zred >= low) & (zred <= high))
        tests.append(
            (outside, lambda row: f"redshift {zred[row]:g} outside {low:g} to {high:g}, the "
             "emulators' range")
        )  # fmt: skip
    for name, value in config.equal.items():
        values, missing = column(name), np.ma.getmaskarray(np.ma.asarray(sample.table[name]))
        # What is missing equals nothing: filled, a boolean would be true.
        tests.append((missing, lambda row, n=name: f"{n} is missing"))
        tests.append(
            (values != value, lambda row, n=name, v=values, w=value: f"{n} = {v[row]}, not {w}")
        )
    for name, bounds in config.range.items():
        if not (isinstance(bounds, (list, tuple)) and len(bounds) == 2):
            raise DataError(f"select.range.{name} must be [lowest, highest].")
        values = np.asarray(column(name), dtype=float)
        with np.errstate(invalid="ignore"):
            outside = ~((values >= bounds[0]) & (values <= bounds[1]))
        tests.append(
            (outside, lambda row, n=name, v=values, b=bounds: f"{n} = {v[row]:.6g} outside "
             f"{b[0]:g} to {b[1]:g}")
        )  # fmt: skip
    return tests


# ---- 3D-HST -------------------------------------------------------------------------------------


def _read_3dhst(config):
    table = threedhst.read_catalog(config.path, config.field)
    with np.errstate(divide="ignore", invalid="ignore"):
        table["snr_f160w"] = np.asarray(table["f_f160w"]) / np.asarray(table["e_f160w"])
    options = {
        "error_floor": config.floor,
        "zeropoints": config.zeropoints,
        "mask_lyman_alpha": config.mask_lyman_alpha,
        "mask_negative": config.mask_negative,
    }
    if config.mips_factor is not None:
        options["mips_factor"] = config.mips_factor
    field = FIELDS[config.field]
    return Sample(
        ids=tuple(str(i) for i in table["id"]),
        table=table,
        zred=np.asarray(table["z_best"], dtype=float),
        bands=tuple(field.bands.values()),
        make=lambda row: threedhst.galaxy_obs(table, row=row, **options),
        notes=tuple(f"Substitution in {field.name}: {s}." for s in field.substitutions),
    )


# ---- any table ----------------------------------------------------------------------------------


def _read_table(config):
    if not config.bands:
        raise DataError(
            "A catalog of kind 'table' needs [catalog.bands]: filter = { flux = 'column', error = "
            "'column' }."
        )
    columns = {}
    for band, entry in config.bands.items():
        if not (isinstance(entry, dict) and {"flux", "error"} <= set(entry)):
            raise DataError(f"catalog.bands.{band} must give flux and error, the columns' names.")
        unknown = set(entry) - {"flux", "error", "unit", "floor"}
        if unknown:
            raise DataError(f"catalog.bands.{band}.{min(unknown)} is unknown; use unit or floor.")
        columns[band] = entry
    table = _open(config.path)
    return _from_columns(config, table, columns)


def _from_columns(config, table, columns, truth=()):
    needed = [config.id_column, config.zred_column]
    needed += [columns[b][k] for b in columns for k in ("flux", "error")]
    missing = [n for n in needed if n not in table.colnames]
    if missing:
        raise DataError(
            f"{config.path} lacks the columns {', '.join(missing)}; its columns are "
            f"{', '.join(table.colnames[:60])}."
        )
    filters = load_filters(columns)
    values = {name: _floats(table, name, config.path) for name in needed[1:]}
    factors, floors = [], []
    for band, entry in columns.items():
        unit = entry.get("unit") or config.unit or str(table[entry["flux"]].unit or "")
        if not unit:
            raise DataError(
                f"The unit of column {entry['flux']!r} ({band}) is not known; set catalog.unit."
            )
        factors.append(flux_unit(unit))
        floors.append(float(entry.get("floor", config.floor)))

    def make(row):
        maggies, unc = [], []
        for (_, entry), factor in zip(columns.items(), factors, strict=True):
            flux, error = values[entry["flux"]][row], values[entry["error"]][row]
            if flux in _MISSING or error in _MISSING:
                flux = np.nan
            pair = to_maggies(np.array([flux]), np.array([error]), factor, factor)
            maggies.append(pair[0][0])
            unc.append(pair[1][0])
        true = {name: float(table[TRUE + name][row]) for name in truth}
        more = {"truth": true} if true else {}
        obs = make_obs(
            filters, maggies, unc, values[config.zred_column][row], config.floor,
            id=str(table[config.id_column][row]), **more,
        )  # fmt: skip
        obs["maggies_unc"] = np.hypot(obs["maggies_unc_catalog"], floors * np.abs(obs["maggies"]))
        return obs

    return Sample(
        ids=tuple(_name(v) for v in table[config.id_column]),
        table=table,
        zred=values[config.zred_column],
        bands=tuple(columns),
        make=make,
    )


def _read_mocks(config):
    table = _open(config.path)
    bands = table.meta.get("bands")
    if not bands:
        raise DataError(
            f"{config.path} is no catalog of mocks; make one with python -m "
            "prospect_emu.fits.mocks catalog."
        )
    columns = {b: {"flux": f"f_{b}", "error": f"e_{b}", "unit": "mgy"} for b in bands}
    truth = [n.removeprefix(TRUE) for n in table.colnames if n.startswith(TRUE)]
    return _from_columns(config, table, columns, truth)


def _open(path):
    path = Path(path)
    if not path.is_file():
        raise DataError(f"There is no catalog {path}; check catalog.path.")
    name = path.name.lower()
    kind = "fits" if ".fit" in name else "ascii.ecsv" if name.endswith(".ecsv") else None
    if kind is None:
        kind = "ascii.csv" if name.endswith(".csv") else "ascii.commented_header"
    try:
        table = Table.read(path, format=kind)
    except Exception as err:  # astropy raises many types on malformed input
        text = str(err).strip().splitlines()
        raise DataError(
            f"{path} is not a readable catalog ({text[0][:120] if text else err})."
        ) from err
    if len(table) == 0:
        raise DataError(f"{path} has no rows.")
    return table


def _floats(table, name, path):
    try:
        return np.ma.filled(np.ma.asarray(table[name], dtype=float), np.nan)
    except (TypeError, ValueError) as err:
        raise DataError(f"{path}: column {name!r} holds text where a number should be.") from err


def _name(value):
    return re.sub(r"\s+", "", value.decode() if isinstance(value, bytes) else str(value))
