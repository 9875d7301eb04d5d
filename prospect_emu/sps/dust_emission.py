"""Dust emission: templates in qPAH, Umin and gamma (Draine & Li 2007, or THEMIS).

The light that dust absorbs comes back in the shape m of the templates. Dust absorbs some
of that too: of L emitted, ``r = 1 - int m T dnu / int m dnu`` stays, with T the
transmission of the diffuse dust, and is emitted again, until less than 0.01 Lsun is left
over (of the mass that FSPS is given: one Msun in a parametric history, all of it in a
table, where nothing is left over to speak of).
"""

import numpy as np

from . import constants

# FSPS's loop ends where what is left to emit is no more than this, Lsun.
LEFT_OVER = float(np.float32(1e-2))


def mixture(ingredients, qpah, umin, gamma):
    """Templates around a point of the grid and their weights.

    qPAH and Umin are held at the ends of the grid and gamma between 0 and 1, as in
    FSPS (which reads beyond its table for Umin above the last).

    Parameters
    ----------
    ingredients : Ingredients
    qpah, umin, gamma : array_like, shape (n,)

    Returns
    -------
    index : ndarray of int, shape (n, 8)
        Rows of ``dust_lnu.reshape(-1, nspan)``.
    weight : ndarray, shape (n, 8)
    """
    axes = ingredients.dust_qpah, ingredients.dust_umin, np.array([0.0, 1.0])
    n = np.broadcast(qpah, umin, gamma).size
    point = (np.broadcast_to(np.atleast_1d(x), n) for x in (qpah, umin, gamma))
    return constants.mixture(axes, point)


def templates(ingredients, qpah, umin, gamma):
    """Shape of the emission, (n, nspan), on the last nspan wavelengths."""
    index, weight = mixture(ingredients, qpah, umin, gamma)
    rows = ingredients.dust_lnu.reshape(-1, ingredients.dust_lnu.shape[-1])
    return np.einsum("ni,niw->nw", weight, rows[index])


def escaped(absorbed, through):
    """Luminosity to put into the shape ``m T / int m dnu`` of what leaves the dust.

    Parameters
    ----------
    absorbed : ndarray, shape (n,)
        Lsun, of the mass that FSPS is given (see above). Where it is negative, as below zero
        optical depths make it, nothing is emitted.
    through : ndarray, shape (n,)
        ``int m T dnu / int m dnu``, share of the emission that leaves the dust.

    Returns
    -------
    ndarray, shape (n,)
        ``absorbed (1 + r + ... + r^(k-1))`` with ``r = 1 - through`` and k the number of
        FSPS's passes. With all of them ``absorbed / through``.
    """
    absorbed = np.maximum(absorbed, 0.0)
    stays = np.minimum(np.maximum(1.0 - np.asarray(through, dtype=float), 0.0), 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        passes = np.log(LEFT_OVER / absorbed) / np.log(stays)
    passes = np.where(absorbed * stays <= LEFT_OVER, 1.0, np.ceil(np.maximum(passes, 1.0)))
    return absorbed * (1.0 - stays**passes) / through
