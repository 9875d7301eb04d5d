"""Learnt maps that do not know the points which walk in them.

A map that is fitted to points follows their noise: in its coordinates they lie closer together
than points drawn anew. Walks that start at these points and do not forget them fully then
make posteriors too narrow, by 5 % of a 17-dimensional Gaussian with 1000 live points, and
ln Z too high, by 2 (docs/sampling.md). So points are divided into groups, all descendants of one
ancestor in the same one, and each group walks in a map of the others.
"""

import numpy as np

from .quadratic_map import GroupedMap, QuadraticMap

GROUPS = 4


def fit(live, clan, coordinates):
    """Maps of live points.

    Parameters
    ----------
    live : ndarray, shape (n, ndim)
        In the unit cube.
    clan : ndarray of int, shape (n,)
        Who has the same ancestor; -1 for points without relatives.
    coordinates : UnitCoordinates or the like

    Returns
    -------
    dict
        Of arrays, for checkpoints: the points ``u``, their ``clan``, the ``group`` of each clan,
        and of the maps ``order``, ``coefficients`` and ``scale``.
    """
    clan = clan.copy()
    alone = clan < 0
    clan[alone] = clan.max(initial=0) + 1 + np.arange(alone.sum())
    _, clan, sizes = np.unique(clan, return_inverse=True, return_counts=True)
    group = balanced(sizes)
    y = coordinates.start(live)[0]
    maps = []
    for g in range(GROUPS):
        others = group[clan] != g
        # Where hardly any others are left, all have one ancestor, and nothing can be done.
        few = np.count_nonzero(others) < len(y) // 4
        maps.append(QuadraticMap.fit(y if few else y[others]))
    arrays = {k: np.array([getattr(m, k) for m in maps]) for k in QuadraticMap.ARRAYS}
    return {"u": live.copy(), "clan": clan, "group": group, **arrays}


def balanced(sizes, groups=GROUPS):
    """The group of each clan, the largest clan first, each into the smallest group."""
    group, total = np.empty(len(sizes), dtype=int), [0] * groups
    for i in np.argsort(-sizes, kind="stable").tolist():
        group[i] = total.index(min(total))
        total[group[i]] += int(sizes[i])
    return group


def clans(known, points):
    """The clan of each of `points` (n, ndim) among those of `fit`; -1 where it has none."""
    rows = {u.tobytes(): c for u, c in zip(known["u"], known["clan"].tolist(), strict=True)}
    return np.array([rows.get(u.tobytes(), -1) for u in points])


def map_for(known, clan):
    """The map in which points of these clans walk."""
    arrays = zip(*(known[k] for k in QuadraticMap.ARRAYS), strict=True)
    maps = [QuadraticMap(*each) for each in arrays]
    return GroupedMap(maps, np.where(clan < 0, 0, known["group"][clan]))


def remember(known, points, clan):
    """Add points that have walked."""
    known["u"] = np.concatenate([known["u"], points])
    known["clan"] = np.concatenate([known["clan"], clan])
