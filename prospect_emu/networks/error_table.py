"""The error of an emulator where a galaxy is: by redshift and dust2, which drive it.

At small dust2 the dust shines in proportion to it, and a magnitude of the far infrared goes
to infinity: no network follows. At the ends of its redshifts a network has neighbours on
one side only. One number per band hides both.
"""

from dataclasses import dataclass, replace

import numpy as np

# Added to dust2 before the logarithm, in which variances are interpolated.
OFFSET = 1e-3


def hats(x, nodes):
    """Weights (..., node) of linear interpolation at `x` (...), constant beyond the nodes."""
    x = np.clip(np.asarray(x, dtype=float), nodes[0], nodes[-1])[..., None]
    step = np.diff(nodes)
    rising = np.clip((x - nodes[:-1]) / step, 0.0, 1.0)
    ends = np.ones_like(x)
    return np.concatenate([ends, rising], -1) - np.concatenate([rising, 0.0 * ends], -1)


def dust_coordinate(dust2):
    """What variances are linear in between nodes."""
    return np.log(np.asarray(dust2, dtype=float) + OFFSET)


@dataclass(frozen=True, eq=False)
class ErrorTable:
    """Root mean square of an emulator's residuals, bias included.

    Attributes
    ----------
    zred : ndarray, shape (nz,)
    dust2 : ndarray, shape (ndust,)
        Nodes, increasing.
    sigma : ndarray, shape (nz, ndust, nband)
        Arsinh magnitudes.
    """

    zred: np.ndarray
    dust2: np.ndarray
    sigma: np.ndarray

    def weights(self, zred, dust2):
        """Of the nodes' variances, (n, nz * ndust), at redshifts and dust2 (n,)."""
        across = hats(zred, self.zred), hats(dust_coordinate(dust2), dust_coordinate(self.dust2))
        return np.einsum("ni,nj->nij", *across).reshape(-1, self.zred.size * self.dust2.size)

    def at(self, zred, dust2):
        """Standard deviations (n, nband) at redshifts and dust2 (n,)."""
        zred, dust2 = np.broadcast_arrays(np.atleast_1d(zred), np.atleast_1d(dust2))
        return np.sqrt(self.weights(zred, dust2) @ self.variance)

    @property
    def variance(self):
        """Of the nodes, (nz * ndust, nband)."""
        return np.square(self.sigma, dtype=float).reshape(-1, self.sigma.shape[-1])

    def select(self, columns):
        """The table of some bands."""
        return replace(self, sigma=self.sigma[..., columns])

    def at_redshift(self, zred):
        """A table of this redshift alone."""
        row = np.sqrt(np.tensordot(hats(zred, self.zred), self.sigma.astype(float) ** 2, 1))
        return ErrorTable(np.array([float(zred)]), self.dust2, row[None])

    def typical(self, zred=None, above=0.1):
        """Standard deviations (nband,) at a redshift, mean square over dust2 beyond `above`.

        Without a redshift: over all redshifts.
        """
        across = hats(zred, self.zred) if zred is not None else _spans(self.zred)
        dust = np.linspace(above, self.dust2[-1], 64)
        along = hats(dust_coordinate(dust), dust_coordinate(self.dust2)).mean(0)
        return np.sqrt(np.einsum("i,j,ijb->b", across, along, self.sigma.astype(float) ** 2))

    def inconsistency(self, nband):
        """What does not fit together in a table read from a file, or None."""
        z, d, sigma = self.zred, self.dust2, self.sigma
        if sigma.shape != (z.size, d.size, nband):
            return f"errors have shape {sigma.shape} for {z.size} redshifts and {d.size} dust2"
        if not all(np.isfinite(a).all() for a in (z, d, sigma)) or np.any(sigma < 0.0):
            return "errors are not finite and positive"
        return None if np.all(np.diff(z) > 0) and np.all(np.diff(d) > 0) else "errors not in order"

    def tensors(self):
        """Arrays by name, for a file."""
        return {f"errors/{k}": v for k, v in vars(self).items()}

    @classmethod
    def from_tensors(cls, tensors):
        """Inverse of `tensors`; None if a file has none."""
        if "errors/sigma" not in tensors:
            return None
        return cls(*(tensors[f"errors/{k}"] for k in ("zred", "dust2", "sigma")))


def _spans(nodes):
    """Share of the range that each node stands for, (node,)."""
    if nodes.size == 1:
        return np.ones(1)
    step = np.diff(nodes)
    return 0.5 * (np.r_[step, 0.0] + np.r_[0.0, step]) / step.sum()


def fit_errors(zred, dust2, at, squares, counts, rounds=30):
    """The table whose mean squared pull is one around every node.

    Parameters
    ----------
    zred, dust2 : ndarray
        The nodes.
    at : (ndarray, ndarray), shape (ncell,) each
        Redshift and dust2 of cells of samples.
    squares : ndarray, shape (ncell, nband)
        Mean squared residuals there.
    counts : ndarray, shape (ncell, nband)
        Samples in each cell, by weight.
    rounds : int
        Of the fixed-point iteration.

    Returns
    -------
    ErrorTable
    """
    table = ErrorTable(zred, dust2, np.ones((zred.size, dust2.size, squares.shape[1])))
    weights = table.weights(*at)
    total = weights.T @ counts
    # One floor for bands without any error: pulls are ratios.
    squares = np.maximum(squares, 1e-14)
    variance = weights.T @ (counts * squares) / total
    for _ in range(rounds):
        variance *= weights.T @ (counts * squares / (weights @ variance)) / total
    return replace(table, sigma=np.sqrt(variance).astype("f4").reshape(table.sigma.shape))
