"""Statistics of weighted samples."""

import numpy as np


def weighted_quantiles(values, weights, q):
    """Quantiles of weighted samples.

    Parameters
    ----------
    values : ndarray, shape (n, ...)
    weights : ndarray, shape (n,)
        Not negative, not all zero.
    q : array_like, shape (k,)
        Between 0 and 1.

    Returns
    -------
    ndarray, shape (k, ...)
        Linear between the samples, each placed in the middle of its own weight;
        with equal weights numpy's method "hazen".
    """
    values, q = np.asarray(values, dtype=float), np.asarray(q, dtype=float)
    flat = values.reshape(len(values), -1)
    out = np.empty((q.size, flat.shape[1]))
    for j, column in enumerate(flat.T):
        order = np.argsort(column, kind="stable")
        w = weights[order]
        middle = (np.cumsum(w) - 0.5 * w) / w.sum()
        out[:, j] = np.interp(q, middle, column[order])
    return out.reshape(q.size, *values.shape[1:])
