"""Settings of the sampler against reference posteriors: error of medians, widths, ln Z, CPU time.

    OMP_NUM_THREADS=1 python benchmarks/samplers.py CATALOG [--galaxies 2796 ...] [--seeds 1 2]
        [--preset standard] [nested_walks=5 nested_moves=ellipsoid ...]
    OMP_NUM_THREADS=1 python benchmarks/samplers.py CATALOG --make

CATALOG is the folder of 3D-HST COSMOS; `mock` is one of `rank_calibration.py` with a floor of 2 %.
References (benchmarks/reference_posteriors.json) are made by 1000 chains of 3000 steps at
the posterior itself, started from two nested runs of different moves (those of 32846 and mock from
that along differences alone); the first third is left out. They hold quantiles, the standard
deviations, the standard error of the means from the scatter between chains, and how far apart the
medians are of the chains from either start.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np

REFERENCES = Path(__file__).parent / "reference_posteriors.json"
QUANTILES = (0.025, 0.16, 0.5, 0.84, 0.975)
GALAXIES = ("2796", "5238", "11508", "32846", "mock")
CHAINS, STEPS = 1000, 3000


def problem(name, catalog):
    """obs, model, sps and posterior of a galaxy."""
    import rank_calibration

    from prospect_emu import EmulatorSpecModel, EmulatorSPS, load_emulator
    from prospect_emu.fit.posterior import BatchedPosterior
    from prospect_emu.fits.threedhst import galaxy_obs, read_catalog
    from prospect_emu.prospector.mathews23 import model_params

    emulator = load_emulator("mathews23-factored")
    if name == "mock":
        obs, model, sps = rank_calibration.make_mock(emulator, 0, floor=0.02)[:3]
    else:
        obs = galaxy_obs(read_catalog(catalog), galaxy=int(name))
        sps = EmulatorSPS(emulator, filters=obs["filters"])
        model = EmulatorSpecModel(model_params(zred=obs["zred"]))
        obs = sps.inflate(obs)
    return obs, model, sps, BatchedPosterior(model, obs, sps)


def fit(obs, model, sps, **settings):
    """Results of `fit_model`, and its CPU time in seconds."""
    from prospect_emu import fit_model

    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = fit_model(dict(obs), model, sps, verbose=False, **settings)["sampling"][0]
    return results, time.process_time() - start


def chains(posterior, starts, rng):
    """Parameters (nkept, nchain, ndim) of chains at the posterior, every 20th step."""
    from prospect_emu.fit.mass_coordinates import mass_coordinates
    from prospect_emu.sampling import walks
    from prospect_emu.sampling.quadratic_map import GroupedMap, QuadraticMap

    coordinates, kept = mass_coordinates(posterior), []
    # Each half moves in a map of the other one.
    group = np.arange(len(starts)) % 2
    y, v, density, logl = coordinates.start(starts)
    cheap = coordinates.cheap_density(y)
    for i in range(STEPS):
        if i in (0, STEPS // 6):
            learnt = GroupedMap([QuadraticMap.fit(y[group != g]) for g in (0, 1)], group)
            z = learnt.forward(y)
        new, change = walks.learnt_proposal(i, z, z, rng)
        y_new = learnt.inverse(new)
        cheap_new = coordinates.cheap_density(y_new)
        chance = -rng.standard_exponential((2, len(z)))
        rows = np.flatnonzero(chance[0] < cheap_new - cheap + change)
        v_new, density_new, logl_new = coordinates.evaluate(y_new[rows])
        better = density_new - density[rows] + logl_new - logl[rows]
        good = chance[1, rows] < better
        rows = rows[good]
        z[rows], y[rows], v[rows], cheap[rows] = (
            new[rows],
            y_new[rows],
            v_new[good],
            cheap_new[rows],
        )
        density[rows], logl[rows] = density_new[good], logl_new[good]
        if i >= STEPS // 3 and i % 20 == 0:
            kept.append(v.copy())
    return np.array(kept)


def make(name, catalog):
    """The reference of a galaxy."""
    obs, model, sps, posterior = problem(name, catalog)
    rng, starts = np.random.default_rng(5), []
    for moves, walks in (("differences", 100), ("learnt", 40)):
        results, _ = fit(
            obs, model, sps, seed=1, nested_moves=moves, nested_walks=walks, nested_max_runs=1
        )
        weights = results.importance_weights()
        drawn = rng.choice(weights.size, CHAINS // 2, p=weights / weights.sum())
        starts.append(results.samples_u[drawn])
    found = chains(posterior, np.concatenate(starts), rng)
    return summary(found, posterior.labels)


def summary(found, labels):
    """What is stored of chains (nkept, nchain, ndim), halves of which have different starts."""
    flat = found.reshape(-1, found.shape[2])
    sigma, half = flat.std(axis=0), found.shape[1] // 2
    medians = [np.median(s, axis=(0, 1)) for s in (found[:, :half], found[:, half:])]
    error = found.mean(axis=0).std(axis=0) / np.sqrt(found.shape[1]) / sigma
    values = {
        "quantiles": np.quantile(flat, QUANTILES, axis=0),
        "std": sigma,
        "error": error,
        "apart": (medians[0] - medians[1]) / sigma,
    }
    rounded = {k: np.vectorize(lambda x: float(f"{x:.5g}"))(v).tolist() for k, v in values.items()}
    return {"parameters": list(labels), **rounded}


def score(results, reference):
    """Errors of medians (in reference standard deviations) and ratios of 68 % widths."""
    weights = results.importance_weights()
    weights = weights / weights.sum()
    known = np.array(reference["quantiles"])
    found = np.empty_like(known)
    for j, column in enumerate(results.samples.T):
        order = np.argsort(column)
        found[:, j] = np.interp(QUANTILES, np.cumsum(weights[order]), column[order])
    error = (found[2] - known[2]) / np.array(reference["std"])
    return error, (found[3] - found[1]) / (known[3] - known[1])


def scatter(runs, sigma):
    """What seeds say of the errors that runs state, as text.

    Parameters
    ----------
    runs : list of Results
        Of one galaxy, with a seed each.
    sigma : ndarray, shape (ndim,)
        Standard deviations of the posterior.
    """
    means = np.array([r.importance_weights() @ r.samples for r in runs]) / sigma
    stated = np.array([r.diagnostics["mean_error"] for r in runs])
    true, logz = means.std(axis=0, ddof=1), np.array([r.logz[-1] for r in runs])
    of_logz = np.array([r.diagnostics["logz_error"] for r in runs])
    worst = int(np.argmax(true))
    return (
        f"  {len(runs)} seeds: ln Z {logz.mean():.2f}, scatter {logz.std(ddof=1):.3f}, stated "
        f"{of_logz.mean():.3f}; means of parameters: scatter {np.sqrt(np.mean(true**2)):.3f} rms, "
        f"{true[worst]:.3f} the worst, stated {np.sqrt(np.mean(stated**2)):.3f} and "
        f"{stated[:, worst].mean():.3f}; n_effective {1 / true[worst] ** 2:.0f}, stated "
        f"{np.median([r.diagnostics['n_effective'] for r in runs]):.0f} (median)"
    )


def main():
    import rank_calibration

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("catalog", type=Path)
    parser.add_argument("settings", nargs="*", help="nested_NAME=VALUE")
    parser.add_argument("--galaxies", nargs="+", default=GALAXIES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--make", action="store_true", help="make the references anew")
    args = parser.parse_args()
    references = json.loads(REFERENCES.read_text()) if REFERENCES.exists() else {}
    if args.make:
        for name in args.galaxies:
            references[name] = make(name, args.catalog)
            REFERENCES.write_text(json.dumps(references) + "\n")
        return
    settings = {"preset": args.preset, **rank_calibration.parse_settings(args.settings)}
    print("galaxy  seed   CPU s   calls  rms error  worst  stated  width     ln Z  +-    status")
    for name in args.galaxies:
        obs, model, sps, _ = problem(name, args.catalog)
        runs = []
        for seed in args.seeds:
            results, seconds = fit(obs, model, sps, seed=seed, **settings)
            error, width = score(results, references[name])
            d = results.diagnostics
            print(
                f"{name:8s}{seed:4d}{seconds:8.1f}{d['n_evaluations']:9d}"
                f"{np.sqrt(np.mean(error**2)):9.3f}{np.abs(error).max():8.3f}"
                f"{max(d.get('mean_error', [np.nan])):8.3f}{width.mean():7.3f}"
                f"{results.logz[-1]:10.2f}{d['logz_error']:5.2f}  {results.status[:9]}",
                flush=True,
            )
            runs.append(results)
        if len(runs) > 1:
            print(scatter(runs, np.array(references[name]["std"])), flush=True)


if __name__ == "__main__":
    main()
