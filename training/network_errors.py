"""Errors of networks by redshift and dust2, against the exact physics; see `ErrorTable`."""

import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from tqdm import tqdm

from prospect_emu.networks.emulator_base import reference_scale
from prospect_emu.networks.error_table import dust_coordinate, fit_errors
from prospect_emu.networks.vector import PARAMETERS
from prospect_emu.observe.magnitudes import maggies_to_arsinh

from .evaluate import BRIGHT
from .recipe import Recipe, draw_parameters

ZRED, DUST2 = PARAMETERS.index("zred"), PARAMETERS.index("dust2")
# Nodes in redshift, as close as breaks and lines cross bands, and closer at the ends of the range;
# of a narrow range a share.
_STEP, _END, _END_SHARE = 0.0625, 0.025, 0.01
_DUST2 = (0.0, 0.001, 0.003, 0.008, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 4.0)
_CELLS = 64  # in dust2, of as many samples each
# Streams of a recipe's seed, beside those of generate.STREAMS and of folded_samples.
FITTED, HELD_OUT = 4, 5
# What a galaxy fainter than AB 30 counts: bands that are never bright have an error, too.
_FAINT = 1e-3


def nodes(low, high):
    """Redshifts of a table's nodes."""
    even = np.linspace(low, high, max(2, round((high - low) / _STEP)) + 1)
    end = min(_END, _END_SHARE * (high - low))
    return np.unique(np.r_[even, low + end, high - end])


def redshifts(low, high, each):
    """Redshifts to fit a table at, (m,): `each` in every interval of its nodes, and both ends."""
    share = (np.arange(each) + 0.5) / each
    inside = [a + (b - a) * share for a, b in pairwise(nodes(low, high))]
    return np.r_[low, np.concatenate(inside), high]


def draws(recipe, stream, zred, n):
    """Vectors (n, 18) of a recipe at one redshift, in turns across the cells of dust2."""
    theta = draw_parameters(recipe, n, stream)
    theta[:, ZRED] = zred
    ends = dust_coordinate([_DUST2[0], _DUST2[-1]])
    share = (np.arange(n) % _CELLS + np.random.default_rng(stream).random(n)) / _CELLS
    dust2 = np.exp(ends[0] + share * np.diff(ends)) - np.exp(ends[0])
    theta[:, DUST2] = np.clip(dust2, _DUST2[0], _DUST2[-1])
    return theta


def residuals(exact, emulators, theta):
    """Emulators minus exact (nemulator, n, nband), arsinh mag, and where the exact is bright.

    `theta` (n, 18) at one redshift.
    """
    scale = reference_scale(theta[:, 0], theta[:, ZRED])[:, None]
    truth = exact.at_redshift(theta[0, ZRED]).reference_maggies(theta) * scale
    truth = maggies_to_arsinh(truth)
    made = (maggies_to_arsinh(e.reference_maggies(theta) * scale) for e in emulators)
    return np.array([m - truth for m in made]), truth < BRIGHT


def measure(emulators, exact, each=2, n=8192, progress=True):
    """Mean squared residuals of emulators of the same bands and redshifts, in cells of samples.

    Parameters
    ----------
    emulators : sequence of Emulator
    exact : FactoredEmulator
    each : int
        Redshifts in each interval of the table's nodes.
    n : int
        Samples at each redshift.

    Returns
    -------
    at : ndarray, shape (2, ncell)
        Redshifts and dust2.
    squares : ndarray, shape (nemulator, ncell, nband)
    counts : ndarray, shape (ncell, nband)
    """
    first = emulators[0]
    recipe, exact = Recipe(**first.manifest["recipe"]), exact.select(first.filters)
    low, high = first.bounds[ZRED]
    at, squares, counts = [], [], []
    bar = tqdm(redshifts(low, high, each), unit="redshift", disable=not progress)
    for i, z in enumerate(bar):
        theta = draws(recipe, (FITTED, i), z, n)
        values, bright = residuals(exact, emulators, theta)
        weight = np.where(bright, 1.0, _FAINT).reshape(-1, _CELLS, bright.shape[1])
        total = weight.sum(axis=0)
        values = np.square(values).reshape(len(emulators), -1, *total.shape)
        squares.append((weight * values).sum(axis=1) / total)
        counts.append(total)
        dust2 = theta[:, DUST2].reshape(-1, _CELLS).mean(axis=0)
        at.append((np.full(_CELLS, z), dust2))
    return np.concatenate(at, axis=1), np.concatenate(squares, axis=1), np.concatenate(counts)


def tables(bounds, at, squares, counts):
    """An `ErrorTable` of each emulator from what `measure` gives; `bounds` (18, 2) are theirs."""
    at_nodes = nodes(*bounds[ZRED]), np.array(_DUST2)
    return [fit_errors(*at_nodes, at, s, counts) for s in squares]


