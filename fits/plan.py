"""The fits of a campaign: which there are, and what each is made from."""

import json
from collections import Counter
from dataclasses import dataclass

import numpy as np
from astropy.table import Table

from ..errors import DataError, FilterError, OutputError, SetupError
from ..files import fingerprint as hash_of
from ..fit.description import package_versions
from ..fit.restframe import columns_of
from ..observe.table_files import write_table
from . import fingerprints, work
from .backends import label_of, load_backend
from .catalogs import read_sample, select
from .fingerprints import Key
from .store import DONE, FAILED, PENDING, STALLED


@dataclass
class Plan:
    """All fits of a campaign.

    Attributes
    ----------
    tasks : dict of Key -> Task
        In the order in which they are made: a whole catalog with one emulator
        after the other, repeats last.
    left_out : list of (str, str)
        Galaxy and reason.
    notes : tuple of str
    catalog : dict
        Galaxy -> catalog columns for the results table.
    """

    tasks: dict
    left_out: list
    notes: tuple
    catalog: dict


def make_plan(config, store):
    """Read the catalog, choose the galaxies, and fingerprint every fit.

    Parameters
    ----------
    config : Config
    store : Store

    Returns
    -------
    Plan

    Raises
    ------
    ProspectEmuError
        If the catalog, an emulator or a setting is at fault.
    """
    specs = {label_of(spec): spec for spec in config.emulators}
    if len({label.lower() for label in specs}) < len(config.emulators):
        raise SetupError(f"Two emulators have the same name ({', '.join(specs)}); rename a file.")
    backends = {label: load_backend(spec) for label, spec in specs.items()}
    sample = read_sample(config.catalog)
    notes = list(sample.notes)
    notes += _unknown_bands(sample, backends, config.select.unknown_bands)
    ranges = [b.zred_range for b in backends.values()]
    zred_range = max(r[0] for r in ranges), min(r[1] for r in ranges)
    rows, observed, left_out = select(sample, config.select, zred_range)
    columns_of(config.fit.restframe)  # an unknown filter is no galaxy's fault
    used, tasks = fingerprints.versions(), {}
    store.tell_apart(sample.ids[row] for row in rows)
    photometry = {row: fingerprints.photometry_of(observed[row]) for row in rows}
    untimed = [label for label, b in backends.items() if not b.keeps_time]
    if untimed and config.fit.max_seconds is not None:
        raise SetupError(
            f"Prospector knows no fit.max_seconds, which the emulator {untimed[0]!r} needs; use "
            "fit.max_calls."
        )
    identities = {label: b.identity(config.fit) for label, b in backends.items()}
    for repeat in range(config.repeats):
        for label, backend in backends.items():
            for row in rows:
                key = Key(label, sample.ids[row], repeat)
                known = _masked(photometry[row], backend.bands)
                if known["phot_mask"].sum() < config.select.min_bands:
                    if repeat == 0:
                        left_out.append((key.galaxy, f"too few bands that {label} knows"))
                    continue
                seed = fingerprints.seed_of(config.seed, key.galaxy, repeat)
                tasks[key] = work.Task(
                    key=key,
                    path=str(store.fit_path(key).absolute()),
                    lock=str(store.path("locks").absolute() / "fits"),
                    backend=specs[label],
                    photometry=known,
                    fit=config.fit,
                    seed=seed,
                    layout=config.catalog.layout,
                    fingerprint=fingerprints.fingerprint_of(
                        key, seed, config.fit, known, identities[label], used
                    ),
                )
    if not tasks:
        reason, number = Counter(reason for _, reason in left_out).most_common(1)[0]
        raise DataError(
            f"No galaxy is left to fit: {len(left_out)} are left out, {number} of them since "
            f"{reason!r}; widen [select], or correct [catalog]."
        )
    catalog = {sample.ids[r]: _catalog_columns(sample, r, config.catalog.keep) for r in rows}
    return Plan(tasks, left_out, tuple(notes), catalog)


def _unknown_bands(sample, backends, policy):
    """Notes on bands that an emulator does not know; refuses them unless told to mask them."""
    notes = []
    for label, backend in backends.items():
        known = sample.bands if backend.bands is None else backend.bands
        unknown = [b for b in sample.bands if b not in known]
        if unknown and policy == "refuse":
            raise FilterError(
                f"Emulator {label!r} does not know {len(unknown)} bands of the catalog: "
                f"{', '.join(unknown)}. Remove them from the catalog's bands, set "
                "select.unknown_bands = 'mask', or use another emulator."
            )
        reason = f"is left out of the fits with {label}, which does not have it."
        notes += [f"{band} {reason}" for band in unknown]
    return notes


def _masked(photometry, bands):
    """Photometry in the bands that an emulator knows."""
    if bands is None or set(photometry["bands"]) <= set(bands):
        return photometry
    keep = np.isin(photometry["bands"], bands)
    out = {k: v[keep] if isinstance(v, np.ndarray) else v for k, v in photometry.items()}
    return {**out, "bands": [b for b in photometry["bands"] if b in bands]}


def _catalog_columns(sample, row, names):
    out = {}
    for name in names:
        value = sample.table[name][row]
        if value is np.ma.masked:
            value = None
        elif hasattr(value, "item"):
            value = value.item()
        # JSON knows numbers, texts and nothing.
        known = value is None or isinstance(value, (bool, int, float, str))
        out[name] = value if known else str(value)
    return out


def write_plan(store, config, plan, entries, options):
    """For `status`, `tables` and people; a job array's parts would all write the same.

    A result that differs in accepted fields is expected as it is.
    """
    fits = []
    for k, t in plan.tasks.items():
        if k not in entries and options.accept:  # of another part, which accepts it likewise
            state = store.look(k, t.fingerprint, options.accept).state
        else:
            state = entries[k].state if k in entries else PENDING
        if state in (DONE, STALLED):
            wanted = store.known_hash(k)
        elif state == FAILED:
            wanted = hash_of(store.failure(k)["fingerprint"])
        else:
            wanted = hash_of(t.fingerprint)
        fits.append(
            {"emulator": k.emulator, "galaxy": k.galaxy, "repeat": k.repeat, "fingerprint": wanted}
        )
    described = {
        "config": config.as_dict(),
        "notes": list(plan.notes),
        "left_out": len(plan.left_out),
        "versions": package_versions(),
        "fits": fits,
        "catalog": plan.catalog,
    }
    if options.chunk and store.read_json("plan.json") == json.loads(json.dumps(described)):
        return
    store.write_json("plan.json", described)
    columns = list(zip(*plan.left_out, strict=True)) or [(), ()]
    table = Table([np.array(c, str) for c in columns], names=("galaxy", "reason"))
    try:
        write_table(table, store.path("left_out.ecsv"))
    except OSError as err:
        raise OutputError(f"Writing in {store.folder} failed ({err}); free space.") from err
