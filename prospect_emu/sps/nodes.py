"""Wavelengths that stand for a band: interpolative decompositions of dust's transmission.

Within a band the transmission of the dust is smooth. Its values at a few wavelengths, the
*nodes*, give it everywhere, linearly: chosen and weighted from the curves themselves
over a family of the law's parameters.
"""

import itertools

import numpy as np

# Where the priors do not say: what FSPS's parameters are used for.
RANGES = {
    "dust1": (0.0, 4.0),
    "dust2": (0.0, 4.0),
    "dust3": (0.0, 2.0),
    "dust_index": (-2.2, 0.4),
    "dust1_index": (-1.6, -0.4),
    "mwr": (2.0, 6.0),
    "uvb": (0.0, 3.0),
    "frac_nodust": (0.0, 1.0),
}
_LEAST_MWR = 0.5
# Optical depths: never below zero in a family, and denser near it.
_DEPTHS = ("dust1", "dust2", "dust3")
# Of the upper limit: a lower one below this is zero.
_NEARLY = 0.05
# Curves of a family: the first, three times as many with each parameter more, the second.
_FEW, _MOST = 50, 1000
# The worst curve of a family may be this many times worse than the average.
WORST = 6.0
# Singular values above this are accurate as square roots of eigenvalues.
_SQUARED = 1e-6


def law_ranges(names, ranges):
    """Limits {name: (low, high)} of the law's free parameters, from `ranges` or `RANGES`."""
    out = {}
    for name in names:
        low, high = ranges.get(name, RANGES[name])
        if name in _DEPTHS:
            low, high = max(low, 0.0), max(high, 0.0)
        if RANGES[name][0] == 0.0 and 0.0 < low < _NEARLY * high:
            # Draws of a prior do not reach its ends, and vectors of a fit do.
            low = 0.0
        if name == "mwr":
            # The law divides by it.
            low = max(low, _LEAST_MWR)
        out[name] = float(low), float(high)
    return out


def family(ranges):
    """Parameters that span `ranges`: corners and an even sequence, dict of (m,) arrays.

    The sequence is Roberts's: multiples of the powers of a generalised golden ratio.
    """
    d = len(ranges)
    if not d:
        return {}
    ratio = 2.0
    for _ in range(60):
        ratio = (1.0 + ratio) ** (1.0 / (d + 1.0))
    n = min(_FEW * 3 ** (d - 1), _MOST)
    u = (0.5 + np.arange(1, n + 1)[:, None] * ratio ** -np.arange(1.0, d + 1.0)) % 1.0
    u = np.concatenate([np.array(list(itertools.product((0.0, 1.0), repeat=d))), u])
    out = {}
    for i, (name, (low, high)) in enumerate(ranges.items()):
        x = u[:, i]
        if name in _DEPTHS:
            # Every third down to where what is absorbed is proportional to the depth.
            thin = (np.arange(x.size) % 3 == 0) & (x > 0.0) & (x < 1.0)
            x = np.where(thin, 10.0 ** (6.0 * (x - 1.0)), x**2)
        out[name] = low + (high - low) * x
    return out


def skeleton(curves, weight, tolerance, worst=WORST):
    """Columns of `curves` from which all others follow linearly.

    Parameters
    ----------
    curves : ndarray, shape (m, n)
        One curve per row.
    weight : ndarray, shape (n,)
        How much each column counts. Errors are relative to a row's weighted sum.
    tolerance : float
    worst : float
        By how much a single row may exceed it; no more than the mean counts if infinite.

    Returns
    -------
    nodes : ndarray of int, shape (r,)
    matrix : ndarray, shape (r, n)
        ``curves ~ curves[:, nodes] @ matrix``.
    """
    weight = np.maximum(np.abs(weight), 1e-4 * np.abs(weight).max())
    scaled = curves * weight
    total = np.abs(scaled).sum(axis=1, keepdims=True)
    scaled = scaled / np.where(total > 0.0, total, 1.0)
    # Gram-Schmidt with pivoting: each node is where most is left unexplained. What is left is
    # not kept, only its squares by columns and, once their mean is small enough, by rows.
    size, rows = np.einsum("mn,mn->n", scaled, scaled), None
    small = tolerance / np.sqrt(size.size)
    basis, parts, nodes = np.zeros((len(scaled), 0)), np.zeros((0, weight.size)), []
    while len(nodes) < min(scaled.shape):
        if nodes and np.sqrt(max(size.sum(), 0.0) / len(scaled)) <= small:
            if rows is None:
                left = scaled - basis @ parts
                rows = np.einsum("mn,mn->m", left, left)
            if np.sqrt(max(rows.max(), 0.0)) <= worst * small:
                break
        nodes.append(int(np.argmax(size)))
        q = scaled[:, nodes[-1]] - basis @ parts[:, nodes[-1]]
        q -= basis @ (q @ basis)
        q /= np.linalg.norm(q)
        part = q @ scaled
        if rows is not None:
            rows -= q * (2.0 * (scaled @ part - basis @ (parts @ part)) - q * (part @ part))
        size -= part**2
        basis, parts = np.column_stack([basis, q]), np.vstack([parts, part])
    matrix = np.linalg.solve(parts[:, nodes], parts)
    return np.array(nodes, dtype=int), matrix * weight[nodes, None] / weight


def low_rank(matrix, tolerance, scale=None, most=400):
    """Factors (m, r), (r, n) of a matrix by a random projection, double precision.

    Errors are relative to `scale` (n,), by default each column's largest value. The
    projection onto `most` directions is wider than the rank that `tolerance` asks for here
    (50 to 250). The first factor has orthonormal columns.
    """
    scale = np.abs(matrix).max(axis=0) if scale is None else scale
    scale = np.where(scale > 0.0, scale, 1.0)
    matrix = matrix / scale
    if tolerance >= _SQUARED and max(matrix.shape) > 2 * min(matrix.shape):
        # Of its square, which is small: a tenth of the time.
        wide = matrix.shape[0] < matrix.shape[1]
        square = matrix @ matrix.T if wide else matrix.T @ matrix
        size, vectors = np.linalg.eigh(square)
        size, vectors = np.sqrt(np.maximum(size[::-1], 0.0)), vectors[:, ::-1]
        rank = max(int((size > tolerance * size[0]).sum()), 1)
        kept = vectors[:, :rank]
        if wide:
            return kept, kept.T @ matrix * scale
        return matrix @ kept / size[:rank], size[:rank, None] * kept.T * scale
    if min(matrix.shape) > 2 * most:
        sketch = matrix @ np.random.default_rng(0).standard_normal((matrix.shape[1], most))
        basis = np.linalg.qr(sketch)[0]
        u, size, vt = np.linalg.svd(basis.T @ matrix, full_matrices=False)
        u = basis @ u
    else:
        u, size, vt = np.linalg.svd(matrix, full_matrices=False)
    rank = max(int((size > tolerance * size[0]).sum()), 1)
    return u[:, :rank], size[:rank, None] * vt[:rank] * scale