def pulls(emulators, exact, distribution="fat_tailed", redshifts=100, n=2048, progress=True):
    """Root mean square of error over stated error, on draws that no table has seen.

    Of galaxies brighter than AB 30, in every fifth of the redshifts, its ends, and every tenth
    of the prior of dust2, of which the first is shown apart below 0.05.

    Returns
    -------
    list of dict
        For each emulator, ``{heading: ndarray (nband,)}``; nan with fewer than 100 galaxies.
    """
    first = emulators[0]
    recipe = replace(Recipe(**first.manifest["recipe"]), distribution=distribution)
    exact, (low, high) = exact.select(first.filters), first.bounds[ZRED]
    rng = np.random.default_rng(HELD_OUT)
    inside = low + (high - low) * (np.arange(redshifts) + rng.random(redshifts)) / redshifts
    dust = np.sort(draw_parameters(replace(recipe, distribution="prior"), 40_000, (HELD_OUT,)), 0)
    tenths = np.quantile(dust[:, DUST2], np.linspace(0.0, 1.0, 11))
    fifths = np.linspace(low, high, 6)
    sums: dict = {}
    for i, z in enumerate(tqdm([low, *inside, high], unit="redshift", disable=not progress)):
        theta = draw_parameters(recipe, n, (HELD_OUT, i))
        theta[:, ZRED] = z
        values, bright = residuals(exact, emulators, theta)
        stated = np.array([e.sigma_at(theta) for e in emulators])
        squares = (values / stated) ** 2
        d = theta[:, DUST2]
        groups = {"all": np.full(n, 0.0 < i <= redshifts)}
        groups |= {f"z = {low:g}": np.full(n, i == 0), f"z = {high:g}": np.full(n, i > redshifts)}
        for a, b in pairwise(fifths):
            groups[f"z {a:.3g}-{b:.3g}"] = (a <= theta[:, ZRED]) & (theta[:, ZRED] <= b)
        groups["dust2 < 0.05"] = d < 0.05
        for a, b in pairwise(tenths):
            groups[f"dust2 {a:.2f}-{b:.2f}"] = (a <= d) & (d < b)
        for name, rows in groups.items():
            use = bright[rows]
            total, count = sums.get(name, (0.0, 0))
            sums[name] = total + (squares[:, rows] * use).sum(axis=1), count + use.sum(axis=0)
    out: list = [{} for _ in emulators]
    for name, (total, count) in sums.items():
        for mine, t in zip(out, total, strict=True):
            mine[name] = np.sqrt(np.where(count >= 100, t / np.maximum(count, 1), np.nan))
    return out


def surviving_mass(emulator, exact, n=20_000):
    """Bias and root mean square of the surviving fraction, on held-out draws."""
    theta = draw_parameters(Recipe(**emulator.manifest["recipe"]), n, (HELD_OUT, 10_000))
    error = emulator.mfrac(theta) - exact.mfrac(theta)
    return {"mfrac_bias": float(error.mean()), "mfrac_rms": float(np.sqrt((error**2).mean()))}


def with_errors(emulators, exact, cells=None):
    """Emulators with tables measured against `exact`, which their manifests name.

    `cells` is what `measure` gives, if it is known.
    """
    found = tables(emulators[0].bounds, *(cells or measure(emulators, exact)))
    mass = mass_network(Recipe(**emulators[0].manifest["recipe"]), exact)
    out = []
    for e, table in zip(emulators, found, strict=True):
        e = replace(e, errors=table, mfrac_net=mass)
        described = {"source": exact.name, "sha256": exact.manifest.get("sha256")}
        out.append(
            replace(e, manifest=e.manifest | {"errors": described | surviving_mass(e, exact)})
        )
    return out


def mass_network(recipe, exact, n=200_000, rows=20_000):
    """A network of surviving fractions, trained on exact ones."""
    from .packaging import train_mfrac

    theta = draw_parameters(recipe, n, (FITTED, 10_000))
    mfrac = np.concatenate([exact.mfrac(theta[i : i + rows]) for i in range(0, n, rows)])
    with tempfile.TemporaryDirectory() as folder:
        return train_mfrac(theta, mfrac, Path(folder) / "mfrac")


def pull_lines(found):
    """Rows of a Markdown table of `pulls`: median band, lowest, highest."""
    yield "| held-out draws | bands | rms, median band | lowest | highest | within 0.9-1.1 |"
    yield "|---|---|---|---|---|---|"
    for name, rms in found.items():
        rms = rms[np.isfinite(rms)]
        if rms.size:
            good = ((rms >= 0.9) & (rms <= 1.1)).sum()
            yield (
                f"| {name} | {rms.size} | {np.median(rms):.2f} | {rms.min():.2f} | "
                f"{rms.max():.2f} | {good} |"
            )
