"""A result in other forms: quantiles of any function, tables, anesthetic, ArviZ, HTML."""

import html

import numpy as np
from astropy.table import Table

from ..errors import DataError, ProspectEmuError
from .labels import LABELS, UNITS
from .quantiles import weighted_quantiles

# Rows of a notebook's display.
_SHOWN = 12


def quantiles(result, function, shares):
    """Posterior quantiles of what a function makes of each sample.

    Parameters
    ----------
    result : FitResult
    function : callable
        ``function(columns)``, with `FitResult.columns`, arrays of shape (nsample,) by name;
        gives (nsample,) or (nsample, k).
    shares : sequence of float
        Between 0 and 1.

    Returns
    -------
    ndarray, shape (nshare,) or (nshare, k)

    Raises
    ------
    DataError
        If the function gives another number of values.
    """
    values = np.asarray(function(result.columns()), dtype=float)
    if values.shape[:1] != result.weights.shape or values.ndim > 2:
        raise DataError(
            f"The function gives an array of shape {values.shape} for {result.weights.size} "
            "samples; one value, or one row, is needed for each."
        )
    return weighted_quantiles(values, result.weights, np.asarray(shares, dtype=float))


def samples_table(result, draws=None, seed=0):
    """Posterior samples as a table; see `FitResult.table`."""
    columns = result.columns()
    if draws is None:
        table = Table({**columns, "weight": result.weights, "lnlike": result.log_likelihood})
    else:
        rows = result.draw(draws, seed)
        table = Table({n: np.asarray(c)[rows] for n, c in columns.items()})
    for name in columns:
        unit = UNITS.get(name, "")
        # Logarithms and percentages are described: astropy has no unit for some.
        table[name].description = unit
    return table


def to_anesthetic(result):
    """`anesthetic.MCMCSamples` of the weighted samples; see `FitResult.to_anesthetic`."""
    try:
        from anesthetic import MCMCSamples
    except ImportError as err:
        raise ProspectEmuError(
            "anesthetic is not installed: pip install anesthetic, or use FitResult.table()."
        ) from err
    columns = result.columns()
    return MCMCSamples(
        data=np.stack(list(columns.values()), axis=1),
        columns=list(columns),
        labels=[LABELS.get(name, name) for name in columns],
        weights=result.weights,
        logL=result.log_likelihood,
    )


def to_arviz(result, draws=10000, seed=0):
    """`xarray.DataTree` in ArviZ's layout, equally weighted; see `FitResult.to_arviz`."""
    try:
        from arviz_base import from_dict
    except ImportError as err:
        raise ProspectEmuError(
            "ArviZ is not installed: pip install arviz-base, or use FitResult.table()."
        ) from err
    rows = result.draw(draws, seed)
    posterior = {n: np.asarray(c)[rows][None] for n, c in result.columns().items()}
    sample_stats = {"lp": result.log_posterior[rows][None]}
    return from_dict({"posterior": posterior, "sample_stats": sample_stats})


def as_html(result):
    """The summary as HTML, for notebooks."""
    info, rows = result.info, []
    summary = result.summary()
    for row in summary[:_SHOWN]:
        low, mid, high = row["p16"], row["p50"], row["p84"]
        value = f"{mid:.4g} <sup>+{high - mid:.2g}</sup><sub>&minus;{mid - low:.2g}</sub>"
        cells = row["parameter"], value, row["unit"]
        rows.append("".join(f"<td>{c if c is value else html.escape(str(c))}</td>" for c in cells))
    more = len(summary) - len(rows)
    head = (
        f"<b>FitResult</b>: {html.escape(info['status'])}, ln Z = {result.logz:.2f} &plusmn; "
        f"{result.logz_err:.2f}, {result.n_eff:.0f} effective samples"
    )
    body = "".join(f"<tr>{r}</tr>" for r in rows)
    body += f'<tr><td colspan="3">and {more} more: summary()</td></tr>' if more > 0 else ""
    problems = "".join(f"<li>{html.escape(p)}</li>" for p in info.get("problems", []))
    return f"{head}<table>{body}</table>" + (f"<ul>{problems}</ul>" if problems else "")
