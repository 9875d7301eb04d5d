"""Proposals of nested sampling over plain arrays: many chains, one step at a time."""

from typing import Any

import numpy as np

# Of walks along differences. On live sets of mock galaxies (17 parameters, 45 bands) these
# forget their start two to three times as fast as steps in ellipsoids; the exact values
# matter little (docs/sampling.md).
CROSSOVERS = (0.0, 0.2, 1.0, 1.0)
FACTORS = (0.07, 1.4)
# Of walks in learnt coordinates: shares of the dimensions that a step changes, the range of its
# length, and how often it goes along a difference instead.
SHARES = (0.1, 0.3, 1.0)
LENGTHS = (0.15, 0.6)
_JUMP_EVERY = 5


def in_cube(u, nonbounded=None):
    """`dynesty.utils.unitcheck` for each row of `u` (n, ndim)."""
    if nonbounded is None:
        return ((u > 0) & (u < 1)).all(axis=1)
    hard, soft = u[:, nonbounded], u[:, ~nonbounded]
    return (
        ((hard > 0) & (hard < 1)).all(axis=1) & ((soft > -0.5) & (soft < 1.5)).all(axis=1)
    )  # fmt: skip


def reflect(u):
    """`dynesty.utils.apply_reflect` for any shape: fold the real line onto [0, 1]."""
    folded = np.abs(u)
    if folded.max(initial=0.0) > 3.0:  # else the folds below are all there can be
        folded = np.mod(folded, 2.0)
    np.subtract(2.0, folded, out=folded, where=folded > 1.0)
    return np.abs(folded, out=folded)


def ball_points(rng, shape):
    """Points uniform in the unit ball; `shape` is (..., dimension)."""
    z = rng.standard_normal(shape)
    radius = rng.random(shape[:-1]) ** (1.0 / shape[-1])
    z *= (radius / np.sqrt(np.einsum("...i,...i->...", z, z)))[..., None]
    return z


def displacements(rng, axes, walks):
    """Steps of all chains: uniform in each chain's ellipsoid.

    Parameters
    ----------
    axes : list of ndarray, shape (k, k)
        One per chain; chains that share an array share one product.

    Returns
    -------
    ndarray, shape (walks, nchain, k)
    """
    points = ball_points(rng, (walks, len(axes), axes[0].shape[0]))
    by_array: dict[int, list] = {}
    for i, a in enumerate(axes):
        by_array.setdefault(id(a), []).append(i)
    if len(by_array) == 1:
        return points @ axes[0].T
    for chains in by_array.values():
        points[:, chains] = points[:, chains] @ axes[chains[0]].T
    return points


def random_walks(
    u, loglstar, axes, scale, walks, rng, evaluate, periodic=None, reflective=None, nonbounded=None
):
    """dynesty's random walk (`generic_random_walk`), for all chains at once.

    Each chain takes `walks` steps, uniform in its ellipsoid scaled by `scale`
    (and uniform in the dimensions that the ellipsoid leaves out). A step
    outside the unit cube, or not above `loglstar`, is rejected.

    Parameters
    ----------
    u : ndarray, shape (n, ndim)
        Starts, all above `loglstar`.
    loglstar : float
    axes : list of ndarray, shape (k, k), k <= ndim
    scale : float
    walks : int
    rng : numpy.random.Generator
    evaluate : callable
        (m, ndim) -> parameters (m, ndim), log likelihoods (m,).
    periodic, reflective : sequence of int, optional
    nonbounded : ndarray of bool, shape (ndim,), optional
        As in dynesty.

    Returns
    -------
    u, v : ndarray, shape (n, ndim)
    logl : ndarray, shape (n,)
    accepted : ndarray of int, shape (n,)
    """
    n, ndim = u.shape
    k = axes[0].shape[0]
    steps = displacements(rng, axes, walks)
    steps *= scale
    free = rng.random((walks, n, ndim - k)) if k < ndim else None

    def propose(i, u):
        if free is None:
            proposal = u + steps[i]
        else:
            proposal = np.concatenate([u[:, :k] + steps[i], free[i]], axis=1)
        if periodic is not None:
            proposal[:, periodic] = np.mod(proposal[:, periodic], 1.0)
        if reflective is not None:
            proposal[:, reflective] = reflect(proposal[:, reflective])
        return proposal, in_cube(proposal, nonbounded)

    return _walk(u, loglstar, walks, propose, evaluate)


