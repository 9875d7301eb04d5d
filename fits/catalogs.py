"""Catalogs of many galaxies: one interface for 3D-HST, any table with a column map, and mocks.

A `Sample` is what a campaign works on: names, and for each row a Prospector
`obs`. Which rows are fitted is `select`'s business; it gives a reason for every
other one.
"""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy.table import Table

from ..errors import DataError, ProspectEmuError
from ..observe.filters import load_filters
from ..observe.flux_units import PLACEHOLDERS, columns_to_maggies
from ..observe.spectrum_files import read_spectrum
from ..observe.table_files import flags, missing, numbers, pure_numbers, read_table, single
from ..observe.tables import make_obs
from ..prospector.magnification import describe_magnification
from ..prospector.redshift_prior import check_normal, describe_prior
from . import threedhst, uncover_catalog
from .catalog_columns import columns_by_name, factors
from .fields import FIELDS

TRUE = "true_"  # prefix of a mock's true parameters


@dataclass(frozen=True)
class Sample:
    """A catalog that was read.

    Attributes
    ----------
    ids : tuple of str
        One per row, all different, as the catalog writes them.
    table : astropy.table.Table
    zred : ndarray, shape (ngalaxy,)
        NaN where there is no redshift.
    free : ndarray of bool, shape (ngalaxy,), or None
        Where the redshift is fitted.
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
    free: np.ndarray | None = None

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
    name, number = Counter(sample.ids).most_common(1)[0]
    if number > 1:
        raise DataError(f"{config.path} holds galaxy {name!r} more than once; remove it.")
    lacking = [c for c in config.keep if c not in sample.table.colnames]
    if lacking:
        raise DataError(
            f"{config.path} has no column {', '.join(lacking)}, which catalog.keep names; its "
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
        dropped = set(rows) - {rows[i] for i in chosen}
        left_out += [(sample.ids[r], f"select.limit = {config.limit}") for r in dropped]
        rows = sorted(set(rows) - dropped)
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
    """Pairs of (failed, shape (ngalaxy,); row -> reason), the most serious first."""

    def column(name):
        if name not in sample.table.colnames:
            raise DataError(
                f"[select] names the column {name!r}, which the catalog lacks; its columns are "
                f"{', '.join(sample.table.colnames[:60])}."
            )
        return single(sample.table, name, "The catalog")

    zred = sample.zred
    fixed = np.ones(zred.shape, bool) if sample.free is None else ~sample.free
    lacks = fixed & ~_known(zred)
    tests = [(lacks, lambda row: f"no redshift ({zred[row]:g})")]
    if zred_range is not None:
        low, high = zred_range
        with np.errstate(invalid="ignore"):
            outside = fixed & ~((zred >= low) & (zred <= high))
        tests.append(
            (outside, lambda row: f"redshift {zred[row]:g} outside {low:g} to {high:g}, the "
             "emulators' range")
        )  # fmt: skip
    for name, value in config.equal.items():
        values = column(name)
        if isinstance(value, str) != (values.dtype.kind == "U"):
            raise DataError(
                f"select.equal.{name} = {value!r}, but that column holds values like "
                f"{values.data.tolist()[0]!r}; give it in the same form."
            )
        # What is missing equals nothing: filled, a boolean would be true.
        tests.append((np.ma.getmaskarray(values), lambda row, n=name: f"{n} is missing"))
        tests.append(
            (values.data != value,
             lambda row, n=name, v=values.data, w=value: f"{n} = {v[row]}, not {w}")
        )  # fmt: skip
    for name, bounds in config.range.items():
        column(name)
        values = numbers(sample.table, name, "The catalog")
        with np.errstate(invalid="ignore"):
            outside = ~((values >= bounds[0]) & (values <= bounds[1]))
        tests.append(
            (outside, lambda row, n=name, v=values, b=bounds: f"{n} = {v[row]:.6g} outside "
             f"{b[0]:g} to {b[1]:g}")
        )  # fmt: skip
    return tests


def _known(zred):
    return np.isfinite(zred) & (zred > 0) & ~np.isin(zred, PLACEHOLDERS)


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
    if config.layout:
        plain = uncover_catalog.as_table(config)
        return uncover_catalog.checked(_read_table(replace(plain, layout="")))
    if config.band_columns:
        table, bands, notes = columns_by_name(config)
        return replace(_from_columns(config, table, bands), notes=notes)
    if not config.bands:
        raise DataError(
            "A catalog of kind 'table' needs [catalog.bands]: filter = { flux = 'column', error = "
            "'column' }, or band_columns."
        )
    for band, entry in config.bands.items():
        where = f"catalog.bands.{band}"
        if not (isinstance(entry, dict) and {"flux", "error"} <= set(entry)):
            raise DataError(f"{where} must give flux and error, the columns' names.")
        unknown = set(entry) - {"flux", "error", "unit", "floor", "factor", "use", "upper_limit"}
        if unknown:
            raise DataError(
                f"{where}.{min(unknown)} is unknown; use unit, floor, factor, use or upper_limit."
            )
        for key in set(entry) - {"floor", "factor"}:
            if not isinstance(entry[key], str):
                raise DataError(f"{where}.{key} = {entry[key]!r} must be a text.")
    return _from_columns(config, read_table(config.path, text=[config.id_column]), config.bands)


def _from_columns(config, table, columns, truth=()):
    kinds = ("flux", "error", "use", "upper_limit")
    given = (config.zred_column, config.zred_error_column, config.ebv_column, config.spectrum)
    needed = [config.id_column, *(name for name in given if name)]
    needed += [entry[k] for entry in columns.values() for k in kinds if k in entry]
    lacking = [n or "''" for n in needed if n not in table.colnames]
    if lacking:
        raise DataError(
            f"{config.path} lacks the columns {', '.join(lacking)}; its columns are "
            f"{', '.join(table.colnames[:60])}."
        )
    fluxes = Counter(entry[k] for entry in columns.values() for k in ("flux", "error"))
    name, times = fluxes.most_common(1)[0]
    if times > 1:
        raise DataError(f"catalog.bands names the column {name!r} {times} times; each has its own.")
    filters, ids = load_filters(columns), _ids(table, config.id_column, config.path)
    zred, error = (
        pure_numbers(table, name, config.path) if name else np.full(len(table), np.nan)
        for name in (config.zred_column, config.zred_error_column)
    )
    near = _known(zred) & (error > 0)
    free, same = (near | ~_known(zred) if config.zred_prior else near), None
    if config.zred_prior and "{id}" not in config.zred_prior:
        same = describe_prior(config.zred_prior)
    mu = all_mu = None
    if config.magnification in table.colnames:
        mu = pure_numbers(table, config.magnification, config.path)
    elif config.magnification and "{id}" not in config.magnification:
        all_mu = describe_magnification(config.magnification)
    factor = factors(config, table, columns, filters)
    # Each of shape (ngalaxy, nband).
    maggies, unc, used, limits = (np.zeros((len(table), len(columns)), t) for t in "ddbb")
    used, limits, floors = ~used.astype(bool), limits.astype(bool), []
    for i, (band, entry) in enumerate(columns.items()):
        where = f"catalog.bands.{band}"
        option = f"{where}.unit" if "unit" in entry else "catalog.unit"
        maggies[:, i], unc[:, i], _ = columns_to_maggies(
            table,
            entry["flux"],
            entry["error"],
            entry.get("unit", config.unit),
            config.path,
            option,
            filters[i : i + 1],
            config.missing,
        )
        maggies[:, i], unc[:, i] = maggies[:, i] * factor[:, i], unc[:, i] * factor[:, i]
        for key, out in (("use", used), ("upper_limit", limits)):
            if key in entry:
                out[:, i] = flags(table, entry[key], config.path)
        floor = entry.get("floor", config.floor)
        if not (type(floor) in (int, float) and 0.0 <= floor < 1.0):
            raise DataError(f"{where}.floor = {floor!r} is not a fraction; 5 % is written 0.05.")
        floors.append(float(floor))

    def make(row):
        more = {"truth": {n: float(table[TRUE + n][row]) for n in truth}} if truth else {}
        if limits.any():
            more["upper_limits"] = limits[row]
        left_out = [f"{b} is masked: {columns[b]['use']} is false."
                    for b, u in zip(columns, used[row], strict=True) if not u]  # fmt: skip
        if near[row]:
            more["zred_prior"] = {"normal": check_normal(float(zred[row]), float(error[row]))}
        elif free[row]:
            own = config.zred_prior.replace("{id}", ids[row])
            more["zred_prior"] = same or describe_prior(own)
        if mu is not None and not np.isnan(mu[row]):
            more["magnification"] = describe_magnification(mu[row])
        elif mu is None and config.magnification:
            own = config.magnification.replace("{id}", ids[row])
            more["magnification"] = all_mu or describe_magnification(own)
        if config.spectrum and not missing(table[config.spectrum])[row]:
            more["spectrum_file"] = _spectrum(config, str(table[config.spectrum][row]).strip())
        obs = make_obs(
            filters, maggies[row], unc[row], "free" if free[row] else zred[row], config.floor,
            used[row], left_out, id=ids[row], **more,
        )  # fmt: skip
        obs["maggies_unc"] = np.hypot(obs["maggies_unc_catalog"], floors * np.abs(obs["maggies"]))
        return obs

    return Sample(ids=ids, table=table, zred=zred, bands=tuple(columns), make=make, free=free)


def _spectrum(config, name):
    """A galaxy's spectrum: its file, how it is read, and a checksum."""
    folder = Path(config.path).parent
    path, out = folder / name, {**(config.spectra or {}), "spectrum": str(folder / name)}
    if (folder / str(out.get("resolution", ""))).is_file():
        out["resolution"] = str(folder / out["resolution"])
    how = {k: out.get(k) for k in ("spectrum_unit", "wave_unit", "air")}
    read_spectrum(path, how["spectrum_unit"], how["wave_unit"], how["air"])  # or say why not
    return {**out, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _read_mocks(config):
    table = read_table(config.path)
    bands = table.meta.get("bands")
    if not bands:
        raise DataError(
            f"{config.path} is not a catalog of mocks; make one with python -m "
            "prospect_emu.fits.mocks catalog."
        )
    columns = {b: {"flux": f"f_{b}", "error": f"e_{b}", "unit": "mgy"} for b in bands}
    truth = [n.removeprefix(TRUE) for n in table.colnames if n.startswith(TRUE)]
    return _from_columns(config, table, columns, truth)


def _ids(table, column, path):
    """Ids as the catalog writes them; those of a column of floats without their decimal point."""
    values, nameless = single(table, column, path), np.flatnonzero(missing(table[column]))
    if nameless.size:
        raise DataError(
            f"{path}: row {nameless[0] + 1} has no id in column {column!r}; give it one."
        )
    whole = values.dtype.kind == "f" and np.all(values.data == np.round(values.data))
    return tuple(f"{v:.0f}" if whole else str(v).strip() for v in values.data)
