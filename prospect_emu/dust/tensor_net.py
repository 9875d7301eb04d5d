"""A tensor network: functions of one parameter each, multiplied and mixed linearly.

    y = mean + sum_l v_l sum_(i,k) sum_j core[(i,k), j, l] f_i(x_0) g_j(x_1) h_k(x_2)

f and h are cubic splines, g is linear between its nodes; which products f_i h_k take part
is a list. For smooth functions of three parameters it needs no training and less than a
network of layers: its parts are singular vectors of a table.
"""

import itertools
from dataclasses import dataclass, replace

import numpy as np

from ..errors import ModelFileError
from ..sps.constants import between, find_cell

_PARTS = ("first_nodes", "first", "second_nodes", "second", "third_nodes", "third", "pairs",
          "core", "vectors", "mean")  # fmt: skip
# Samples from which on the core at all nodes, 5 ms of work, is worth it.
MANY = 500


@dataclass(frozen=True)
class TensorNet:
    """See the module.

    Attributes
    ----------
    first_nodes, third_nodes : ndarray, shape (n0,), (n2,)
        Uniform nodes of the splines.
    first, third : ndarray, shape (4, n0 - 1, r0), (4, n2 - 1, r2)
        Their coefficients per cell, highest power first.
    second_nodes, second : ndarray, shape (n1,), (n1, r1)
        Increasing nodes of the middle functions, and their values there.
    pairs : ndarray of int, shape (npair, 2)
        Which functions of the first and the third parameter are multiplied.
    core : ndarray, shape (npair, r1, rank)
    vectors : ndarray, shape (rank, n_out)
    mean : ndarray, shape (n_out,)
    """

    first_nodes: np.ndarray
    first: np.ndarray
    second_nodes: np.ndarray
    second: np.ndarray
    third_nodes: np.ndarray
    third: np.ndarray
    pairs: np.ndarray
    core: np.ndarray
    vectors: np.ndarray
    mean: np.ndarray

    def __post_init__(self):
        # Stored in single precision, computed in double: then every language agrees.
        core = self.core.astype(float).reshape(len(self.pairs), -1)
        object.__setattr__(self, "_core", core)
        object.__setattr__(self, "_vectors", self.vectors.astype(float))

    def __call__(self, x):
        """Outputs (n, n_out) of parameters (n, 3)."""
        return self._few(x) if len(x) < MANY else self._many(x)

    def _few(self, x):
        f = _spline(self.first_nodes, self.first, x[:, 0])
        h = _spline(self.third_nodes, self.third, x[:, 2])
        g = between(self.second, *find_cell(self.second_nodes, x[:, 1]))
        products = f[:, self.pairs[:, 0]] * h[:, self.pairs[:, 1]]
        mixed = (products @ self._core).reshape(len(x), g.shape[1], -1)
        return np.matmul(g[:, None, :], mixed)[:, 0] @ self._vectors + self.mean

    def _many(self, x):
        # The middle functions are linear between their nodes, so that samples of one cell
        # need the core at two nodes only, where `_few` mixes all functions of each sample.
        nodes = self.second_nodes
        cell, frac = find_cell(nodes, x[:, 1])
        order = np.argsort(cell, kind="stable")
        x, cell, frac = x[order], cell[order], frac[order, None]
        # One row per function: long rows multiply fast.
        f = np.ascontiguousarray(_spline(self.first_nodes, self.first, x[:, 0]).T)
        h = np.ascontiguousarray(_spline(self.third_nodes, self.third, x[:, 2]).T)
        npair, r1, rank = self.core.shape
        by_function = np.moveaxis(self._core.reshape(self.core.shape), 1, 0).reshape(r1, -1)
        core = (self.second @ by_function).reshape(nodes.size, npair, rank)
        mixed = np.empty((len(x), rank))
        edges = np.flatnonzero(np.diff(cell, prepend=-1, append=nodes.size))
        for start, stop in itertools.pairwise(edges):
            # Few enough samples at a time for their products to stay in the cache.
            products = f[self.pairs[:, 0], start:stop]
            products *= h[self.pairs[:, 1], start:stop]
            part, k, w = products.T, cell[start], frac[start:stop]
            mixed[start:stop] = (1.0 - w) * (part @ core[k]) + w * (part @ core[k + 1])
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        out = mixed[back] @ self._vectors
        out += self.mean
        return out

    def select(self, columns):
        """The same network with a subset of its outputs."""
        part = np.ascontiguousarray(self.vectors[:, columns])
        return replace(self, vectors=part, mean=self.mean[columns])

    @property
    def widths(self):
        """Number of parameters, of products, of mixed vectors and of outputs."""
        return (3, len(self.pairs), *self.vectors.shape)

    def tensors(self, prefix):
        """Arrays by name, for a file."""
        return {f"{prefix}/{name}": getattr(self, name) for name in _PARTS}

    @classmethod
    def from_tensors(cls, tensors, prefix, where="the file"):
        """Inverse of `tensors`; `ModelFileError` if the shapes do not fit together."""
        try:
            net = cls(*(tensors[f"{prefix}/{name}"] for name in _PARTS))
        except KeyError as err:
            raise ModelFileError(
                f"{where} lacks a part of its network {prefix!r} ({err})."
            ) from err
        n0, n1, n2 = (a.size for a in (net.first_nodes, net.second_nodes, net.third_nodes))
        r0, r1, r2 = net.first.shape[-1], net.second.shape[-1], net.third.shape[-1]
        rank, n_out = net.vectors.shape
        npair = len(net.pairs)
        good = (
            net.first.shape == (4, n0 - 1, r0)
            and net.third.shape == (4, n2 - 1, r2)
            and net.second.shape == (n1, r1)
            and net.pairs.shape == (npair, 2)
            and net.core.shape == (npair, r1, rank)
            and net.mean.shape == (n_out,)
            and bool((net.pairs >= 0).all() and (net.pairs < (r0, r2)).all())
        )
        if not good:
            raise ModelFileError(f"{where}: the parts of network {prefix!r} do not fit together.")
        return net


def _spline(nodes, coefficients, x):
    step = (nodes[-1] - nodes[0]) / (nodes.size - 1)
    cell = np.clip(((x - nodes[0]) / step).astype(int), 0, nodes.size - 2)
    u = (x - nodes[cell])[:, None]
    a, b, c, d = coefficients[:, cell]
    return ((a * u + b) * u + c) * u + d