def difference_walks(u, loglstar, walks, rng, evaluate, periodic=None):
    """Walks along differences of the other chains' starts (differential evolution).

    A step is the difference of two starts, drawn anew, in some of the dimensions,
    times a factor that is uniform in its logarithm. Steps so follow the shape of
    the live points, change hardly constrained parameters without moving the
    others, and have no length to tune. As likely there as back, they keep the
    uniform distribution. Steps across a wall are reflected.
    ter Braak (2006, Stat. Comput. 16, 239) for the differences, Vrugt et al. (2009,
    Int. J. Nonlin. Sci. Num. 10, 273) for the subsets of dimensions.

    Parameters and returned values as for `random_walks`.
    """
    starts = u.copy()
    steps: list = []

    def propose(i, u):
        if not steps:
            # In blocks: a call per step costs as much as a small likelihood.
            block = min(walks - i, 32)
            steps.extend(_differences(starts, block, rng))
        proposal = u + steps.pop()
        wrapped = None if periodic is None else np.mod(proposal[:, periodic], 1.0)
        proposal = reflect(proposal)
        if wrapped is not None:
            proposal[:, periodic] = wrapped
        return proposal, in_cube(proposal)

    return _walk(u, loglstar, walks, propose, evaluate)


def _differences(starts, m, rng):
    """`m` steps of each chain of `difference_walks`, (m, n, ndim)."""
    n, ndim = starts.shape
    chains = np.arange(n)
    first = rng.integers(1, n, size=(m, n))
    second = rng.integers(1, n - 1, size=(m, n))
    second += second >= first
    steps = starts[(chains + first) % n] - starts[(chains + second) % n]
    steps *= np.exp(rng.uniform(*np.log(FACTORS), size=(m, n, 1)))
    # One dimension at random, and each other one with the chain's own chance.
    chance = np.asarray(CROSSOVERS)[rng.integers(len(CROSSOVERS), size=(m, n, 1))]
    still = rng.random((m, n, ndim), dtype=np.float32) >= chance
    np.put_along_axis(still, rng.integers(ndim, size=(m, n, 1)), False, axis=2)
    steps[still] = 0.0
    return steps


def _walk(u, loglstar, walks, propose, evaluate):
    """`walks` steps of all chains; `propose` gives points and which of them to evaluate."""
    u = u.copy()
    n = len(u)
    v, logl = np.empty_like(u), np.empty(n)
    accepted = np.zeros(n, dtype=int)
    for i in range(walks):
        proposal, allowed = propose(i, u)
        inside = np.flatnonzero(allowed)
        if inside.size == 0:
            continue
        proposal = proposal[inside]
        v_new, logl_new = evaluate(proposal)
        better = np.flatnonzero(logl_new > loglstar)
        rows = inside[better]
        u[rows], v[rows], logl[rows] = proposal[better], v_new[better], logl_new[better]
        accepted[rows] += 1
    stuck = np.flatnonzero(accepted == 0)
    if stuck.size:
        v[stuck], logl[stuck] = evaluate(u[stuck])
    return u, v, logl, accepted


