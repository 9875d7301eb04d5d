"""Insertion ranks: does each new live point fall anywhere among the others?

If new points are drawn uniformly from the prior above the threshold, the rank of
each among the live points is uniform (Fowlie, Handley & Su 2020, MNRAS 497,
5256). Bounds that miss a part of the region show as a trend. Walks that are too
short need not: a point that did not move lies anywhere among the others.
"""

from bisect import bisect_left, insort

import numpy as np
from scipy.stats import kstest, kstwobign


def births(ids, batches, logl, lower):
    """Threshold above which each point of a dynesty run was drawn.

    A point replaces the one that died before it under the same id.

    Parameters
    ----------
    ids, batches : ndarray of int, shape (n,)
        dynesty's ``samples_id`` and ``samples_batch``; ids are unique to a batch.
    logl : ndarray, shape (n,)
        Ascending.
    lower : sequence of float
        Lower end of each batch; minus infinity for the initial run.

    Returns
    -------
    ndarray, shape (n,)
    """
    out = np.asarray(lower, dtype=float)[batches]
    order = np.argsort(ids, kind="stable")
    same = np.flatnonzero(ids[order[1:]] == ids[order[:-1]])
    out[order[same + 1]] = logl[order[same]]
    return out


def ranks(logl, birth):
    """Rank of each point among the live points when it was born.

    Parameters
    ----------
    logl, birth : ndarray, shape (n,)
        Contours of death and birth.

    Returns
    -------
    rank, nlive : ndarray of int, shape (n,)
        From 0 to ``nlive - 1``; a point counts among the live ones at its birth.
    """
    rank, nlive = np.empty(logl.size, dtype=int), np.empty(logl.size, dtype=int)
    order = np.argsort(birth, kind="stable")
    contours = birth[order]
    starts = np.flatnonzero(np.r_[True, contours[1:] != contours[:-1]])
    live: list = []
    values = logl.tolist()
    for first, last in zip(starts, [*starts[1:], logl.size], strict=True):
        born = order[first:last].tolist()
        contour = contours[first]
        dead = bisect_left(live, contour)
        while dead < len(live) and live[dead] == contour:
            dead += 1
        del live[:dead]
        for i in born:
            insort(live, values[i])
        for i in born:
            rank[i] = bisect_left(live, values[i])
            nlive[i] = len(live)
    return rank, nlive


def p_value(rank, nlive):
    """Kolmogorov-Smirnov p-value of uniform ranks.

    With as many live points throughout, the discrete form of Fowlie et al. (2020);
    else the continuous one of ``(rank + 1/2) / nlive``.
    """
    if rank.size == 0:
        return float("nan")
    n = int(nlive[0])
    if (nlive != n).any():
        return float(kstest((rank + 0.5) / nlive, "uniform").pvalue)
    share = np.cumsum(np.bincount(rank, minlength=n)) / rank.size
    distance = np.abs(share - np.arange(1, n + 1) / n).max()
    return float(kstwobign.sf(distance * np.sqrt(rank.size)))


def insertion_test(results):
    """p-value of the insertion ranks of a dynesty run, without those drawn at a batch's start.

    The points that start a batch have each rank once, whatever was done.
    """
    keys = results.keys()
    bounds = results["batch_bounds" if "batch_bounds" in keys else "batch_logl_bounds"]
    lower = np.asarray(bounds, dtype=float).reshape(-1, 2)[:, 0]
    logl = np.asarray(results["logl"])
    birth = births(
        np.asarray(results["samples_id"]), np.asarray(results["samples_batch"]), logl, lower
    )  # fmt: skip
    rank, nlive = ranks(logl, birth)
    later = birth > lower[np.asarray(results["samples_batch"])]
    return p_value(rank[later], nlive[later])
