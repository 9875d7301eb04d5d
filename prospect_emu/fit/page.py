"""Figures of a result in files, and one HTML page that holds them and the numbers."""

import base64
import html
from functools import partial

from ..files import figure_bytes, save_figure
from . import plots
from .spectrum_plot import spectrum_figure

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font-family: sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em; color: #222; }}
table {{ border-collapse: collapse; margin: 1em 0; }}
td, th {{ padding: .25em .8em; border-bottom: 1px solid #ddd; text-align: left; }}
td.n {{ text-align: right; font-variant-numeric: tabular-nums; }}
img {{ max-width: 100%; }} h2 {{ margin-top: 2em; }} li.problem {{ color: #B04A00; }}
</style></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""


# What a figure shows, for readers who do not see it.
_SHOWN = {
    "sed": "Photometry, the fit and its residuals",
    "spectrum": "Spectrum, the fit and its residuals",
    "sfh": "Star-formation rate against lookback time",
    "corner": "Posterior of all pairs of parameters",
}


def document(title, parts):
    """A whole HTML page of a title, which is text, and parts, which are HTML."""
    return _PAGE.format(title=html.escape(title), body="\n".join(parts))


def figures(result, parameters=None):
    """What can be drawn of a result: name -> (function of the result, dots per inch).

    The corner plot is of `parameters`, see `prospect_emu.fit.plots.corner_figure`.
    """
    out = {}
    if result.photometry.bands:
        out["sed"] = plots.sed_figure, 150
    if result.spectrum is not None:
        out["spectrum"] = spectrum_figure, 150
    if result.vectors is not None or result.history is not None:
        out["sfh"] = plots.sfh_figure, 150
    corner = plots.corner_figure
    out["corner"] = partial(corner, parameters=parameters) if parameters else corner, 100
    return out


def page(result, title, parameters=None):
    """One HTML page without links to other files.

    Parameters
    ----------
    result : FitResult
    title : str
    parameters : sequence of str, optional
        Of the corner plot.

    Returns
    -------
    str
    """
    info = result.info
    facts = {
        "status": info["status"],
        "redshift": "free" if info["zred"] is None else f"{info['zred']:.5g}",
        "ln Z": f"{result.logz:.2f} ± {result.logz_err:.2f}",
        "effective samples": f"{result.n_eff:.0f}",
        "likelihood calls": info["ncall"],
        "seconds": f"{info['seconds']:.1f}",
        "fluxes from": info["emulator"],
        "libraries": info["libraries"],
        "seed": info["seed"],
    }
    if result.photometry.bands:
        p = result.photometry
        facts["chi2 of the best sample"] = f"{p.chi2:.1f} for {p.mask.sum()} bands"
    if result.certificate is not None:
        facts["certificate"] = str(result.certificate)
    body = []
    problems = info.get("problems", [])
    if problems:
        lines = "".join(f'<li class="problem">{html.escape(p)}</li>' for p in problems)
        body.append(f"<ul>{lines}</ul>")
    body.append(_rows((k, v) for k, v in facts.items()))
    for name, (draw, dpi) in figures(result, parameters).items():
        image = base64.b64encode(figure_bytes(draw(result), dpi=dpi)).decode()
        body.append(f'<p><img alt="{_SHOWN[name]}" src="data:image/png;base64,{image}"></p>')
    body.append(_summary(result))
    notes = "".join(f"<li>{html.escape(n)}</li>" for n in info.get("notes", []))
    body.append(f"<ul>{notes}</ul>" if notes else "")
    return document(title, body)


def write_figures(result, folder, stem="", suffix="png", only=None, parameters=None):
    """Write the figures of a result as PNG or PDF.

    Parameters
    ----------
    result : FitResult
    folder : pathlib.Path
    stem : str
        Beginning of the files' names.
    suffix : {"png", "pdf"}
    only : collection of str, optional
        Names of `figures`.
    parameters : sequence of str, optional
        Of the corner plot.

    Returns
    -------
    list of pathlib.Path
    """
    written = []
    for name, (draw, dpi) in figures(result, parameters).items():
        if only is None or name in only:
            path = folder / f"{stem}{name}.{suffix}"
            save_figure(draw(result), path, dpi, suffix)
            written.append(path)
    return written


def _rows(pairs):
    cells = "".join(
        f"<tr><th>{html.escape(str(k))}</th><td>{html.escape(str(v))}</td></tr>" for k, v in pairs
    )
    return f"<table>{cells}</table>"


def _summary(result):
    table = result.summary()
    shown = [n for n in table.colnames if n != "truth" or result.truth]
    rows = ["".join(f"<th>{html.escape(n)}</th>" for n in shown)]
    for row in table:
        values = (row[n] for n in shown)
        rows.append("".join(
            f"<td>{html.escape(v)}</td>" if isinstance(v, str) else f'<td class="n">{v:.4g}</td>'
            for v in values
        ))  # fmt: skip
    table = "<table>" + "".join(f"<tr>{r}</tr>" for r in rows) + "</table>"
    return f'<div style="overflow-x: auto">{table}</div>'
