"""Emulators of neighbouring redshift ranges, stitched into one.

Redshift is the hardest axis for a network. Several networks, each with a
*domain* in redshift, share it; where two domains overlap, one fades into the
other (Mathews et al. 2023, eq. 11-13). Faded are fluxes: they, not magnitudes,
add up where one of two is near zero.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from ..errors import ProspectEmuError
from .emulator_base import unmeasured

# As in EmulatorBase.check: the range's own edge may sit one ulp off.
_SLACK = 1e-9


def fading_weights(zred, domains):
    """Weight of each part's flux.

    With theta = pi/2 (z - a) / (b - a) over the overlap [a, b] of two domains,
    sin^2(theta) for the upper one and cos^2(theta) for the lower; 1 where a
    domain is alone, 0 outside it.

    Parameters
    ----------
    zred : array_like, shape (...)
    domains : ndarray, shape (npart, 2)
        Redshift ranges by increasing redshift; neighbours overlap, others do not.

    Returns
    -------
    ndarray, shape (..., npart)
        Between 0 and 1. Sums to 1 within the whole range, to 0 outside it, and to
        NaN where `zred` is.
    """
    zred = np.asarray(zred, dtype=float)[..., None]
    lower, upper = domains.T
    slack = _SLACK * (upper[-1] - lower[0])
    outside = (zred < lower[0] - slack) | (zred > upper[-1] + slack)
    phase = np.clip((zred - lower[1:]) / (upper[:-1] - lower[1:]), 0.0, 1.0)
    rising = np.sin(0.5 * np.pi * phase) ** 2
    ends = np.ones_like(zred)
    # 1 - sin^2 instead of cos^2: exactly zero where the overlap ends.
    weights = np.concatenate([ends, rising], -1) * np.concatenate([1.0 - rising, ends], -1)
    return np.where(outside, 0.0, weights)


def misfit(parts):
    """Why emulators cannot be stitched in this order, or None.

    Parameters
    ----------
    parts : sequence of Emulator
        By increasing redshift.

    Returns
    -------
    str or None
        The end of a sentence.
    """
    if not parts:
        return "there are none"
    for part in parts:
        if getattr(part, "flux_net", None) is None:
            return f"{part!r} is not a single network"
    first = parts[0]
    for part in parts[1:]:
        pair = f"{first.name!r} and {part.name!r}"
        if part.parameters != first.parameters:
            return f"{pair} have other parameters"
        zred = first.index("zred")
        if not np.array_equal(np.delete(part.bounds, zred, 0), np.delete(first.bounds, zred, 0)):
            return f"{pair} have other ranges of parameters beside the redshift's"
        if (part.filters, part.filter_hashes) != (first.filters, first.filter_hashes):
            return f"{pair} have other bands, or the same in another order or with other curves"
        if part.manifest["versions"]["libraries"] != first.manifest["versions"]["libraries"]:
            return f"{pair} have other libraries ({first.libraries}; {part.libraries})"
        if part.fixed != first.fixed:
            names = sorted({*part.fixed, *first.fixed})
            other = [k for k in names if part.fixed.get(k) != first.fixed.get(k)]
            return f"{pair} hold other values fixed ({', '.join(other)})"
    return _gap(parts)


def _gap(parts):
    """What is wrong with the domains of emulators, or None."""
    domains = [(p.name, *p.bounds[p.index("zred")]) for p in parts]
    for (a, lo, hi), (b, next_lo, next_hi) in pairwise(domains):
        pair = f"{a!r} ({lo:g} < z < {hi:g}) and {b!r} ({next_lo:g} < z < {next_hi:g})"
        if next_lo <= lo or next_hi <= hi:
            return f"of {pair} one lies inside the other, or they are not in order"
        if next_lo >= hi:
            return f"{pair} leave a gap, or no overlap to fade in"
    for (a, _, hi), (_, _, _), (c, lo, _) in zip(domains, domains[1:], domains[2:], strict=False):
        if lo < hi:
            return f"{a!r} (z < {hi:g}) and {c!r} (z > {lo:g}) overlap with a third between them"
    return None


def stitch(name, parts):
    """One emulator from several.

    Parameters
    ----------
    name : str
    parts : sequence of Emulator
        In any order. They must agree in all but their redshift ranges, of which
        each overlaps with its neighbours' alone.

    Returns
    -------
    Emulator
        Its error statistics are NaN, for only a test set over the whole range
        tells them: ``dataclasses.replace(emulator, **residual_statistics(...))``
        (`prospect_emu.training.evaluate`).

    Raises
    ------
    ProspectEmuError
        If the parts do not fit together.
    """
    zred = [p.bounds[p.index("zred")].tolist() for p in parts]
    parts = tuple(parts[i] for i in sorted(range(len(zred)), key=zred.__getitem__))
    problem = misfit(parts)
    if problem:
        raise ProspectEmuError(
            f"These emulators cannot be stitched: {problem}; train the parts alike, in "
            "overlapping redshift ranges."
        )
    first, bounds = parts[0], whole_bounds(parts)
    recipe = first.manifest["recipe"] | {"zred_range": bounds[first.index("zred")].tolist()}
    return replace(
        first,
        name=name,
        bounds=bounds,
        **unmeasured(len(first.filters), np.nan),
        manifest={
            "recipe": recipe,
            "versions": first.manifest["versions"],
            "label": first.manifest.get("label"),
        },
        errors=None,
        flux_net=None,
        mfrac_net=None,
        parts=parts,
    )


def whole_bounds(parts):
    """Ranges (nparam, 2) of parts by increasing redshift together."""
    bounds, zred = parts[0].bounds.copy(), parts[0].index("zred")
    bounds[zred, 1] = parts[-1].bounds[zred, 1]
    return bounds
