"""Transforms that users write in their own words, recognised by what they do.

Two are in most scripts: age bins whose edges follow the age of the universe, and
masses in bins from ratios of star-formation rates. Astropy's cosmology in them
costs half a millisecond a vector. The constants (edges, widths, limits) are read
off the function itself, and the formula is then compared with it.
"""

import numpy as np

from .transforms import age_of_universe

# The only redshift at which published bins change their form (Wang et al. 2023).
_SWITCH = 3.0
_TOLERANCE = 1e-11
_KNOWN = 1e-10
_PROBES = 150
# Limits at which scripts clip the ratios; the priors hardly ever reach them.
_LIMITS = (10.0, 100.0, 7.0, np.inf)
# Where scripts keep the total mass: as such, or as an element of a joint parameter.
_MASSES = (("logmass", 0), ("massmet", 0), ("zredmassmet", 1), ("nzsfh", 1))
_RATIOS = (("logsfr_ratios", 0), ("nzsfh", 3))


def age_bins(rows, given, expected):
    """Bins with edges linear in log10 of the age of the universe, or None.

    Parameters
    ----------
    rows : callable
        The transform row by row, of batches by keyword.
    given : dict
        What it reads: arrays (n, k), or (1, k) where fixed.
    expected : ndarray, shape (n, nbin, 2)
        What it gives.
    """
    moving = [k for k, v in given.items() if len(v) > 1]
    if moving != ["zred"] or expected.shape[2:] != (2,) or given["zred"].shape[1:] != (1,):
        return None
    fixed = {k: v for k, v in given.items() if k != "zred"}
    lo, hi = given["zred"].min(), given["zred"].max()
    zred = np.linspace(lo, hi, _PROBES)
    near = [_SWITCH - 1e-9, _SWITCH, _SWITCH + 1e-9]
    zred = np.sort(np.concatenate([zred, [z for z in near if lo <= z <= hi]]))
    bins = rows(zred=zred[:, None], **fixed)
    if not np.isfinite(bins).all():
        return None
    # Each form by two of its rows; what does not follow from them is refused below.
    forms = []
    for part in (zred <= _SWITCH, zred > _SWITCH):
        at = np.flatnonzero(part)[[0, -1]] if part.sum() > 1 else None
        forms.append(None if at is None else _line(np.log10(age_of_universe(zred[at])), bins[at]))
    if not any(forms):
        return None
    first, second = (form or forms[1 - i] for i, form in enumerate(forms))

    def run(zred, **_):
        age = np.log10(age_of_universe(zred[:, 0]))[:, None, None]
        late = first[0] + first[1] * age
        early = zred[:, 0] > _SWITCH
        if early.any():
            late[early] = second[0] + second[1] * age[early]
        return late

    if np.allclose(run(zred[:, None]), bins, rtol=_TOLERANCE, atol=1e-12):
        return run
    return None


def _line(x, y):
    """Intercepts and slopes through two points."""
    if x[1] == x[0]:
        return None
    slope = (y[1] - y[0]) / (x[1] - x[0])
    # Constants exactly so.
    slope[np.abs(slope) < 1e-12] = 0.0
    return y[0] - slope * x[0], slope


def continuity_masses(rows, given, expected):
    """Masses in bins from ratios of their star-formation rates, or None.

    The widths of the bins follow from the masses at ratios of zero. Where they vary, they are
    those of ``agebins``, or depend on redshift as in `age_bins`, with a last edge that is the
    age of the universe.
    """
    moving = {k for k, v in given.items() if len(v) > 1}
    if expected.ndim != 2:
        return None
    for mass, at in _MASSES:
        for ratio, start in _RATIOS:
            if mass not in given or ratio not in given:
                continue
            if not moving <= {mass, ratio, "zred", "agebins"}:
                continue
            if given[ratio].shape[1] - start != expected.shape[1] - 1:
                continue
            flat = {k: v[:1].copy() for k, v in given.items()}
            flat[ratio][:, start:] = 0.0
            total = 10.0 ** flat[mass][0, at]
            # Per Msun; the sum of the masses must be the total.
            widths = rows(**flat)[0] / total
            if not np.isclose(widths.sum(), 1.0, rtol=1e-10) or not (widths > 0).all():
                continue
            if "agebins" in moving:
                widths = _widths_of_bins
            elif "zred" in moving:
                widths = _moving_widths(rows, flat, given["zred"], total)
                if widths is None:
                    continue
            for limit in _LIMITS:
                run = _continuity(mass, at, ratio, start, widths, limit)
                if np.allclose(run(**given), expected, rtol=_KNOWN, atol=0.0):
                    return run
    return None


def _moving_widths(rows, flat, zred, total):
    """Widths of bins as a function of redshift, from masses at ratios of zero; or None."""

    def bins(zred):
        share = rows(**{k: v for k, v in flat.items() if k != "zred"}, zred=zred) / total
        # From one year to the age of the universe.
        edges = 1.0 + np.cumsum(share, axis=1) * (age_of_universe(zred) - 1.0)
        edges = np.log10(np.concatenate([np.ones_like(zred), edges], axis=1))
        return np.stack([edges[:, :-1], edges[:, 1:]], axis=-1)

    found = age_bins(bins, {"zred": zred}, np.empty((1, 1, 2)))
    if found is None:
        return None

    return lambda zred, **_: _widths_of_bins(found(zred))


def _widths_of_bins(agebins, **_):
    years = 10.0**agebins
    return years[..., 1] - years[..., 0]


def _continuity(mass, at, ratio, start, widths, limit):
    def run(**values):
        steps = np.clip(values[ratio][:, start:], -limit, limit)
        width = widths(**values) if callable(widths) else widths
        share = np.ones((len(steps), width.shape[-1]))
        np.cumprod(10.0**-steps, axis=1, out=share[:, 1:])
        share = share * width
        share *= 10.0 ** values[mass][:, at : at + 1] / share.sum(axis=1, keepdims=True)
        return share

    return run


RECOGNISERS = (age_bins, continuity_masses)