def first_above(draw, n, loglstar, evaluate, batch):
    """For each of `n` tasks, draw points until one lies above `loglstar`.

    Parameters
    ----------
    draw : callable
        Number of points m -> (m, ndim).
    batch : int
        Points to evaluate per call; the tasks that are still unlucky share them.

    Returns
    -------
    u, v : ndarray, shape (n, ndim)
    logl : ndarray, shape (n,)
    ncall : ndarray of int, shape (n,)
        Draws up to and including the accepted one.
    """
    ncall = np.zeros(n, dtype=int)
    pending = np.arange(n)
    out: tuple[Any, ...] | None = None
    while pending.size:
        each = max(1, batch // pending.size)
        u = draw(pending.size * each)
        v, logl = evaluate(u)
        if out is None:
            out = np.empty((n, u.shape[1])), np.empty((n, v.shape[1])), np.empty(n)
        above = (logl > loglstar).reshape(pending.size, each)
        hit = above.any(axis=1)
        first = above.argmax(axis=1)
        ncall[pending] += np.where(hit, first + 1, each)
        taken = np.flatnonzero(hit) * each + first[hit]
        for store, new in zip(out, (u, v, logl), strict=True):
            store[pending[hit]] = new[taken]
        pending = pending[~hit]
    assert out is not None
    return (*out, ncall)


@np.errstate(over="ignore", invalid="ignore")  # far out a map may overflow; that is refused
def learnt_walks(u, loglstar, walks, rng, coordinates, learnt):
    """Walks in coordinates in which the live points are round.

    Most steps are those of preconditioned Crank-Nicolson, reversible with regard to a normal
    distribution, in some or all dimensions; the rest go along differences of the other
    chains' starts. Each is accepted by the ratio of the prior densities, and where it lies
    above the threshold, so that the prior above it is kept.
    Cotter et al. (2013, Stat. Sci. 28, 424) for the steps, Karamanis et al. (2022, MNRAS 516,
    1644) for walks in coordinates that are learnt.

    Parameters
    ----------
    coordinates : UnitCoordinates or the like
        See `prospect_emu.sampling.coordinates`.
    learnt : QuadraticMap
        Of the live points.

    Other parameters and returned values as for `random_walks`.
    """
    y, v, density, logl = coordinates.start(u)
    u, z = u.copy(), learnt.forward(y)
    cheap, starts = coordinates.cheap_density(y), z.copy()
    n = len(z)
    accepted = np.zeros(n, dtype=int)
    for i in range(walks):
        proposal, change = learnt_proposal(i, z, starts, rng)
        y_new = learnt.inverse(proposal)
        cheap_new = coordinates.cheap_density(y_new)
        # Two stages, each reversible: most of what the prior refuses costs no likelihood.
        chance = -rng.standard_exponential((2, n))
        rows = np.flatnonzero(chance[0] < cheap_new - cheap + change)
        if rows.size == 0:
            continue
        v_new, density_new, logl_new = coordinates.evaluate(y_new[rows])
        good = (logl_new > loglstar) & (chance[1, rows] < density_new - density[rows])
        if not good.any():
            continue
        good[good] = coordinates.reached(y_new[rows[good]], v_new[good])
        rows = rows[good]
        z[rows], y[rows], v[rows] = proposal[rows], y_new[rows], v_new[good]
        cheap[rows], density[rows], logl[rows] = cheap_new[rows], density_new[good], logl_new[good]
        accepted[rows] += 1
    moved = np.flatnonzero(accepted)
    u[moved] = coordinates.unit(y[moved], v[moved])
    return u, v, logl, accepted


def learnt_proposal(i, z, starts, rng):
    """Step `i` of chains in learnt coordinates.

    Parameters
    ----------
    z : ndarray, shape (n, ndim)
        Where the chains are.
    starts : ndarray, shape (n, ndim)
        Whose differences some steps go along.

    Returns
    -------
    proposal : ndarray, shape (n, ndim)
    change : ndarray, shape (n,), or float
        What the logarithm of the chance to go there gains, as steps are not as likely back.
    """
    if i % _JUMP_EVERY == _JUMP_EVERY - 1:
        return z + _differences(starts, 1, rng)[0], 0.0
    proposal = _crank_nicolson(z, rng)
    change = 0.5 * (np.einsum("ij,ij->i", proposal, proposal) - np.einsum("ij,ij->i", z, z))
    return proposal, change


def _crank_nicolson(z, rng):
    """A step of each chain, in one, some or all dimensions."""
    n, ndim = z.shape
    chance = np.asarray(SHARES)[rng.integers(len(SHARES), size=(n, 1))]
    moving = rng.random((n, ndim), dtype=np.float32) < chance
    np.put_along_axis(moving, rng.integers(ndim, size=(n, 1)), True, axis=1)
    length = np.exp(rng.uniform(*np.log(LENGTHS), size=(n, 1)))
    # In few dimensions steps are longer.
    length = np.minimum(length * np.sqrt(ndim / moving.sum(axis=1, keepdims=True)), 1.0)
    step = np.sqrt(1.0 - length**2) * z + length * rng.standard_normal(z.shape)
    return np.where(moving, step, z)
