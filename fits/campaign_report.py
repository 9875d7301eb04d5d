"""The summary of a campaign: one HTML page, its figures, and SEDs of the worst fits."""

import html
from collections import Counter
from pathlib import Path
from urllib.parse import quote

import numpy as np
from astropy.table import Table

from ..errors import ProspectEmuError
from ..files import save_figure
from ..fit.page import document
from ..fit.plots import sed_figure
from ..fit.result import FitResult
from ..observe.filters import load_filters
from . import figures
from .fingerprints import Key, file_name
from .fit_table import fit_table
from .store import Store, write_file

FOLDER = "summary"
WORST = 12


def write_summary(results, folder, worst=WORST):
    """Write ``summary/index.html`` and what it shows.

    Parameters
    ----------
    results : Results
    folder : path-like
        The campaign's.
    worst : int
        This many fits of highest chi2 per band get a figure.

    Returns
    -------
    pathlib.Path
    """
    store, out = Store(folder), Path(folder) / FOLDER
    out.mkdir(parents=True, exist_ok=True)
    body = [_overview(results), _notes(results, store)]
    for label in dict.fromkeys(results.table["emulator"]):
        rows = results.done(emulator=label, repeat=0)
        body.append(f"<h2>{html.escape(label)}</h2>")
        if not rows.any():
            body.append("<p>No converged fit yet.</p>")
            continue
        body += _figures(results, rows, label, out)
        body.append(_worst(results, rows, store, out, worst))
    body.append(_failed(results))
    body.append("<h2>All fits</h2>" + fit_table(results.table))
    path = out / "index.html"
    write_file(path, document(results.plan["config"]["name"], body).encode())
    return path


def _overview(results):
    table = results.table
    rows = []
    for label in dict.fromkeys(table["emulator"]):
        mine = table[table["emulator"] == label]
        states = Counter(mine["state"])
        done = mine[mine["state"] == "done"]
        seconds = np.asarray(done["seconds"], dtype=float) if "seconds" in done.colnames else []
        typical = f"{np.median(seconds):.1f}" if len(seconds) else ""
        counts = [states.get(s, 0) for s in ("done", "stalled", "failed", "pending")]
        rows.append([label, len(mine), *counts, len(mine) - sum(counts), typical])
    head = ("emulator", "fits", "done", "stalled", "failed", "pending", "other", "median seconds")
    fit = results.plan["config"]["fit"]
    settings = ", ".join(f"{k} {v}" for k, v in fit.items() if v not in (None, False, "", []))
    return _table(head, rows) + f"<p>Settings: {html.escape(settings)}.</p>"


def _notes(results, store):
    notes = "".join(f"<li>{html.escape(n)}</li>" for n in results.plan["notes"])
    reasons: Counter = Counter()
    if results.plan["left_out"]:
        try:
            reasons.update(Table.read(store.path("left_out.ecsv"), format="ascii.ecsv")["reason"])
        except OSError:
            pass
    out = f"<ul>{notes}</ul>" if notes else ""
    if reasons:
        rows = [[reason, n] for reason, n in reasons.most_common(12)]
        out += f"<p>{results.plan['left_out']} galaxies are left out (left_out.ecsv):</p>"
        out += _table(("reason", "galaxies"), rows)
    return out


def _figures(results, rows, label, out):
    table = results.table[rows]
    waves = np.array([f.wave_effective for f in load_filters(results.bands)]) / 1e4
    made = {}
    if "log_stellar_mass_p50" in table.colnames:
        made["mass_sfr"] = figures.mass_sfr_figure(table)
        made["redshift_mass"] = figures.redshift_mass_figure(table)
    made |= {
        "residuals": figures.residual_figure(
            results.bands, waves, results.chi[rows], results.offset[rows]
        ),
        "chi2": figures.chi2_figure(table),
    }
    ranked = [c.removeprefix("rank_") for c in table.colnames if c.startswith("rank_")]
    if ranked:
        made["ranks"] = figures.rank_figure(table, ranked)
    lines = []
    for name, figure in made.items():
        file = out / file_name(label) / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        save_figure(figure, file, dpi=110)
        lines.append(f'<p><img src="{_link(file, out)}" alt="{name.replace("_", " ")}"></p>')
    return lines


def _worst(results, rows, store, out, number):
    """The fits of highest chi2 per band, each linked to its SED."""
    index = np.flatnonzero(rows)
    table = results.table
    ratio = np.asarray(table["chi2"], float)[index] / np.asarray(table["bands"], float)[index]
    lines = []
    for i in index[np.argsort(-ratio)][:number]:
        row = table[int(i)]
        key = Key(str(row["emulator"]), str(row["galaxy"]), int(row["repeat"]))
        file = out / f"{store.name(key)}.png"
        try:
            save_figure(sed_figure(FitResult.read(store.fit_path(key))), file, dpi=110)
        except ProspectEmuError as err:
            lines.append([key.galaxy, str(err), "", "", ""])
            continue
        j = int(np.nanargmax(np.abs(results.chi[i])))
        link = f'<a href="{_link(file, out)}">{html.escape(key.galaxy)}</a>'
        lines.append(
            [_Raw(link), f"{row['zred']:.3f}", f"{row['chi2']:.1f}", int(row["bands"]),
             f"{results.bands[j]} ({results.chi[i, j]:+.1f})"]
        )  # fmt: skip
    head = ("galaxy", "redshift", "chi2", "bands", "worst band (sigma)")
    return "<h3>Worst fits</h3>" + _table(head, lines)


def _failed(results):
    bad = results.table[np.isin(results.table["state"], ["failed", "stalled", "damaged"])]
    if not len(bad):
        return ""
    rows = [[r["fit"], r["state"], r["detail"]] for r in bad[:200]]
    return "<h2>Fits without a result</h2>" + _table(("fit", "state", "why"), rows)


class _Raw(str):
    """Markup that is not to be escaped."""


def _table(head, rows):
    def cell(value):
        if isinstance(value, _Raw):
            return f"<td>{value}</td>"
        kind = ' class="n"' if isinstance(value, (int, np.integer)) else ""
        return f"<td{kind}>{html.escape(str(value))}</td>"

    top = "".join(f"<th>{h}</th>" for h in head)
    body = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _link(file, folder):
    # The names of files hold percent signs themselves.
    return quote(file.relative_to(folder).as_posix())
