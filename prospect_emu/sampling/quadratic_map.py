"""Coordinates in which a cloud of points is round, learnt from the points.

One coordinate after the other is predicted from those before it by a quadratic
polynomial, and its residual is scaled to unit variance: thin curved sheets become a
ball, in which long steps are accepted. The map is triangular: its inverse is one
matrix product, and its volume element is constant.
"""

from functools import cache

import numpy as np

# Of the sums of squares of features, for each of which there are as many points.
_RIDGE = 1.0
# A coordinate has at most one feature for this many points.
_POINTS = 3


class QuadraticMap:
    """``y[order[k]] = sum_i coefficients[i, k] feature_i(z_0 .. z_{k-1}) + scale[k] z_k``.

    Attributes
    ----------
    order : ndarray of int, shape (ndim,)
        The coordinate that is best predicted by the others comes last.
    coefficients : ndarray, shape (nfeature, ndim)
        Of 1, z_0, z_0 z_0 - 1, z_1, z_0 z_1, z_1 z_1 - 1, ...
    scale : ndarray, shape (ndim,)
    """

    ARRAYS = ("order", "coefficients", "scale")

    def __init__(self, order, coefficients, scale):
        self.order = order
        self.coefficients = coefficients
        self.scale = scale
        # Of the plain products that `inverse` takes, z_0 z_0 in place of z_0 z_0 - 1.
        first, second = _factors(len(order))
        square = np.flatnonzero((first == second) & (first < len(order)))
        self._product = coefficients[: len(first)].T.copy()
        self._product[:, 0] -= self._product[:, square].sum(axis=1)

    @classmethod
    def fit(cls, y):
        """The map of points `y` (n, ndim), several times as many as dimensions."""
        n, ndim = y.shape
        order = _order(y)
        ends = [_features(k) for k in range(ndim + 1)]
        features, gram = np.empty((ends[-1], n)), np.empty((ends[-1], ends[-1]))
        coefficients, scale = np.zeros((ends[-1], ndim)), np.empty(ndim)
        features[0], gram[0, 0] = 1.0, n
        for k in range(ndim):
            use = slice(0, ends[k])
            if ends[k] > n / _POINTS:
                # Linear features alone, or the first of them.
                use = np.array([0, *ends[:k]])[: max(1, n // _POINTS)]
            used = features[use]
            square = gram[use][:, use].copy()
            square[np.diag_indices_from(square)] += _RIDGE
            target = y[:, order[k]]
            # The mean is taken out first, as it alone is not to be shrunk.
            mean = target.mean()
            solved = np.linalg.solve(square, used @ (target - mean))
            residual = target - mean - solved @ used
            free = max(1, n - len(used))
            scale[k] = max(np.sqrt(residual @ residual / free), 1e-12)
            coefficients[use, k] = solved
            coefficients[0, k] += mean
            new = slice(ends[k], ends[k + 1])
            _fill(features, residual / scale[k], k, ends)
            gram[new, : ends[k + 1]] = features[new] @ features[: ends[k + 1]].T
            gram[: ends[k], new] = gram[new, : ends[k]].T
        return cls(order, coefficients, scale)

    def inverse(self, z):
        """Points ``y`` (n, ndim) at `z` (n, ndim)."""
        columns = np.ascontiguousarray(z.T)
        y = np.empty_like(z)
        y[:, self.order] = self.combine(_products(columns), columns).T
        return y

    def combine(self, products, columns):
        """Coordinates (ndim, n) in this map's order, of `_products` of ``z.T`` (ndim, n)."""
        out = self._product @ products
        out += self.scale[:, None] * columns
        return out

    def forward(self, y):
        """Points ``z`` (n, ndim) whose `inverse` is `y`."""
        n, ndim = y.shape
        ends = [_features(k) for k in range(ndim + 1)]
        features, z = np.empty((ends[-1], n)), np.empty_like(y)
        features[0] = 1.0
        for k in range(ndim):
            predicted = self.coefficients[: ends[k], k] @ features[: ends[k]]
            z[:, k] = (y[:, self.order[k]] - predicted) / self.scale[k]
            _fill(features, z[:, k], k, ends)
        return z


class GroupedMap:
    """Points that have one of several maps each.

    Parameters
    ----------
    maps : list of QuadraticMap
    group : ndarray of int, shape (n,)
        Which of them each point has.
    """

    def __init__(self, maps, group):
        # Point after point of the first map, of the second, ...
        self._points = np.argsort(group, kind="stable")
        ends = np.cumsum(np.bincount(group, minlength=len(maps))).tolist()
        parts = zip(maps, [0, *ends[:-1]], ends, strict=True)
        self._parts = [(m, slice(a, b)) for m, a, b in parts if b > a]

    def forward(self, y):
        """As `QuadraticMap.forward`."""
        z = np.empty_like(y)
        for one, part in self._parts:
            rows = self._points[part]
            z[rows] = one.forward(y[rows])
        return z

    def inverse(self, z):
        """As `QuadraticMap.inverse`."""
        columns = z.T[:, self._points]
        products, y = _products(columns), np.empty_like(z)
        for one, part in self._parts:
            out = one.combine(products[:, part], columns[:, part])
            y[self._points[part, None], one.order] = out.T
        return y


@cache
def _factors(ndim):
    """Which two coordinates each feature of all but the last multiplies; `ndim` stands for 1."""
    pairs = [(ndim, ndim)]
    for k in range(ndim - 1):
        pairs += [(k, ndim), *((j, k) for j in range(k)), (k, k)]
    first, second = np.array(pairs).T
    return first, second


def _products(columns):
    """Products (nfeature, n) of coordinates (ndim, n) for `QuadraticMap.combine`."""
    first, second = _factors(len(columns))
    known = np.concatenate([columns, np.ones((1, columns.shape[1]))])
    out = known[first]
    out *= known[second]
    return out


def _features(k):
    """Number of features of the first `k` coordinates."""
    return 1 + k + k * (k + 1) // 2


def _fill(features, z, k, ends):
    """The features (nfeature, n) that coordinate `k` adds; linear ones stand at ``ends[:k]``."""
    start = ends[k]
    features[start] = z
    if k:
        np.multiply(features[ends[:k]], z, out=features[start + 1 : start + 1 + k])
    np.multiply(z, z, out=features[start + 1 + k])
    features[start + 1 + k] -= 1.0


def _order(y):
    """From the coordinate that is hardest to predict by the others, linearly, to the easiest."""
    spread = y.std(axis=0)
    covariance = np.cov((y / np.where(spread > 0, spread, 1.0)).T).reshape(y.shape[1], -1)
    covariance[np.diag_indices_from(covariance)] += 1e-9
    left, out = list(range(y.shape[1])), []
    while left:
        precision = np.linalg.inv(covariance[np.ix_(left, left)])
        out.append(left.pop(int(np.argmax(np.diag(precision)))))
    return np.array(out[::-1])
