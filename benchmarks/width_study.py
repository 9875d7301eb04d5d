"""What a network's error does to posteriors: medians and D by width, beside repeated fits.

    OMP_NUM_THREADS=1 python benchmarks/width_study.py OUT [--mocks 100] [--floor 0.05]
        [--repeats 100] [--networks mathews23-64 ...] [--refit mathews23-64]

Mocks of `rank_calibration.py` (3D-HST's 45 bands; fluxes by `mathews23-factored`, which is exact)
are fitted exactly by the preset ``standard``, and once more with another seed. Each network, with
its stated errors added, then weighs the exact fit's samples by its own likelihood: what the
medians move by is the network's doing alone, without a sampler's noise. ``--refit`` fits with
networks as well; the last line tells what a likelihood costs. D as in
`prospect_emu.fits.compare`; the largest of its four quantities counts. One file per mock
and floor in OUT; a second call makes what is missing.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from rank_calibration import make_mock

from prospect_emu import BatchedPosterior, EmulatorSPS
from prospect_emu.fit.fitting import fit_model
from prospect_emu.fit.quantiles import weighted_quantiles
from prospect_emu.fits.compare import OUTLIER, binomial_interval, discrepancy
from prospect_emu.networks.loading import load_emulator
from prospect_emu.observe.filters import load_filters
from prospect_emu.sampling.pareto import pareto_smooth, pareto_threshold
from prospect_emu.training import timing

ROWS = 256
EXACT, DRAWS, LEVELS = "mathews23-factored", 4000, (0.16, 0.5, 0.84)
NAMES = ("mass formed", "metallicity", "SFR", "age")


def quantities(posterior, theta):
    """What is compared, (n, 4), all in dex."""
    found = posterior.predictions.quantities(theta)[1]
    vectors = posterior.predictions.vectors(theta)
    age = np.log10(found["mass_weighted_age"])
    return np.column_stack([vectors[:, :2], found["log_sfr_100"], age])


def equal_draws(results, seed):
    """`DRAWS` samples of equal weight (systematic resampling)."""
    until = np.cumsum(results.importance_weights())
    at = (np.arange(DRAWS) + np.random.default_rng(seed).random()) / DRAWS * until[-1]
    return results.samples[np.searchsorted(until, at)]


def fitted(obs, model, sps, seed):
    results, _ = fit_model(obs, model, sps, seed=seed, verbose=False)["sampling"]
    return equal_draws(results, seed)


def with_network(mock, name):
    """obs, model and sps of a mock with a network and its errors."""
    obs, model, _, _, _ = mock
    plain = {k: obs[k] for k in ("filters", "maggies", "wavelength", "spectrum")}
    sps = EmulatorSPS(load_emulator(name), load_filters([f.name for f in obs["filters"]]))
    return sps.inflate(plain | {"maggies_unc": obs["maggies_unc_observed"]}), model, sps


def study(path, seed, floor, repeat, networks, refit):
    """Percentiles (3, 4) of each kind of posterior of one mock, from its file or made now."""
    kept = dict(np.load(path)) if path.exists() else {}
    wanted = {"exact", *(["repeat"] if repeat else []), *(f"fit {n}" for n in refit)} - {*kept}
    mock = make_mock(load_emulator(EXACT), seed, floor=floor)
    obs, model, sps = mock[:3]
    for kind in sorted(wanted):
        again = with_network(mock, kind.removeprefix("fit ")) if kind[:4] == "fit " else mock[:3]
        kept[kind] = fitted(*again, seed=seed + 10**6 * (kind == "repeat"))
    if wanted:
        np.savez(path, **kept)
    exact, theta = BatchedPosterior(obs=obs, model=model, sps=sps), kept["exact"]
    values, logl = quantities(exact, theta), exact.log_likelihood(theta)
    out = {
        kind: np.array(np.quantile(quantities(exact, kept[kind]), LEVELS, axis=0)) for kind in kept
    }
    tails = {}
    for name in networks:
        network = BatchedPosterior(*(with_network(mock, name)[i] for i in (1, 0, 2)))
        log_weights, tails[name] = pareto_smooth(network.log_likelihood(theta) - logl)
        weights = np.exp(log_weights)
        out[name] = weighted_quantiles(values, weights, LEVELS)
    return out, tails


def line(title, pairs, tails=()):
    """Print how medians of (other, exact) percentiles differ, and rates of D."""
    other, exact = (np.array(side) for side in zip(*pairs, strict=True))
    apart = np.abs(other[:, 1] - exact[:, 1])
    d = np.array([discrepancy(a, b) for a, b in zip(other, exact, strict=True)]).max(axis=1)
    far = int((d > OUTLIER).sum())
    low, high = binomial_interval(far, d.size)
    dex = " | ".join(f"{v:.3f}" for v in np.quantile(apart, 0.68, axis=0))
    wide = np.median((other[:, 2] - other[:, 0]) / (exact[:, 2] - exact[:, 0]))
    poor = f"{np.mean(np.array(tails) > pareto_threshold(DRAWS)):.0%}" if len(tails) else ""
    print(
        f"| {title} | {d.size} | {dex} | {np.median(d):.2f}, {np.quantile(d, 0.95):.2f} | "
        f"{100 * far / d.size:.0f} % ({100 * low:.0f}-{100 * high:.0f}) | {wide:.3f} | {poor} |"
    )


def times(networks):
    """Print microseconds per vector of the likelihood, 256 vectors at once, all in turns."""
    mock = make_mock(load_emulator(EXACT), 0)
    posteriors = {"exact": BatchedPosterior(obs=mock[0], model=mock[1], sps=mock[2])}
    for name in networks:
        obs, model, sps = with_network(mock, name)
        posteriors[name] = BatchedPosterior(model, obs, sps)
    u = np.random.default_rng(0).random((ROWS, mock[1].ndim))
    theta = posteriors["exact"].prior_transform(u)
    cases = [
        timing.Case(name, ROWS, True, partial(posterior.log_likelihood, theta), ROWS)
        for name, posterior in posteriors.items()
    ]
    took = timing.measure(cases)
    print(", ".join(f"{name} {1e6 * t:.2f} us" for (name, *_), t in took.items()))


def main(given):
    given.out.mkdir(parents=True, exist_ok=True)
    found, tails = [], []
    for seed in range(given.mocks):
        more = (seed < given.repeats, given.networks, given.refit)
        made = study(given.out / f"{given.floor:g}-{seed}.npz", seed, given.floor, *more)
        found.append(made[0])
        tails.append(made[1])
    head = " | ".join(NAMES)
    print(f"| | galaxies | {head} | D: median, 95 % | D > 3 in any | width | k too large |")
    print("|---" * 10 + "|")
    for kind in dict.fromkeys(k for f in found for k in f if k != "exact"):
        pairs = [(f[kind], f["exact"]) for f in found if kind in f]
        line(kind, pairs, [t[kind] for t in tails if kind in t])
    times(given.networks)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--mocks", type=int, default=100)
    parser.add_argument("--floor", type=float, default=0.05)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--networks", nargs="*", default=[f"mathews23-{w}" for w in (64, 128, 256)])
    parser.add_argument("--refit", nargs="*", default=[])
    main(parser.parse_args())
